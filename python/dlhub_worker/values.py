"""JSON documents and tensors as Python values and back, by the servable's schema.

`src/worker/python_value.c` does the usual cases; what it does not know, and every error message, is here. numpy is
imported when the first array comes: a servable without arrays needs none.
"""

import base64
import datetime
import json
import math
import os
import struct

from . import schema as types
from .errors import BadInput, BadOutput

INT64_LEAST, INT64_MOST = -(1 << 63), (1 << 63) - 1
SHOWN_MAX = 60
DEPTH_MAX = 200


def numpy():
    try:
        import numpy as module
    except ImportError as error:
        raise BadInput(
            "the servable's environment has no numpy, which its ndarray arguments need",
            hint='add "numpy" to dlhub.dependencies.python and publish again',
            code="FAILED_PRECONDITION",
        ) from error
    return module


# ---- in ----


def _complex_in(value):
    return complex(value["real"], value["imag"]) if isinstance(value, dict) else complex(value)


def datetime_in(value):
    try:
        text = value.strip().replace("t", "T", 1)
        return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" else text)
    except (ValueError, AttributeError, IndexError) as error:
        raise BadInput(f"{value!r} is no date or time", hint='send it as "2026-11-22T16:24:07Z"') from error


def _timedelta_in(value):
    try:
        return datetime.timedelta(seconds=value)
    except OverflowError as error:
        raise BadInput(f"{value} seconds are more than a timedelta holds") from error


def array_in(value, schema):
    """Nested lists inside a JSON document."""
    np = numpy()
    datatype = types.array_datatype(schema)
    item = types.kind(types.item_type(schema)) if types.item_type(schema) else None
    dtype = types.NUMPY_OF.get(datatype) or (object if datatype == "BYTES" else "float64" if item == "float" else None)
    try:
        return np.asarray(value, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"these nested lists are no {types.expected(schema)}: {error}") from error


def _object_in(schema):
    python_type = schema.get("python_type", "") if isinstance(schema, dict) else ""
    if python_type.startswith("pandas.") and python_type.endswith((".DataFrame", ".Series")):

        def convert(value):
            import pandas

            return getattr(pandas, python_type.rsplit(".", 1)[1])(value)

        return convert
    if python_type in ("numpy.ndarray", "np.ndarray"):
        return lambda value: array_in(value, {})
    return None


def _members_in(converters):
    def convert(value):
        result = dict(value)
        for name, converter in converters.items():
            if name in result:
                result[name] = converter(result[name])
        return result

    return convert


def input_converter(schema, files):
    """What makes the argument of the parsed JSON (or, for a file, its bytes); None: nothing is to be done.

    `files` is the RunFiles that files go to; a nested file is {"content": base64, "name"?}.
    """
    kind = types.kind(schema)
    if kind == "float":
        return float
    if kind == "complex":
        return _complex_in
    if kind == "datetime":
        return datetime_in
    if kind == "timedelta":
        return _timedelta_in
    if kind == "python object":
        return _object_in(schema)
    if kind == "ndarray":
        return lambda value: array_in(value, schema)
    if kind == "file":
        return lambda value: files.put(base64.b64decode(value["content"]), value.get("name"), schema)
    if kind == "list":
        item = input_converter(types.item_type(schema), files) if types.item_type(schema) else None
        return item and (lambda value: [item(one) for one in value])
    if kind == "tuple":
        elements = [input_converter(one, files) for one in schema.get("element_types") or []]
        return lambda value: tuple(c(one) if c else one for c, one in zip(elements, value))
    if kind == "dict" and isinstance(schema, dict):
        members = {name: input_converter(one, files) for name, one in (schema.get("properties") or {}).items()}
        members = {name: converter for name, converter in members.items() if converter}
        return _members_in(members) if members else None
    return None


def array_from_bytes(datatype, shape, data):
    """Arrays that numpy has no datatype for: BYTES become text (or bytes, where they are no UTF-8), BF16 float32."""
    np = numpy()
    if datatype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    items, at = [], 0
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0]
        piece = data[at + 4 : at + 4 + size]
        try:
            items.append(piece.decode())
        except UnicodeDecodeError:
            items.append(piece)
        at += 4 + size
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


# ---- out ----


