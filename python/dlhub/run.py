"""Running a servable: which of the hub's two routes a call takes, and the bodies of both.

Arrays on either side: the Open Inference Protocol with binary tensors. Otherwise, and where the caller wants to
see what the servable printed: the DLHub route, in JSON.
"""

import json

import numpy as np

from . import tensors
from .errors import InternalError, InvalidArgument

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
    if isinstance(inputs, dict) and not takes_dict:
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


def infer_body(method, values, parameters, timeout):
    """The JSON header and the tensors behind it."""
    encoded = [tensors.encode(argument, value) for argument, value in zip(method.inputs, values)]
    own = {"binary_data_output": True}
    if timeout:
        own["timeout"] = int(timeout * 1e6)
    head = tensors.dumps({
        "inputs": [{"name": argument.name, "shape": list(shape), "datatype": datatype,
                    "parameters": {"binary_data_size": len(data)}}
                   for argument, (datatype, shape, data) in zip(method.inputs, encoded)],
        "parameters": {**(parameters or {}), **own},
    }).encode()
    return head, b"".join([head, *(data for _, _, data in encoded)])


def infer_result(method, head_bytes, content):
    """The outputs of an Open Inference Protocol answer."""
    head = json.loads(content[:head_bytes] if head_bytes is not None else content)
    rest = memoryview(content)[head_bytes if head_bytes is not None else len(content):]
    known = {argument.name: argument for argument in method.outputs}
    found, at = {}, 0
    for output in head.get("outputs", []):
        name, shape, datatype = output["name"], output["shape"], output["datatype"]
        size = (output.get("parameters") or {}).get("binary_data_size")
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


def run(transport, path, model_path, method, inputs, parameters, timeout, debug):
    """(output, metadata). `path` is the servable's, `model_path` its Open Inference Protocol one."""
    values = bind(method, inputs)
    query = {"method": method.name} if method.name != "run" else None
    wait = timeout + SLACK_S if timeout else None
    if method.by_tensors(parameters) and not debug:
        head, body = infer_body(method, values, parameters, timeout)
        reply = transport.call("POST", model_path + "/infer", params=query, data=body, timeout=wait, headers={
            "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))})
        length = reply.headers.get("Inference-Header-Content-Length")
        return infer_result(method, int(length) if length else None, reply.content), {}
    document = {"data": values if method.tuple_input else values[0], "envelope": True}
    if parameters:
        document["parameters"] = parameters
    if debug:
        document["debug"] = True
    if timeout:
        document["timeout_s"] = timeout
    reply = transport.json("POST", path + "/run", params=query, data=tensors.dumps(document).encode(), timeout=wait,
                           headers={"Content-Type": "application/json"})
    output = tensors.from_json(reply["output"], method.schema.get("output") or {})
    return output, {"version": reply.get("version"), **(reply.get("metadata") or {})}
