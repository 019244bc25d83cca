"""Files and type of a servable whose metadata does not say them."""

import os

from ..errors import BadServable

TYPE_OF_SUFFIX = {
    ".pkl": "Scikit-learn estimator",
    ".pickle": "Scikit-learn estimator",
    ".joblib": "Scikit-learn estimator",
    ".keras": "Keras Model",
    ".h5": "Keras Model",
    ".hdf5": "Keras Model",
    ".pt": "Torch Model",
    ".pth": "Torch Model",
    ".ts": "Torch Model",
    ".onnx": "ONNX Model",
}
FILES_MAX = 10000


def _all(directory):
    found = []
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            found.append(os.path.relpath(os.path.join(folder, name), directory))
            if len(found) > FILES_MAX:
                raise BadServable(f"the servable has more than {FILES_MAX} files")
    return found


def files(directory, given):
    """`dlhub.files`: the given one, or the model's file as "model" and the rest as "other"."""
    if given:
        return given
    names = _all(directory)
    models = [name for name in names if os.path.splitext(name)[1].lower() in TYPE_OF_SUFFIX]
    if any(os.path.basename(name) == "saved_model.pb" for name in names) or len(models) != 1:
        return {"other": names}
    return {"model": models[0], "other": [name for name in names if name != models[0]]}


def servable_type(found):
    other = [os.path.basename(name) for name in found.get("other") or []]
    if "saved_model.pb" in other:
        return "TensorFlow Model"
    if found.get("pickle"):
        return "Python class method"
    model = found.get("model")
    kind = TYPE_OF_SUFFIX.get(os.path.splitext(model)[1].lower()) if model else None
    if kind:
        return kind
    raise BadServable(
        "what kind of servable this is cannot be told from its files",
        hint='say it: "servable": {"type": "Python static method", …} in the metadata, or --type',
    )
