"""Python values as what a servable's method takes, and what it gives as Python values.

A method's arguments follow its schema (`servable.methods.NAME` of a description). An ndarray travels as a tensor of
the Open Inference Protocol, its bytes as they are; anything else as JSON. `Argument` is one argument of either kind.
"""

import base64
import datetime
import json
import os
import pathlib

import numpy as np

from .errors import InternalError, InvalidArgument

DTYPES = {"BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
          "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
          "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
DATATYPE_OF_ITEM = {"boolean": "BOOL", "string": "BYTES"}
ITEMS_OF_TENSORS = {None, "number", "integer", "float", "boolean", "string"}
SCALARS = {"number": ("FP64", np.float64), "float": ("FP64", np.float64), "integer": ("INT64", np.int64),
           "boolean": ("BOOL", np.bool_)}


class Argument:
    """One argument of a method: its name, its DLHub type, its schema, and how it travels."""

    def __init__(self, schema, name):
        self.schema, self.name = schema, schema.get("name") or name
        self.type = schema.get("type", "python object")
        item = schema.get("item_type")
        item = item if isinstance(item, dict) else {"type": item}
        self.datatype = item.get("dtype") or DATATYPE_OF_ITEM.get(item.get("type"))  # None: the caller's own
        self.is_tensor = self.type == "ndarray" and (self.datatype is not None or item.get("type") in ITEMS_OF_TENSORS)
        shape = schema.get("shape")
        self.shape = None if not isinstance(shape, list) else [a if isinstance(a, int) and a >= 0 else -1 for a in shape]

    def __repr__(self):
        if self.type != "ndarray":
            return f"{self.name}: {self.type}"
        axes = "any shape" if self.shape is None else "[" + ", ".join("n" if a < 0 else str(a) for a in self.shape) + "]"
        return f"{self.name}: ndarray {self.datatype or ''}{axes}"


def arguments(schema, base):
    """The arguments of one side of a method; `base` is "input" or "output"."""
    if schema.get("type") != "tuple":
        return [Argument(schema, base)]
    base = schema.get("name") or base
    return [Argument(element, f"{base}_{i}") for i, element in enumerate(schema.get("element_types") or [])]


# ---- tensors ----

def _bytes_encode(values):
    parts = []
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode()
        parts += [len(data).to_bytes(4, "little"), data]
    return b"".join(parts)


def _bytes_decode(data, count):
    values, at = np.empty(count, dtype=object), 0
    for i in range(count):
        size = int.from_bytes(data[at:at + 4], "little")
        piece = bytes(data[at + 4:at + 4 + size])
        if len(piece) != size or len(data) < at + 4:
            raise InternalError("the hub's answer is cut short inside a BYTES tensor")
        try:
            values[i] = piece.decode()
        except UnicodeDecodeError:
            values[i] = piece
        at += 4 + size
    return values


def _bf16_encode(array):
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array), np.uint16(0x7fc0), rounded).astype("<u2").tobytes()


def _summary(value):
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)[:60]


def array_as(value, datatype, what):
    """`value` as a numpy array of the datatype, where every value survives that."""
    if not isinstance(value, np.ndarray) and hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu()
    try:
        array = np.asarray(value, object if datatype == "BYTES" and not isinstance(value, np.ndarray) else None)
    except ValueError as error:
        raise InvalidArgument(f"{what}: these nested lists are no array: {error}") from error
    if datatype == "BYTES" or (datatype is None and array.dtype.kind in "OSU"):
        if not all(isinstance(one, (str, bytes)) for one in array.ravel().tolist()):
            raise InvalidArgument(f"{what}: text was expected, but {_summary(value)} came")
        return array
    if array.dtype.kind in "OSUMmcV":
        raise InvalidArgument(f"{what}: an array of {array.dtype} cannot be sent",
                              f"the servable takes {datatype or 'numbers'}: convert it with .astype()")
    if datatype is None:
        return array.astype(np.float64) if np.dtype(array.dtype) not in NAMES else array
    target = np.dtype(np.float32 if datatype == "BF16" else DTYPES[datatype])
    if array.dtype == target:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(target)
    if not np.can_cast(array.dtype, target, "same_kind"):
        fits = target.kind in "iu" and array.dtype.kind in "iub"
    else:
        fits = True
    if fits and target.kind in "iu":
        fits = bool(np.array_equal(result, array)) and not (array.dtype.kind == "i" and target.kind == "u" and
                                                             array.size and array.min() < 0)
    elif fits and target.kind == "f":
        fits = bool(np.array_equal(np.isfinite(result), np.isfinite(array)))
    if not fits:
        raise InvalidArgument(f"{what}: an array of {array.dtype} came, whose values do not all fit {datatype}",
                              "convert it yourself, with .astype(), where the loss is meant")
    return result


