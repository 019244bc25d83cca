"""ONNX models that only ONNX Runtime reads: inputs and outputs as the session tells them."""

from ..shims.onnx import ONNXServable
from . import Inspected

DATATYPES = {
    "tensor(float)": ("float", "FP32"),
    "tensor(double)": ("float", "FP64"),
    "tensor(float16)": ("float", "FP16"),
    "tensor(bfloat16)": ("float", "BF16"),
    "tensor(bool)": ("boolean", "BOOL"),
    "tensor(string)": ("string", "BYTES"),
    **{
        f"tensor({name.lower()})": ("integer", name)
        for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    },
}


def _argument(one):
    if one.type.startswith("seq(map("):
        return {"type": "list", "name": one.name, "item_type": {"type": "dict", "properties": {}}}
    if one.type not in DATATYPES:
        return {"type": "python object", "python_type": one.type, "name": one.name}
    item, datatype = DATATYPES[one.type]
    shape = [axis if isinstance(axis, int) and axis > 0 else None for axis in one.shape or []]
    return {"type": "ndarray", "name": one.name, "shape": shape, "item_type": {"type": item, "dtype": datatype}}


def _side(values):
    arguments = [_argument(one) for one in values]
    return arguments[0] if len(arguments) == 1 else {"type": "tuple", "element_types": arguments}


def inspect(document, directory):
    servable = ONNXServable(document, directory)
    session = servable.session
    run = {
        "input": _side(session.get_inputs()),
        "output": _side(session.get_outputs()),
        "parameters": {},
        "method_details": {"method_name": "run"},
    }
    about = session.get_modelmeta()
    inspected = Inspected({"run": run}, about.graph_name or "ONNX graph", about.description or None)
    inspected.framework = servable.framework
    return inspected
