"""scikit-learn estimators and pipelines, from a pickle or a joblib file."""

import pickle
import warnings

from ..errors import BadServable
from .base import Servable, details, version_of


def load_estimator(path, method=None):
    """The estimator in a pickle or joblib file."""
    if method == "joblib":
        import joblib

        return joblib.load(path)
    try:
        with open(path, "rb") as file:
            return pickle.load(file)
    except Exception as error:
        if method == "pickle" and not isinstance(error, (pickle.UnpicklingError, EOFError, KeyError, ValueError)):
            raise
        try:
            import joblib
        except ImportError:
            raise error from None
        return joblib.load(path)


class ScikitLearnServable(Servable):
    engine = "scikit-learn"

    def load(self):
        self.framework = f"scikit-learn {version_of('scikit-learn')}"
        # An array has no column names; estimators that were fitted with a data frame say so in every run.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        path = self.model_path(".pkl", ".pickle", ".joblib")
        try:
            self.model = load_estimator(path, self.options.get("serialization_method"))
        except (pickle.UnpicklingError, EOFError) as error:
            raise BadServable(f"the model's file is no pickle: {error}") from error

    def method(self, name, block):
        wanted = details(block).get("method_name") or "predict"
        if not hasattr(self.model, wanted):
            raise BadServable(f"method_details.method_name: {type(self.model).__name__} has no method {wanted!r}")
        return getattr(self.model, wanted)