def check_shape(argument, shape, what):
    wanted = argument.shape
    if argument.type != "ndarray" or wanted is None:
        return
    if len(shape) != len(wanted) or any(a >= 0 and a != b for a, b in zip(wanted, shape)):
        raise InvalidArgument(f"{what}: shape {list(shape)} came, but {wanted} is expected (-1: any length)")


def encode(argument, value):
    """(datatype, shape, bytes) of one argument."""
    what = f"input '{argument.name}'"
    if argument.is_tensor:
        array = array_as(value, argument.datatype, what)
        check_shape(argument, array.shape, what)
        if array.dtype.kind in "OSU":
            return "BYTES", array.shape, _bytes_encode(array.ravel().tolist())
        if argument.datatype == "BF16":
            return "BF16", array.shape, _bf16_encode(array)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return NAMES[np.dtype(array.dtype)], array.shape, np.ascontiguousarray(little).tobytes()
    if argument.type in SCALARS:
        datatype, dtype = SCALARS[argument.type]
        array = array_as(value, datatype, what)
        if array.ndim:
            raise InvalidArgument(f"{what}: one {argument.type} is expected, but shape {list(array.shape)} came")
        return datatype, (1,), array.astype(dtype).tobytes()
    if argument.type == "file":
        return "BYTES", (1,), _bytes_encode([_content(value)[0]])
    if argument.type == "string":
        if not isinstance(value, str):
            raise InvalidArgument(f"{what}: a string is expected, but {type(value).__name__} came")
        return "BYTES", (1,), _bytes_encode([value])
    return "BYTES", (1,), _bytes_encode([dumps(value)])


def decode(argument, datatype, shape, data):
    """The Python value of one output; `argument` may be None."""
    count = int(np.prod(shape, dtype=np.int64))
    if datatype == "BYTES":
        array = _bytes_decode(data, count).reshape(shape)
    elif datatype == "BF16":
        array = (np.frombuffer(data, "<u2", count).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    elif datatype in DTYPES:
        array = np.frombuffer(data, np.dtype(DTYPES[datatype]).newbyteorder("<"), count).astype(
            DTYPES[datatype]).reshape(shape)
    else:
        raise InternalError(f"the hub answered with the unknown datatype {datatype}")
    if argument is None or argument.is_tensor:
        return array
    value = array.reshape(-1)[0]
    if argument.type in SCALARS:
        return value.item()
    if argument.type == "file":
        return value if isinstance(value, bytes) else value.encode()
    return value if argument.type == "string" else from_json(json.loads(value), argument.schema)


# ---- JSON ----

def _content(value):
    """The bytes of a file and its name, or None."""
    if isinstance(value, os.PathLike):
        return pathlib.Path(value).read_bytes(), pathlib.Path(value).name
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), None
    if hasattr(value, "read"):
        data = value.read()
        name = getattr(value, "name", None)
        return data if isinstance(data, bytes) else data.encode(), os.path.basename(name) if isinstance(name, str) else None
    raise InvalidArgument(f"a file is expected (a pathlib.Path, bytes or an open file), but {type(value).__name__} came")


def _plain(value):
    """What json cannot write by itself."""
    if isinstance(value, np.ndarray) or hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (os.PathLike, bytes, bytearray, memoryview)) or hasattr(value, "read"):
        content, name = _content(value)
        file = {"content": base64.b64encode(content).decode()}
        return {**file, "name": name} if name else file
    if isinstance(value, complex):
        return {"real": value.real, "imag": value.imag}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    raise InvalidArgument(f"a {type(value).__name__} cannot be sent",
                          "numpy arrays, numbers, text, lists, dicts, files (pathlib.Path) and dates can")


def dumps(value):
    """JSON text. NaN and infinity are refused: JSON has neither."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    except InvalidArgument:
        raise
    except ValueError as error:
        raise InvalidArgument(f"the value cannot be sent as JSON: {error}",
                              "NaN and infinity travel only where the servable's schema says ndarray") from error
    except TypeError as error:
        raise InvalidArgument(f"the value cannot be sent as JSON: {error}") from error


def from_json(value, schema):
    """A parsed JSON value as its schema says: ndarray as numpy, tuple as tuple, file as bytes, complex as complex."""
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if kind == "ndarray":
        argument = Argument(schema if isinstance(schema, dict) else {"type": kind}, "output")
        return np.asarray(value, dtype=DTYPES.get(argument.datatype))
    if kind == "tuple" and isinstance(value, list):
        elements = schema.get("element_types") or []
        return tuple(from_json(one, elements[i] if i < len(elements) else {}) for i, one in enumerate(value))
    if kind == "list" and isinstance(value, list):
        return [from_json(one, schema.get("item_type") or {}) for one in value]
    if kind == "dict" and isinstance(value, dict):
        properties = schema.get("properties") or {}
        return {name: from_json(one, properties.get(name) or {}) for name, one in value.items()}
    if kind == "complex" and isinstance(value, dict):
        return complex(value["real"], value["imag"])
    if kind == "file" and isinstance(value, dict):
        return base64.b64decode(value["content"])
    return value
