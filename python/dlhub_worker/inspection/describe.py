"""numpy arrays and Python values as argument types of the DLHub schema."""

from .. import schema as types

ITEM_OF_KIND = {
    "b": "boolean",
    "i": "integer",
    "u": "integer",
    "f": "float",
    "U": "string",
    "S": "string",
    "O": "string",
}


def item_type(dtype, fixed=True):
    """{"type": "float", "dtype": "FP32"} of a numpy dtype; without "dtype" where the servable takes any."""
    item = {"type": ITEM_OF_KIND.get(dtype.kind, "float")}
    datatype = types.DATATYPE_OF.get(dtype.name)
    if fixed and datatype:
        item["dtype"] = datatype
    return item


def array(value, free_batch=True, name=None):
    """The type of an ndarray like this one; its first axis is free."""
    shape = [None if (i == 0 and free_batch) or size == 0 else int(size) for i, size in enumerate(value.shape)]
    described = {"type": "ndarray", "shape": shape, "item_type": item_type(value.dtype)}
    return {**described, "name": name} if name else described


def result(value):
    """The type of what a method returned."""
    if isinstance(value, tuple):
        return {"type": "tuple", "element_types": [result(one) for one in value]}
    if isinstance(value, list):
        return {"type": "list", "item_type": result(value[0])} if value else {"type": "list"}
    if hasattr(value, "shape") and hasattr(value, "dtype") and value.shape != ():
        return array(value)
    value = value.item() if hasattr(value, "item") else value
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "float"), (str, "string"), (complex, "complex")):
        if isinstance(value, kind):
            return {"type": name}
    if isinstance(value, dict):
        return {"type": "dict", "properties": {}}
    return {"type": "python object", "python_type": type(value).__name__}
