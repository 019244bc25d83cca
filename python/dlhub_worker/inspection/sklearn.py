"""scikit-learn estimators: what they take, give and offer."""

import inspect as python_inspect
import json
import warnings

from ..errors import BadServable
from ..shims.sklearn import ScikitLearnServable
from . import Inspected
from . import describe

METHODS = ("predict", "predict_proba", "transform", "decision_function")
PROBE_ROWS = 2


def _last(model):
    return model.steps[-1][1] if hasattr(model, "steps") else model


def _first(model):
    return _first(model.steps[0][1]) if hasattr(model, "steps") else model


def _takes_text(model):
    return "Vectorizer" in type(_first(model)).__name__


def _takes_frames(model):
    """Columns are picked by their names, so that only a data frame will do."""
    first = _first(model)
    columns = [one[2] for one in getattr(first, "transformers", [])]
    return hasattr(model, "feature_names_in_") and any(
        isinstance(one, str) or (isinstance(one, (list, tuple)) and any(isinstance(name, str) for name in one))
        for one in columns
    )


def _columns(model):
    names = getattr(model, "feature_names_in_", None)
    return [str(name) for name in names] if names is not None else None


def _input(model):
    columns = _columns(model)
    if _takes_text(model):
        return {"type": "list", "item_type": {"type": "string"}, "description": "One text a sample"}
    if _takes_frames(model):
        return {
            "type": "python object",
            "python_type": "pandas.DataFrame",
            "description": "A dict of columns, or a list of dicts: " + ", ".join(columns),
        }
    count = getattr(model, "n_features_in_", None)
    described = {"type": "ndarray", "shape": [None, int(count) if count else None], "item_type": {"type": "float"}}
    if columns:
        described["description"] = "Columns: " + ", ".join(columns)
    return described


def _probe(model):
    """An input that the model may run with; None where none can be made."""
    import numpy as np

    if _takes_text(model):
        return ["a text", "another text"]
    if _takes_frames(model) or not getattr(model, "n_features_in_", None):
        return None
    return np.random.default_rng(0).random((PROBE_ROWS, model.n_features_in_))


def _output(model, method, probe):
    if probe is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _result(getattr(model, method)(probe))
        except Exception as error:  # the made-up input was not to its taste
            print(f"note: {method} does not run with made-up values: {error}")
    if method == "predict_proba":
        return {"type": "ndarray", "shape": [None, len(model.classes_)], "item_type": {"type": "float"}}
    return {"type": "ndarray", "shape": "Any"}


def _result(value):
    if hasattr(value, "toarray"):
        value = value.toarray()
    if isinstance(value, list) and value and hasattr(value[0], "shape"):
        return {"type": "list", "item_type": {"type": "ndarray", "shape": [None] * value[0].ndim}}
    return describe.result(value)


def _parameters(function):
    """Keyword arguments with defaults that JSON can carry."""
    found = {}
    try:
        signature = python_inspect.signature(function)
    except (TypeError, ValueError):
        return found
    for parameter in list(signature.parameters.values())[1:]:
        if (
            parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.default is not parameter.empty
        ):
            try:
                json.dumps(parameter.default)
                found[parameter.name] = parameter.default
            except TypeError:
                pass
    return found


def _method(model, name, probe):
    return {
        "input": _input(model),
        "output": _output(model, name, probe),
        "parameters": _parameters(getattr(model, name)),
        "method_details": {"method_name": name},
    }


def inspect(document, directory):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        servable = ScikitLearnServable(document, directory)
    notes = [
        str(one.message).split(". This might")[0] for one in caught if "version" in type(one.message).__name__.lower()
    ]
    model = servable.model
    if not any(hasattr(model, name) for name in METHODS):
        raise BadServable(
            f"the file holds a {type(model).__module__}.{type(model).__name__}, which has none of {', '.join(METHODS)}",
            hint='publish it as "Python class method" where it is an object of your own',
        )
    probe = _probe(model)
    classifier = getattr(_last(model), "_estimator_type", None) == "classifier" or hasattr(model, "classes_")
    found = _method_names(model, classifier)
    methods = {"run": _method(model, found[0], probe)}
    methods.update({name: _method(model, name, probe) for name in found})
    options = {"serialization_method": _serialization(servable), "is_classifier": classifier}
    if hasattr(model, "classes_"):
        options["classes"] = _plain_classes(model)
    inspected = Inspected(methods, type(_last(model)).__name__, str(model), options, notes)
    inspected.framework = servable.framework
    return inspected


def _method_names(model, classifier):
    """The one that `run` is first."""
    names = [name for name in METHODS if hasattr(model, name)]
    if classifier and "predict_proba" in names:
        names.sort(key=lambda name: name != "predict_proba")
    return names


def _plain_classes(model):
    classes = model.classes_
    if isinstance(classes, list):
        return [[str(one) for one in some] for some in classes]
    return [str(one) for one in classes]


def _serialization(servable):
    if servable.options.get("serialization_method"):
        return servable.options["serialization_method"]
    import pickle

    with open(servable.model_path(".pkl", ".pickle", ".joblib"), "rb") as file:
        try:
            pickle.load(file)
            return "pickle"
        except Exception:
            return "joblib"
