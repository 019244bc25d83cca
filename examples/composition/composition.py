"""What a chemical formula weighs, and which part of that each element has."""
import periodictable


def composition(formula: str) -> dict:
    """The molar mass in g/mol and the mass fraction of each element, for example of "CaCO3" or "Fe2(SO4)3"."""
    compound = periodictable.formula(formula)
    return {
        "formula": str(compound),
        "molar_mass": float(compound.mass),
        "fractions": {str(element): float(part) for element, part in sorted(compound.mass_fraction.items(), key=str)},
    }
