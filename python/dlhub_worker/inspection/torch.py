"""PyTorch modules: the arguments of forward, and shapes found by trying."""

import inspect as python_inspect

from .. import protocol
from ..shims.pytorch import TorchServable
from . import Inspected
from . import describe

SIZES = (32, 64, 28, 224, 16, 128, 256, 299)  # of an image's or a sequence's axis
ITEM_OF_TYPE = {
    "int": "integer",
    "float": "float",
    "bool": "boolean",
    "str": "string",
    "number": "number",
    "complex": "complex",
}


def _script_arguments(model):
    """[(name, type, has a default)] of a TorchScript module's forward."""
    return [(one.name, str(one.type), one.has_default_value()) for one in model.forward.schema.arguments[1:]]


def _python_arguments(model):
    found = []
    for one in python_inspect.signature(model.forward).parameters.values():
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
            kind = one.annotation.__name__ if isinstance(one.annotation, type) else "Tensor"
            found.append((one.name, kind, one.default is not one.empty))
    return found


def arguments(model):
    try:
        return _script_arguments(model)
    except (AttributeError, RuntimeError):
        return _python_arguments(model)


def _candidates(model):
    """Shapes (without the batch) that the first weight speaks for, each with the datatypes to try."""
    weights = [one for one in model.state_dict().values() if getattr(one, "ndim", 0) >= 2]
    if not weights:
        return [((), ("float32",))]
    first = weights[0]
    if first.ndim == 2:
        width = int(first.shape[1])
        return [((width,), ("float32",)), ((SIZES[-3],), ("int64",)), ((16, width), ("float32",)), ((16,), ("int64",))]
    channels, spatial = int(first.shape[1]), first.ndim - 2
    return [((channels, *[size] * spatial), ("float32",)) for size in SIZES]


def _try(torch, model, shape, dtype):
    values = torch.zeros(shape, dtype=getattr(torch, dtype))
    try:
        with torch.inference_mode():
            return model(values)
    except Exception:
        return None


def _free_axes(torch, model, shape, dtype):
    """The shape with null where another size runs too."""
    axes = list(shape)
    for i in range(len(shape)):
        other = list(shape)
        other[i] = shape[i] * 2
        if _try(torch, model, other, dtype) is not None:
            axes[i] = None
    if len(axes) == 4 and None in axes[2:]:  # height and width go together in what we tried
        axes[2:] = [None, None]
    return axes


def _describe_output(torch, value, free_batch):
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return {"type": "tuple", "element_types": [_describe_output(torch, one, free_batch) for one in value]}
    if isinstance(value, torch.Tensor):
        return describe.array(
            value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy(), free_batch
        )
    return describe.result(value)


def _by_trying(torch, model):
    """(input, output, example request) of a module with one tensor, or None."""
    for shape, dtypes in _candidates(model):
        for dtype in dtypes:
            result = _try(torch, model, (1, *shape), dtype)
            if result is None:
                continue
            axes = _free_axes(torch, model, (1, *shape), dtype)
            value = _example((1, *shape), dtype)
            described = {"type": "ndarray", "shape": axes, "item_type": describe.item_type(value.dtype)}
            output = _describe_output(torch, result, axes[0] is None)
            if None in axes[1:]:
                output = _loosen(output)
            return described, output, protocol.request({"input": described}, value)
    return None


def _example(shape, dtype):
    """Reals in [0, 1); whole numbers are indices, of which 0 and 1 are the safe ones."""
    import numpy as np

    random = np.random.default_rng(20181126)
    return random.random(shape).astype(dtype) if dtype.startswith("float") else random.integers(0, 2, shape)


def _loosen(output):
    """Where inner axes of the input are free, those of the output may be too: all but the second."""
    if output.get("type") == "tuple":
        return {**output, "element_types": [_loosen(one) for one in output["element_types"]]}
    if output.get("type") == "ndarray" and len(output["shape"]) > 2:
        return {**output, "shape": [axis if i == 1 else None for i, axis in enumerate(output["shape"])]}
    return output


def _input_of(name, kind, count):
    if kind in ITEM_OF_TYPE:
        return {"type": ITEM_OF_TYPE[kind], "name": name}
    return {
        "type": "ndarray",
        "shape": "Any",
        **({"name": name} if count > 1 else {}),
        "item_type": {"type": "float", "dtype": "FP32"},
    }


def inspect(document, directory):
    servable = TorchServable(document, directory)
    import torch

    model, notes = servable.model, []
    taken = [(name, kind) for name, kind, optional in arguments(model) if not optional]
    given = (document["servable"].get("methods") or {}).get("run") or {}
    inputs = [_input_of(name, kind, len(taken)) for name, kind in taken]
    source = inputs[0] if len(inputs) == 1 else {"type": "tuple", "element_types": inputs}
    output, golden = {"type": "ndarray", "shape": "Any"}, None
    if len(taken) == 1 and inputs[0]["type"] == "ndarray" and not given.get("input"):
        tried = _by_trying(torch, model)
        if tried:
            source, output, request = tried
            golden = {"request": request, "source": "generated"}
            notes.append(f"shapes were found by trying: input {source['shape']}")
    if source.get("shape") == "Any" or len(taken) > 1:
        notes.append(
            'shapes are not in the file: give an example input, and "input" and "output" in the metadata'
        )
    run = {"input": source, "output": output, "parameters": {}, "method_details": {"method_name": "forward"}}
    summary = (
        str(model) if not isinstance(model, torch.jit.ScriptModule) else f"{model.original_name} (TorchScript)\n{model}"
    )
    inspected = Inspected({"run": run}, "Deep NN", summary, notes=notes, golden=golden)
    inspected.framework, inspected.servable = servable.framework, servable
    return inspected
