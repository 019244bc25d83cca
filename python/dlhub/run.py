"""Running a servable: which of the hub's two routes a call takes, and the bodies of both.

Arrays on either side: the Open Inference Protocol with binary tensors. Otherwise, and where the caller wants to
see what the servable printed: the DLHub route, in JSON.
"""

import json

import numpy as np

from . import tensors
from .errors import InternalError, InvalidArgument
from .views import Blob

RESERVED = {"timeout", "binary_data_output", "priority", "headers"}  # parameters that the protocol keeps for itself
SLACK_S = 30  # the hub says itself that a run took too long; only a hub that is gone is given up


class Method:
    def __init__(self, name, schema):
        self.name, self.schema = name, schema
        self.inputs = tensors.arguments(schema.get("input") or {}, "input")
        self.outputs = tensors.arguments(schema.get("output") or {}, "output")
        self.tuple_input = (schema.get("input") or {}).get("type") == "tuple"
        self.tuple_output = (schema.get("output") or {}).get("type") == "tuple"

    def by_tensors(self, parameters):
        if RESERVED & set(parameters or ()) or any(k.startswith(("triton_", "sequence_")) for k in parameters or ()):
            return False
        return any(argument.is_tensor for argument in self.inputs + self.outputs)


def method_of(description, name):
    methods = description["servable"]["methods"]
    if name not in methods:
        raise InvalidArgument(f"{description['name']} has no method '{name}'", f"it has {', '.join(sorted(methods))}")
    return Method(name, methods[name])


def bind(method, inputs):
    """The value of each argument, in the method's order."""
    names = [argument.name for argument in method.inputs]
    takes_dict = not method.tuple_input and method.inputs[0].type in ("dict", "python object")
    if isinstance(inputs, dict) and not isinstance(inputs, Blob) and not takes_dict:
        unknown = sorted(set(inputs) - set(names))
        missing = [name for name in names if name not in inputs]
        if unknown or missing:
            problem = f"there is no input '{unknown[0]}'" if unknown else f"input '{missing[0]}' is missing"
            raise InvalidArgument(f"{problem}; the inputs are {', '.join(map(repr, method.inputs))}")
        return [inputs[name] for name in names]
    if not method.tuple_input:
        return [inputs]
    if not isinstance(inputs, (list, tuple)) or len(inputs) != len(names):
        what = f"{len(inputs)} came" if isinstance(inputs, (list, tuple)) else f"{type(inputs).__name__} came"
        raise InvalidArgument(f"{len(names)} inputs are expected, as a tuple or by name, but {what}; "
                              f"the inputs are {', '.join(map(repr, method.inputs))}")
    return list(inputs)


def infer_input(argument, value, memories):
    """What the header says of one input, and its bytes behind it; none where it lies in shared memory."""
    part = memories.part(value, argument.datatype) if memories and argument.is_tensor else None
    if part:
        tensors.check_shape(argument, value.shape, f"input '{argument.name}'")
        return {"name": argument.name, "shape": list(value.shape), "datatype": tensors.NAMES[value.dtype], "parameters": part}, b""
    datatype, shape, data = tensors.encode(argument, value)
    return {"name": argument.name, "shape": list(shape), "datatype": datatype, "parameters": {"binary_data_size": len(data)}}, data


def infer_body(method, values, parameters, timeout, memories=None, out=None):
    """The JSON header and the tensors behind it."""
    inputs = [infer_input(argument, value, memories) for argument, value in zip(method.inputs, values)]
    own = {"binary_data_output": True}
    if timeout:
        own["timeout"] = int(timeout * 1e6)
    head = {"inputs": [said for said, _ in inputs], "parameters": {**(parameters or {}), **own}}
    if out is not None:
        head["outputs"] = [{"name": argument.name, "parameters": place_of(argument, array, memories)}
                           for argument, array in zip(method.outputs, places(method, out))]
    head = tensors.dumps(head).encode()
    return head, b"".join([head, *(data for _, data in inputs)])


def places(method, out):
    """The array for each output, or None."""
    found = list(out) if method.tuple_output and isinstance(out, (list, tuple)) else [out]
    if len(found) != len(method.outputs):
        raise InvalidArgument(f"out: {len(method.outputs)} arrays are expected, but {len(found)} came")
    return found


def place_of(argument, array, memories):
    part = memories.part(array, argument.datatype) if memories and array is not None else None
    if array is not None and (not part or not argument.is_tensor):
        raise InvalidArgument(f"out: what came for output '{argument.name}' is no {argument.datatype or ''} array in shared memory",
                              "make it with hub.shared_memory(BYTES).array(shape, dtype)")
    return part or {"binary_data": True}


