"""Python type hints as argument types of the DLHub schema."""

import collections.abc
import datetime
import enum
import os
import typing

from .. import schema as types

SCALARS = {
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "string",
    complex: "complex",
    datetime.datetime: "datetime",
    datetime.date: "datetime",
    datetime.timedelta: "timedelta",
}
LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _object(hint):
    name = getattr(hint, "__qualname__", None)
    module = getattr(hint, "__module__", "builtins")
    return {
        "type": "python object",
        "python_type": f"{module}.{name}" if name and module not in ("builtins", "typing") else name or "object",
    }


def _numpy_item(hint):
    """{"type": "float", "dtype": "FP32"} of np.float32; None where it is no numpy scalar type."""
    name = getattr(hint, "__name__", "")
    name = {
        "double": "float64",
        "single": "float32",
        "half": "float16",
        "bool_": "bool",
        "longlong": "int64",
        "intc": "int32",
        "int_": "int64",
        "str_": "string",
    }.get(name, name)
    if getattr(hint, "__module__", "") != "numpy":
        return None
    datatype = types.DATATYPE_OF.get(name)
    if datatype:
        kind = "integer" if "INT" in datatype else "boolean" if datatype == "BOOL" else "float"
        return {"type": kind, "dtype": datatype}
    return {
        "floating": {"type": "float"},
        "integer": {"type": "integer"},
        "string": {"type": "string"},
        "number": {"type": "number"},
        "signedinteger": {"type": "integer"},
    }.get(name)


def _array(hint):
    """numpy.ndarray, numpy.ndarray[shape, dtype[T]] and numpy.typing.NDArray[T]."""
    described = {"type": "ndarray", "shape": "Any"}
    arguments = typing.get_args(hint)
    if len(arguments) == 2:
        inner = typing.get_args(arguments[1])
        item = _numpy_item(inner[0]) if inner else None
        if item:
            described["item_type"] = item
    return described


def _is_array(hint):
    origin = typing.get_origin(hint) or hint
    return getattr(origin, "__module__", "") == "numpy" and getattr(origin, "__name__", "") == "ndarray"


def _typed_dict(hint):
    return {"type": "dict", "properties": {name: describe(one) for name, one in typing.get_type_hints(hint).items()}}


def _union(arguments):
    kinds = [one for one in arguments if one is not type(None)]
    if len(kinds) == 1 and len(arguments) == 1:
        return describe(kinds[0])
    if set(kinds) <= {int, float} and len(kinds) == len(arguments):
        return {"type": "number"}
    if any(_is_array(one) for one in kinds) and len(kinds) == len(arguments):  # numpy.typing.ArrayLike and the like
        return next(_array(one) for one in kinds if _is_array(one))
    return {"type": "python object", "python_type": "object"}


def _generic(hint, origin):
    arguments = typing.get_args(hint)
    if origin is tuple:
        if not arguments or arguments[-1] is Ellipsis:
            return {"type": "list", "item_type": describe(arguments[0])} if arguments else {"type": "list"}
        return {"type": "tuple", "element_types": [describe(one) for one in arguments if one != ()]}
    if origin in LISTS:
        return {"type": "list", "item_type": describe(arguments[0])} if arguments else {"type": "list"}
    if origin in DICTS:
        return {"type": "dict", "properties": {}}
    if origin is typing.Literal:
        return describe(type(arguments[0]))
    if origin is typing.Annotated:
        return describe(arguments[0])
    return _object(origin)


def describe(hint):
    """The argument type of a type hint; a "python object" where the hint says nothing that the schema knows."""
    if hint is typing.Any or hint is None or hint is type(None) or isinstance(hint, (str, typing.TypeVar)):
        return {"type": "python object", "python_type": "object"}
    if _is_array(hint):
        return _array(hint)
    item = _numpy_item(hint)
    if item:
        return {"type": item["type"]}
    origin = typing.get_origin(hint)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return _union(typing.get_args(hint))
    if origin is not None:
        return _generic(hint, origin)
    if hint in SCALARS:
        return {"type": SCALARS[hint]}
    if hint in LISTS or hint is tuple:
        return {"type": "list"}
    if hint in DICTS:
        return {"type": "dict", "properties": {}}
    if not isinstance(hint, type):
        return {"type": "python object", "python_type": "object"}
    if issubclass(hint, os.PathLike):
        return {"type": "file"}
    if issubclass(hint, enum.Enum):
        return _object(hint)
    return _typed_dict(hint) if typing.is_typeddict(hint) else _object(hint)
