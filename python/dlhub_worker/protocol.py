"""Arguments as tensors of the Open Inference Protocol's JSON, both ways, by a method's schema."""

import json
import math

from . import schema as types
from . import values
from .errors import BadInput, WorkerError

# No JSON form in the protocol: they travel as binary tensors only.
BINARY_ONLY = ("FP16", "BF16")


class NoJson(WorkerError):
    """The value has no JSON form in the protocol."""

    code = "UNIMPLEMENTED"


def _flat(value, out):
    if isinstance(value, (list, tuple)):
        for one in value:
            _flat(one, out)
    else:
        out.append(value)
    return out


def tensor(name, datatype, shape, data):
    if datatype in BINARY_ONLY:
        raise NoJson(f"'{name}' is {datatype}, which has no JSON form in the protocol")
    if any(isinstance(one, float) and not math.isfinite(one) for one in data):
        raise NoJson(f"'{name}' has a NaN or infinity, which JSON cannot carry")
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data}


# ---- a value (parsed JSON, or a numpy array) as an input tensor ----


def _array_request(name, schema, value):
    np = values.numpy()
    datatype = types.array_datatype(schema)
    if datatype == "BYTES":
        array = np.asarray(value, dtype=object)
        return tensor(name, "BYTES", array.shape, [str(one) for one in array.ravel().tolist()])
    if datatype is None and not isinstance(value, np.ndarray):
        kind = types.kind(types.item_type(schema)) if types.item_type(schema) else "float"
        value = np.asarray(value)
        if kind in ("float", "number") and value.dtype.kind in "iu":
            value = value.astype("float64")
    array = np.asarray(value, dtype=types.NUMPY_OF.get(datatype))
    datatype = datatype or types.DATATYPE_OF.get(array.dtype.name)
    if datatype is None:
        raise BadInput(f"input '{name}': {values.describe(array)} is no ndarray of numbers")
    shape = types.array_shape(schema)
    if shape is not None and (len(shape) != array.ndim or any(a not in (-1, b) for a, b in zip(shape, array.shape))):
        raise BadInput(f"input '{name}': shape {list(array.shape)} came, but {types.format_shape(shape)} is expected")
    return tensor(name, datatype, array.shape, array.ravel().tolist())


def request_tensor(name, schema, value):
    kind = types.kind(schema)
    if kind == "ndarray":
        return _array_request(name, schema, value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if kind == "file":
        if not isinstance(value, str):
            raise NoJson(f"input '{name}' is a file, which has no JSON form in the protocol unless it is text")
        return tensor(name, "BYTES", [1], [value])
    datatype = types.json_datatype(schema)
    if datatype == "BYTES" and kind != "string":
        value = json.dumps(value, ensure_ascii=False)
    return tensor(name, datatype, [1], [value])


def request(block, data):
    """{"inputs": […]} of one value for the whole input: for a tuple a list, or an object keyed by the names."""
    arguments = types.arguments(block.get("input"), "input")
    if not types.is_tuple(block.get("input")):
        return {"inputs": [request_tensor(*arguments[0], data)]}
    if isinstance(data, dict):
        missing = [name for name, _ in arguments if name not in data]
        if missing:
            raise BadInput(f"input '{missing[0]}' is missing in the example")
        data = [data[name] for name, _ in arguments]
    if len(data) != len(arguments):
        raise BadInput(f"the example has {len(data)} inputs, the method takes {len(arguments)}")
    return {"inputs": [request_tensor(name, schema, value) for (name, schema), value in zip(arguments, data)]}


# ---- an input tensor as the argument that the servable gets ----


def _array_argument(one):
    np = values.numpy()
    data = _flat(one["data"], [])
    dtype = object if one["datatype"] == "BYTES" else types.NUMPY_OF[one["datatype"]]
    try:
        return np.array(data, dtype=dtype).reshape(one["shape"])
    except ValueError as error:
        raise BadInput(f"input '{one['name']}': {error}") from error


def argument(one, schema, files):
    kind = types.kind(schema)
    if kind == "ndarray":
        return _array_argument(one)
    value = _flat(one["data"], [])[0]
    if kind == "file":
        return files.put(value.encode(), None, schema)
    if types.json_datatype(schema) == "BYTES" and kind != "string":
        value = json.loads(value)
    convert = values.input_converter(schema, files)
    return convert(value) if convert else value


def method_arguments(block, document, files):
    """The arguments in the method's order of a request {"inputs": […]}."""
    given = {one["name"]: one for one in document["inputs"]}
    wanted = types.arguments(block.get("input"), "input")
    for name in given:
        if name not in [one for one, _ in wanted]:
            raise BadInput(f"the method has no input '{name}'; it has {', '.join(one for one, _ in wanted)}")
    for name, _ in wanted:
        if name not in given:
            raise BadInput(f"input '{name}' is missing")
    return [argument(given[name], schema, files) for name, schema in wanted]


# ---- what the servable returned as output tensors ----


def _response_tensor(name, schema, value):
    place = f"output '{name}'"
    kind = types.kind(schema)
    if kind == "ndarray":
        array, datatype = values.checked_array(value, schema, place)
        data = array.ravel().tolist()
        return tensor(name, datatype, array.shape, [one.decode() if isinstance(one, bytes) else one for one in data])
    if kind == "file":
        try:
            return tensor(name, "BYTES", [1], [values.file_out(value, schema, place).decode()])
        except UnicodeDecodeError as error:
            raise NoJson(f"{place} is a file that is no text") from error
    plain = values.plain(value, schema, place)
    datatype = types.json_datatype(schema)
    if datatype == "BYTES" and kind != "string":
        plain = json.dumps(plain, ensure_ascii=False)
    return tensor(name, datatype, [1], [plain])


def response(block, value):
    arguments = types.arguments(block.get("output"), "output")
    if not types.is_tuple(block.get("output")):
        value = (value,)
    if not isinstance(value, (tuple, list)) or len(value) != len(arguments):
        raise values.BadOutput(
            f"the method returned {values.describe(value)}, but its schema says a tuple of {len(arguments)}"
        )
    return {"outputs": [_response_tensor(name, schema, one) for (name, schema), one in zip(arguments, value)]}