def written(method, out, name, shape, datatype):
    """What the hub wrote into an array of `out`: as much of it as there is, in the shape that it has."""
    array = next(array for argument, array in zip(method.outputs, places(method, out)) if argument.name == name)
    count = int(np.prod(shape, dtype=np.int64))
    if tensors.NAMES.get(array.dtype) != datatype:
        raise InternalError(f"output '{name}' came as {datatype}, but its array in shared memory is {array.dtype}")
    return array if list(array.shape) == shape else array.reshape(-1)[:count].reshape(shape)


def infer_result(method, head_bytes, content, out=None):
    """The outputs of an Open Inference Protocol answer."""
    head = json.loads(content[:head_bytes] if head_bytes is not None else content)
    rest = memoryview(content)[head_bytes if head_bytes is not None else len(content):]
    known = {argument.name: argument for argument in method.outputs}
    found, at = {}, 0
    for output in head.get("outputs", []):
        name, shape, datatype = output["name"], output["shape"], output["datatype"]
        said = output.get("parameters") or {}
        size = said.get("binary_data_size")
        if "shared_memory_region" in said:
            found[name] = written(method, out, name, shape, datatype)
            continue
        if size is None:
            flat = output.get("data", [])
            data = tensors._bytes_encode(flat) if datatype == "BYTES" else \
                np.asarray(flat, tensors.DTYPES[datatype]).tobytes()
        else:
            data, at = rest[at:at + size], at + size
            if len(data) != size:
                raise InternalError(f"the hub's answer is cut short: output '{name}' needs {size} bytes")
        found[name] = tensors.decode(known.get(name), datatype, shape, data)
    missing = [name for name in known if name not in found]
    if missing:
        raise InternalError(f"the hub's answer has no output '{missing[0]}'")
    values = [found[argument.name] for argument in method.outputs]
    return tuple(values) if method.tuple_output else values[0]


class Call:
    """One run as it is sent, and how its answer is read; the same whether the answer comes at once or later."""

    def __init__(self, url, query, body, headers, decode):
        self.url, self.query, self.body, self.headers, self.decode = url, query, body, headers, decode

    def send(self, transport, wait, **query):
        return transport.call("POST", self.url, params={**self.query, **query} or None, data=self.body, timeout=wait,
                              headers=self.headers)


def by_tensors(path, method, inputs, parameters, timeout, memories=None, out=None):
    head, body = infer_body(method, bind(method, inputs), parameters, timeout, memories, out)
    return Call(path + "/infer", method_query(method), body, {
        "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
        lambda transport, reply: (infer_answer(method, reply, out), {}))


def infer_answer(method, reply, out=None):
    length = reply.headers.get("Inference-Header-Content-Length")
    return infer_result(method, int(length) if length else None, reply.content, out)


def method_query(method):
    return {"method": method.name} if method.name != "run" else {}


def envelope_answer(method, document):
    output = tensors.from_json(document["output"], method.schema.get("output") or {})
    return output, {"version": document.get("version"), **(document.get("metadata") or {})}


def by_json(path, method, data, key, parameters, timeout, debug):
    document = {key: data, "envelope": True}
    if parameters:
        document["parameters"] = parameters
    if debug:
        document["debug"] = True
    if timeout:
        document["timeout_s"] = timeout
    return Call(path + "/run", method_query(method), tensors.dumps(document).encode(), {"Content-Type": "application/json"},
                lambda transport, reply: envelope_answer(method, transport.document(reply)))


def data_of(method, inputs):
    values = [{"ref": value.ref} if isinstance(value, Blob) else value for value in bind(method, inputs)]
    return values if method.tuple_input else values[0]


def call_of(path, model_path, method, inputs, parameters, timeout, debug, memories=None, out=None):
    """`path` is the servable's, `model_path` its Open Inference Protocol one."""
    if out is not None and (debug or not method.by_tensors(parameters)):
        raise InvalidArgument("out: this run gives no arrays" if not debug else "out: not where debug is asked")
    if method.by_tensors(parameters) and not debug and not any(isinstance(value, Blob) for value in bind(method, inputs)):
        return by_tensors(model_path, method, inputs, parameters, timeout, memories, out)
    return by_json(path, method, data_of(method, inputs), "data", parameters, timeout, debug)


def run(transport, path, model_path, method, inputs, parameters, timeout, debug, memories=None, out=None):
    """(output, metadata)"""
    call = call_of(path, model_path, method, inputs, parameters, timeout, debug, memories, out)
    return call.decode(transport, call.send(transport, timeout + SLACK_S if timeout else None))
