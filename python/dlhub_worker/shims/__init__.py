"""Shims: how each type of servable is loaded and run. `servable.shim` names one as "module.Class"."""

import importlib

from ..errors import BadServable

# Names in metadata -> module of this package. The first SDK wrote "torch" for a module that was called "pytorch".
MODULES = {
    "python": "python",
    "sklearn": "sklearn",
    "keras": "keras",
    "pytorch": "pytorch",
    "torch": "pytorch",
    "tensorflow": "tensorflow",
    "onnx": "onnx",
}
SHIM_OF_TYPE = {
    "ONNX Model": "onnx.ONNXServable",
    "TensorFlow Model": "tensorflow.TensorFlowServable",
    "Keras Model": "keras.KerasServable",
    "Scikit-learn estimator": "sklearn.ScikitLearnServable",
    "Torch Model": "pytorch.TorchServable",
    "Python static method": "python.PythonStaticMethodServable",
    "Python class method": "python.PythonClassMethodServable",
}


def create(document, directory):
    """The loaded servable of a LOAD document whose files lie in `directory`."""
    block = document["servable"]
    name = document.get("shim") or block.get("shim") or SHIM_OF_TYPE.get(document.get("type") or block.get("type"), "")
    module, _, cls = name.partition(".")
    if module not in MODULES:
        raise BadServable(
            f"servable.shim: there is no shim {name!r}", hint="known: " + ", ".join(sorted(SHIM_OF_TYPE.values()))
        )
    shims = importlib.import_module(f"{__name__}.{MODULES[module]}")
    if not hasattr(shims, cls):
        raise BadServable(
            f"servable.shim: there is no shim {name!r}", hint="known: " + ", ".join(sorted(SHIM_OF_TYPE.values()))
        )
    return getattr(shims, cls)(document, directory)