def describe(value):
    """The value in words, for messages."""
    kind = type(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"a {kind.__name__} of {value.dtype} with shape {types.format_shape(value.shape)}"
    if value is None:
        return "None"
    if isinstance(value, (list, tuple, dict, set)):
        return f"a {kind.__name__} of {len(value)}"
    text = repr(value)
    return f"{text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + '...'} ({kind.__name__})"


def _mismatch(value, schema, place, why=""):
    return BadOutput(
        f"{place}: the servable returned {describe(value)}, but its schema says {types.expected(schema)}{why}"
    )


def _plain_number(value, place):
    if isinstance(value, int):
        if not INT64_LEAST <= value <= INT64_MOST:
            raise BadOutput(f"{place}: the integer {str(value)[:30]} does not fit 64 bits", "return it as a string")
    elif not math.isfinite(value):
        raise BadOutput(
            f"{place}: the servable returned {value}, which JSON cannot carry",
            "return None or a string for it, or make the output an ndarray, which carries NaN and infinity",
        )
    return value


def _unwrap(value):
    """A numpy scalar or array of rank 0, as the Python value in it."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def _any_out(value, place, depth):
    """JSON of a value whose schema says nothing."""
    value = _unwrap(value)
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, (int, float)):
        return _plain_number(value, place)
    if depth > DEPTH_MAX:
        raise BadOutput(f"{place}: nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        return {_key(key, place): _any_out(one, f"{place}[{key!r}]", depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_any_out(one, f"{place}[{i}]", depth + 1) for i, one in enumerate(value)]
    if isinstance(value, complex):
        return {"real": _plain_number(value.real, place), "imag": _plain_number(value.imag, place)}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__name__ == "DataFrame":
        return _any_out(value.to_dict(orient="list"), place, depth + 1)
    if hasattr(value, "tolist") or hasattr(value, "numpy"):
        return _any_out(to_array(value).tolist(), place, depth + 1)
    raise BadOutput(
        f"{place}: the servable returned {describe(value)}, which has no form in JSON",
        "return numbers, strings, lists, dicts or numpy arrays",
    )


def _key(key, place):
    key = _unwrap(key)
    if isinstance(key, str):
        return str(key)
    if isinstance(key, (bool, int, float)):
        return json.dumps(key)
    raise BadOutput(f"{place}: the key {describe(key)} of a dict has no form in JSON", "use strings as keys")


def _scalar_out(value, schema, place, kind):
    value = _unwrap(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, (str, os.PathLike)):
        return str(value)
    if kind == "datetime":
        if isinstance(value, datetime.date):
            return value.isoformat()
        if type(value).__name__ == "datetime64":
            return str(value)
    if kind == "timedelta" and isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if kind == "complex" and isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        return {"real": _plain_number(value.real, place), "imag": _plain_number(value.imag, place)}
    if isinstance(value, int) and not isinstance(value, bool) and kind in ("integer", "number", "float"):
        return _plain_number(float(value) if kind == "float" else int(value), place)
    if isinstance(value, float) and kind in ("number", "float"):
        return _plain_number(float(value), place)
    raise _mismatch(value, schema, place)


def _dict_out(value, schema, place, depth):
    if not isinstance(value, dict):
        raise _mismatch(value, schema, place)
    properties = schema.get("properties") or {}
    if not properties:
        return _any_out(value, place, depth)
    missing = [name for name in properties if name not in value]
    surplus = [name for name in value if name not in properties]
    if missing or surplus:
        which = f"without {missing[0]!r}" if missing else f"with the key {surplus[0]!r}"
        raise BadOutput(f"{place}: the servable returned a dict {which}, but its schema lists {sorted(properties)}")
    return {name: plain(one, properties[name], f"{place}[{name!r}]", depth + 1) for name, one in value.items()}


def _list_out(value, schema, place, depth, elements=None):
    if hasattr(value, "tolist") and getattr(value, "shape", ()) != ():
        value = value.tolist()
    if not isinstance(value, (list, tuple)) and (elements or not isinstance(value, (set, frozenset))):
        raise _mismatch(value, schema, place)
    if elements is not None and len(value) != len(elements):
        raise _mismatch(value, schema, place)
    item = types.item_type(schema) or "any"
    return [plain(one, elements[i] if elements else item, f"{place}[{i}]", depth + 1) for i, one in enumerate(value)]


def plain(value, schema, place, depth=0):
    """The value as what json.dumps() takes, checked against its schema."""
    kind = types.kind(schema)
    if kind in ("any", "python object"):
        return _any_out(value, place, depth)
    if kind == "dict":
        return _dict_out(value, schema, place, depth)
    if kind == "list":
        return _list_out(value, schema, place, depth)
    if kind == "tuple":
        return _list_out(value, schema, place, depth, schema.get("element_types") or [])
    if kind == "ndarray":
        array, datatype = checked_array(value, schema, place)
        return _any_out(array.tolist() if datatype != "BF16" else to_array(value).tolist(), place, depth)
    if kind == "file":
        content = file_out(value, schema, place)
        return {"content": base64.b64encode(content).decode(), "name": os.path.basename(os.fspath(value))}
    return _scalar_out(value, schema, place, kind)


def json_out(value, schema, place):
    """The JSON text, as bytes."""
    try:
        return json.dumps(plain(value, schema, place), ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise BadOutput(f"{place}: the text that the servable returned is not valid Unicode: {error.reason}") from error
    except RecursionError as error:
        raise BadOutput(f"{place}: the value that the servable returned contains itself or nests too deep") from error


def file_out(value, schema, place):
    if not isinstance(value, (str, os.PathLike)):
        raise _mismatch(value, schema, place)
    try:
        with open(value, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadOutput(f"{place}: the file that the servable returned cannot be read: {error}") from error


# ---- arrays out ----


def to_array(value):
    """Whatever frameworks return (tensors, data frames, sparse matrices, lists) as a numpy array."""
    np = numpy()
    if isinstance(value, np.ndarray):
        return value
    for name in ("detach", "cpu"):  # torch
        if hasattr(value, name):
            value = getattr(value, name)()
    for name in ("numpy", "to_numpy", "toarray"):  # torch and TensorFlow; pandas; scipy.sparse
        if hasattr(value, name):
            try:
                return np.asarray(getattr(value, name)())
            except TypeError:  # torch's bfloat16
                return np.asarray(value.float().numpy())
    return np.asarray(value)


def _string_bytes(array):
    pieces = []
    for one in array.ravel().tolist():
        data = one if isinstance(one, bytes) else str(one).encode()
        pieces += (struct.pack("<I", len(data)), data)
    return b"".join(pieces)


def _to_bf16(np, array):
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(array), np.uint16(0x7FC0), rounded).astype(np.uint16).reshape(array.shape)


def _open_datatype(np, array, schema, place):
    """The datatype for an array whose schema leaves it open, by the array itself."""
    item = types.kind(types.item_type(schema)) if types.item_type(schema) else "any"
    if array.dtype.kind in "USO" and item == "any":
        return "BYTES"
    if array.dtype == np.longdouble:
        return "FP64"
    datatype = types.DATATYPE_OF.get(array.dtype.name)
    allowed = {"integer": "iu", "any": "biuf"}.get(item, "iuf")
    if datatype is None or array.dtype.kind not in allowed:
        raise _mismatch(array, schema, place)
    return datatype


def _cast(np, array, datatype, schema, place):
    target = np.dtype(types.NUMPY_OF[datatype])
    if array.dtype == target:
        return array
    if array.dtype.kind in "iu" and target.kind in "iu":
        limits = np.iinfo(target)
        if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
            raise _mismatch(array, schema, place, f": a value does not fit {datatype}")
        return array.astype(target)
    if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, target, "same_kind"):
        raise _mismatch(array, schema, place)
    return array.astype(target)


def checked_array(value, schema, place):
    """(contiguous array, datatype); strings stay an array of objects, BF16 is an array of uint16."""
    np = numpy()
    try:
        array = to_array(value)
    except (ValueError, TypeError) as error:
        raise _mismatch(value, schema, place, f": {error}") from error
    if array.dtype.kind == "O" and any(not isinstance(one, (str, bytes)) for one in array.ravel().tolist()):
        raise _mismatch(value, schema, place)
    shape = types.array_shape(schema)
    if shape is not None and (len(shape) != array.ndim or any(a not in (-1, b) for a, b in zip(shape, array.shape))):
        raise _mismatch(array, schema, place)
    datatype = types.array_datatype(schema) or _open_datatype(np, array, schema, place)
    if datatype == "BYTES":
        if array.dtype.kind not in "USO":
            raise _mismatch(array, schema, place)
        return array, datatype
    if datatype == "BF16":
        return _to_bf16(np, _cast(np, array, "FP32", schema, place)), datatype
    return _cast(np, array, datatype, schema, place), datatype


def array_out(value, schema, place):
    """(datatype, shape, object with contiguous bytes) for src/worker/python_value.c."""
    array, datatype = checked_array(value, schema, place)
    if datatype == "BYTES":
        return datatype, array.shape, _string_bytes(array)
    if not array.flags.c_contiguous or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    return datatype, array.shape, array
