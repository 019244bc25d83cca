"""Keras models: shapes and datatypes of inputs and outputs, and the summary."""

from .. import schema as types
from ..shims.keras import KerasServable
from . import Inspected


def _names(tensors, own, base):
    """Distinct names without the ":0" of TensorFlow; layers' names where the model has them."""
    names = [str(name).split(":")[0] for name in (own or [tensor.name for tensor in tensors])]
    if len(names) != len(tensors) or len(set(names)) != len(names) or len(names) == 1:
        names = [base] if len(tensors) == 1 else [f"{base}_{i}" for i in range(len(tensors))]
    return names


def _dtype_name(tensor):
    dtype = tensor.dtype
    return types.DATATYPE_OF.get(getattr(dtype, "name", None) or str(dtype), "FP32")


def _argument(tensor, name):
    datatype = _dtype_name(tensor)
    item = "integer" if "INT" in datatype else "boolean" if datatype == "BOOL" else "float"
    return {
        "type": "ndarray",
        "name": name,
        "shape": [None if axis is None else int(axis) for axis in tensor.shape],
        "item_type": {"type": item, "dtype": datatype},
    }


def _side(tensors, own, base):
    tensors = list(tensors)
    arguments = [_argument(tensor, name) for tensor, name in zip(tensors, _names(tensors, own, base))]
    return arguments[0] if len(arguments) == 1 else {"type": "tuple", "element_types": arguments}


def inspect(document, directory):
    servable = KerasServable(document, directory)
    model = servable.model
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    run = {
        "input": _side(model.inputs, getattr(model, "input_names", None), "input"),
        "output": _side(model.outputs, getattr(model, "output_names", None), "output"),
        "parameters": {},
        "method_details": {"method_name": "predict"},
    }
    inspected = Inspected({"run": run}, "Deep NN", "\n".join(lines))
    inspected.framework, inspected.servable = servable.framework, servable
    return inspected
