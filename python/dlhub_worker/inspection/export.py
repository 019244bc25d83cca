"""What a framework can export for other engines to read: SavedModels of Keras models, ONNX of PyTorch modules.

The names of inputs and outputs are those of the servable's method, its free axes stay free. Whether an engine that reads
the export gives the same answers is tried by the hub.
"""

import inspect as python_inspect
import math
import os
import tarfile
import tempfile

from .. import schema as types

MODEL = "model.onnx"
ROWS = 2  # what is traced with one row may hold for one row only
REASON_MAX = 1000


class Cannot(Exception):
    """Why there is no export."""


def _sides(servable, block):
    """([(name, type, shape)] of the inputs, of the outputs) of the one method, all of them arrays."""
    methods = block["methods"]
    if list(methods) != ["run"]:
        raise Cannot("it has methods besides 'run'")
    run = methods["run"]
    if run.get("parameters"):
        raise Cannot("its method takes parameters")
    sides = []
    for side, base in ((run["input"], "input"), (run["output"], "output")):
        described = []
        for name, schema in types.arguments(side, base):
            if types.kind(schema) != "ndarray":
                raise Cannot(f"'{name}' is no array")
            described.append((name, schema, types.array_shape(schema)))
        sides.append(described)
    return sides


# ---- Keras ----


def _keras(servable, block, request, folder):
    import tensorflow as tf

    model = servable.model
    if getattr(servable._keras, "backend", None) and servable._keras.backend.backend() != "tensorflow":
        raise Cannot(f"Keras runs on {servable._keras.backend.backend()} here, and TensorFlow alone writes SavedModels")
    inputs, outputs = _sides(servable, block)
    if len(inputs) != len(model.inputs):
        raise Cannot(f"the model has {len(model.inputs)} inputs, its method {len(inputs)}")
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for tensor, (name, _, _) in zip(model.inputs, inputs)]

    @tf.function(input_signature=specs)
    def run(*values):
        results = model(values[0] if len(values) == 1 else list(values), training=False)
        return dict(zip([name for name, _, _ in outputs], tf.nest.flatten(results)))

    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, folder, signatures={"serving_default": run})
    return {"other": ["saved_model.pb"]}


# ---- PyTorch ----


def _shape_of(request, index, name, shape):
    """The shape to trace with: free axes as in the example."""
    example = None
    for i, tensor in enumerate((request or {}).get("inputs") or []):
        if tensor.get("name") == name or i == index:
            example = tensor.get("shape")
    if example is None and (request or {}).get("data") is not None and index == 0:
        import numpy as np

        example = np.asarray(request["data"]).shape
    shape = shape if shape is not None else example
    if shape is None or (example is not None and len(example) != len(shape)):
        raise Cannot("its shapes are not known: give an example input, and \"input\" and \"output\" in the metadata")
    traced = [int(example[i]) if example is not None else axis for i, axis in enumerate(shape)]
    if shape and shape[0] == -1:
        traced[0] = max(traced[0], ROWS)
    if any(axis < 0 for axis in traced):
        raise Cannot(f"the size of a free axis of '{name}' is not known: give an example input")
    return traced


def _torch_values(torch, servable, inputs, request):
    values = []
    for index, (name, schema, shape) in enumerate(inputs):
        dtype = servable._input_dtype(schema) or torch.float32
        traced = _shape_of(request, index, name, shape)
        count = math.prod(traced)
        # Reals between 0 and 1; whole numbers are indices, of which 0 and 1 are the safe ones.
        value = torch.arange(count).reshape(traced)
        values.append((value % 97 / 97).to(dtype) if dtype.is_floating_point else (value % 2).to(dtype))
    return tuple(values)


def _torch(servable, block, request, folder):
    import torch

    inputs, outputs = _sides(servable, block)
    names = [name for name, _, _ in inputs], [name for name, _, _ in outputs]
    free = {
        name: {i: f"{name}_{i}" for i, axis in enumerate(shape or ()) if axis == -1} for name, _, shape in inputs + outputs
    }
    options = {}
    if "dynamo" in python_inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # the other one needs packages that PyTorch does not bring
    with torch.no_grad():
        torch.onnx.export(
            servable.model,
            _torch_values(torch, servable, inputs, request),
            os.path.join(folder, MODEL),
            input_names=names[0],
            output_names=names[1],
            dynamic_axes={name: axes for name, axes in free.items() if axes},
            **options,
        )
    return {"model": MODEL}


EXPORTERS = {"Keras Model": _keras, "Torch Model": _torch}


def _write_archive(folder, descriptor):
    with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, arcname=".")


def export(servable, block, request, descriptor):
    """{"files": …} of what was written to the descriptor, a tar archive, or {"reason": …}; None where the type has no
    exporter."""
    exporter = EXPORTERS.get(block["type"])
    if not exporter:
        return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = exporter(servable, block, request, folder)
            _write_archive(folder, descriptor)
        return {"files": files}
    except Exception as error:  # an exporter may raise anything
        words = str(error).strip().splitlines() or [""]
        reason = words[0] if isinstance(error, Cannot) else f"its framework cannot export it: {type(error).__name__}: {words[0]}"
        return {"reason": reason[:REASON_MAX]}
