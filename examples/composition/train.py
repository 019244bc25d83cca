#!/usr/bin/env python3
"""Nothing is trained here: records what the function answers in this Python, to compare the hub's answer with.

    python train.py OUT

Writes OUT/composition.py (the module to publish), OUT/requirements.txt (what it needs), OUT/example.json (the input
of the golden test) and OUT/expected.json.
"""
import json
import pathlib
import shutil
import sys

import periodictable
from composition import composition

HERE = pathlib.Path(__file__).parent
MINERALS = {"calcite": "CaCO3", "olivine": "Mg1.8Fe0.2SiO4", "coquimbite": "Fe2(SO4)3(H2O)9", "YBCO": "YBa2Cu3O7"}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "composition.py", out / "composition.py")
    shutil.copyfile(HERE / "requirements.txt", out / "requirements.txt")
    runs = [{"row": f"{name}, {formula}", "input": formula, "output": composition(formula), "show": "molar_mass"}
            for name, formula in MINERALS.items()]
    (out / "expected.json").write_text(json.dumps({
        "framework": f"periodictable {periodictable.__version__}", "rtol": 1e-12, "atol": 0, "runs": runs,
    }, indent=1) + "\n")
    (out / "example.json").write_text(json.dumps(runs[0]["input"]) + "\n")
    for run in runs:
        print(f"{run['row']:30} {run['output']['molar_mass']:.3f} g/mol")


if __name__ == "__main__":
    main()
