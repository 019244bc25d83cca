"""The argument types of the DLHub schema: what signature_parse() in src/wire does in C."""

from .errors import BadServable

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
NUMPY_OF = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    **{name: name.lower() for name in INTEGERS},
}
DATATYPE_OF = {numpy: name for name, numpy in NUMPY_OF.items()}
ARRAY_ITEMS = {"boolean": "BOOL", "string": "BYTES"}


def kind(schema):
    """ "ndarray", "dict", ... of an argument type, which may be a bare string."""
    return schema if isinstance(schema, str) else (schema or {}).get("type", "any")


def item_type(schema):
    return schema.get("item_type") if isinstance(schema, dict) else None


def array_datatype(schema):
    """ "FP32" where the type of an ndarray says so, None where it leaves it open."""
    item = item_type(schema)
    if isinstance(item, dict) and item.get("dtype"):
        return item["dtype"]
    return ARRAY_ITEMS.get(kind(item)) if item else None


def array_shape(schema):
    """Axes with -1 for free ones; None where the rank is open."""
    shape = schema.get("shape") if isinstance(schema, dict) else None
    if shape is None or shape == "Any":
        return None
    return tuple(-1 if axis in (None, "None", "null", -1) else int(axis) for axis in shape)


def format_shape(shape):
    return "[" + ", ".join("any" if axis in (None, -1) else str(axis) for axis in shape) + "]"


def arguments(schema, base):
    """[(name, type)] of one side of a method; a tuple as the whole side has one for each element."""
    if schema is None:
        raise BadServable(f"the method has no {base!r}: it says what the method takes or gives")
    name = schema.get("name", base) if isinstance(schema, dict) else base
    if kind(schema) != "tuple":
        return [(name, schema)]
    elements = schema.get("element_types")
    if not isinstance(elements, list):
        raise BadServable(f"{base}.element_types: a tuple needs the list of its elements' types")
    return [
        ((element.get("name") if isinstance(element, dict) else None) or f"{name}_{i}", element)
        for i, element in enumerate(elements)
    ]


def is_tuple(schema):
    return kind(schema) == "tuple"


def json_datatype(schema):
    """How an argument that is one JSON document reads in the Open Inference Protocol."""
    return {"number": "FP64", "float": "FP64", "integer": "INT64", "boolean": "BOOL"}.get(kind(schema), "BYTES")


def expected(schema):
    """The type in words, for messages."""
    name = kind(schema)
    if name == "ndarray":
        shape, datatype = array_shape(schema), array_datatype(schema)
        item = kind(item_type(schema)) if item_type(schema) else None
        words = "an ndarray" + (f" of {datatype or item}" if datatype or item not in (None, "any") else "")
        return words + (f" with shape {format_shape(shape)}" if shape is not None else "")
    if name == "tuple":
        return f"a tuple of {len(schema.get('element_types') or [])}"
    return {
        "number": "a number",
        "integer": "an integer",
        "float": "a float",
        "complex": "a complex number",
        "boolean": "a boolean",
        "string": "a string",
        "datetime": "a datetime",
        "timedelta": "a timedelta",
        "list": "a list",
        "dict": "a dict",
        "file": "the path of a file",
        "python object": "an object",
    }.get(name, name)
