"""An example input made up from a schema: free axes are 1, reals in [0, 1) from a fixed sequence."""

from . import schema as types
from . import values
from .errors import BadInput

FREE_AXIS = 1
DEPTH_MAX = 16
HINT = "give one that makes sense to the servable"
SCALARS = {
    "integer": 1,
    "number": 0.5,
    "float": 0.5,
    "string": "a",
    "boolean": True,
    "complex": {"real": 0.5, "imag": 0.25},
    "datetime": "2026-11-22T16:24:07Z",
    "timedelta": 1.5,
}


def _array(schema, place):
    np = values.numpy()
    shape = types.array_shape(schema)
    if shape is None:
        raise BadInput(f"no example can be made up for {place}: the shape of the ndarray is open", HINT)
    shape = [FREE_AXIS if axis < 0 else axis for axis in shape]
    item = types.kind(types.item_type(schema)) if types.item_type(schema) else "float"
    datatype = types.array_datatype(schema) or {"integer": "INT64"}.get(item, "FP64")
    if datatype == "BYTES":
        return np.full(shape, "a", dtype=object)
    random = np.random.default_rng(20181126)
    if datatype == "BOOL" or "INT" in datatype:
        return random.integers(0, 2, shape).astype(types.NUMPY_OF[datatype])
    return random.random(shape).astype(types.NUMPY_OF.get(datatype, "float32"))


def make(schema, place="input", depth=0):
    """One value of the type."""
    kind = types.kind(schema)
    if depth > DEPTH_MAX:
        raise BadInput(f"no example can be made up for {place}: its type nests too deep", HINT)
    if kind in SCALARS:
        return SCALARS[kind]
    if kind == "ndarray":
        array = _array(schema, place)
        return array if depth == 0 else array.tolist()
    if kind == "list" and types.item_type(schema):
        return [make(types.item_type(schema), f"{place}[0]", depth + 1)]
    if kind == "tuple":
        return [
            make(one, f"{place}[{i}]", depth + (1 if depth else 0)) for i, one in enumerate(schema["element_types"])
        ]
    if kind == "dict" and schema.get("properties"):
        return {name: make(one, f"{place}[{name!r}]", depth + 1) for name, one in schema["properties"].items()}
    raise BadInput(f"no example can be made up for {place}, which is {types.expected(schema)}", HINT)
