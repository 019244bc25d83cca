"""PyTorch: TorchScript, pickled modules, and state dictionaries with their class."""

import inspect

from .. import schema as types
from ..errors import BadServable
from .base import Servable, import_path, version_of

ITEM_DTYPES = {"float": "float32", "number": "float32", "integer": "int64", "boolean": "bool", "complex": "complex64"}


def torch_version(torch):
    return version_of("torch") if version_of("torch") != "?" else torch.__version__


def load_module(path, options):
    """A torch module in evaluation mode, or what the file holds instead."""
    import torch

    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:  # no TorchScript
        script_error = error
    arguments = {"map_location": "cpu"}
    if "weights_only" in inspect.signature(torch.load).parameters:
        arguments["weights_only"] = False
    try:
        loaded = torch.load(path, **arguments)
    except (AttributeError, ModuleNotFoundError) as error:
        raise BadServable(
            f"the class of the model is missing: {error}",
            hint="publish the Python file that defines the class beside the model, or save it as TorchScript",
        ) from error
    except Exception as error:
        raise BadServable(
            f"PyTorch cannot load the model: {error} (as TorchScript: {str(script_error).splitlines()[0]})"
        ) from error
    if isinstance(loaded, torch.nn.Module):
        return loaded.eval()
    return _from_state(loaded, options)


def _from_state(loaded, options):
    name = options.get("class") or options.get("class_name")
    if not isinstance(loaded, dict) or not name:
        raise BadServable(
            f"the model's file holds a {type(loaded).__name__}, no torch.nn.Module",
            hint='save the whole module or TorchScript, or name its class, "options": {"class": "module.Class"}, '
            "and publish its file",
        )
    if options.get("module") and "." not in name:
        name = f"{options['module']}.{name}"
    module = import_path(name)(**(options.get("arguments") or {}))
    state = loaded.get("state_dict", loaded.get("model_state_dict", loaded))
    module.load_state_dict(state)
    return module.eval()


class TorchServable(Servable):
    engine = "pytorch"

    def load(self):
        import torch

        torch.set_num_threads(self.threads)
        self._torch = torch
        self.framework = f"PyTorch {torch_version(torch)}"
        self.model = load_module(self.model_path(".pt", ".pth", ".ts"), self.options)

    def _input_dtype(self, schema):
        datatype = types.array_datatype(schema)
        if datatype in types.NUMPY_OF:
            return getattr(self._torch, types.NUMPY_OF[datatype])
        if datatype == "BF16":
            return self._torch.bfloat16
        return getattr(self._torch, ITEM_DTYPES.get(types.kind(types.item_type(schema)), ""), None)

    def method(self, name, block):
        torch, model = self._torch, self.model
        wanted = (block.get("method_details") or {}).get("method_name")
        call = getattr(model, wanted) if wanted and wanted not in ("forward", "__call__", "run") else model
        dtypes = [
            self._input_dtype(schema) if types.kind(schema) == "ndarray" else None
            for _, schema in types.arguments(block.get("input"), "input")
        ]
        tuple_output = types.is_tuple(block.get("output"))

        def to_tensor(value, dtype):
            if not hasattr(value, "__array_interface__"):
                return value
            tensor = torch.from_numpy(value)
            return tensor if dtype is None or tensor.dtype == dtype else tensor.to(dtype)

        def run(*inputs, **parameters):
            with torch.inference_mode():
                result = call(*map(to_tensor, inputs, dtypes), **parameters)
            if isinstance(result, dict):
                result = tuple(result.values()) if tuple_output else result
            if isinstance(result, (list, tuple)) and not tuple_output and len(result) == 1:
                result = result[0]
            return (result,) if tuple_output and not isinstance(result, (list, tuple)) else result

        return run
