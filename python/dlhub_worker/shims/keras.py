"""Keras models: `.keras`, HDF5, or an architecture and its weights."""

import json
import os

from ..errors import BadServable
from .base import Servable, import_path, version_of

WHOLE_BATCH_MAX = 1024  # samples; more are run by predict(), in batches


def import_keras(path=None):
    """The keras module that reads the file: Keras 3, else tf_keras for what only Keras 2 reads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
    except ImportError:
        from tensorflow import keras
    return keras


def load_model(path, custom_objects=None):
    """(model, keras module)."""
    keras = import_keras(path)
    try:
        return keras.models.load_model(path, custom_objects=custom_objects, compile=False), keras
    except Exception as error:
        try:
            import tf_keras
        except ImportError:
            raise BadServable(f"Keras {keras.__version__} cannot load {os.path.basename(path)}: {error}") from error
        return tf_keras.models.load_model(path, custom_objects=custom_objects, compile=False), tf_keras


class KerasServable(Servable):
    engine = "keras"

    def load(self):
        custom = {name: import_path(path) for name, path in (self.options.get("custom_objects") or {}).items()}
        model = self.model_path(".keras", ".h5", ".hdf5", ".hdf", ".hd5")
        arch = self.path("arch")
        if arch:
            self._keras = import_keras()
            self.model = self._read_architecture(arch, custom)
            self.model.load_weights(model)
        else:
            self.model, self._keras = load_model(model, custom)
        self._limit_threads()
        self.framework = f"Keras {self._keras.__version__}, TensorFlow {self._backend_version()}"

    def _limit_threads(self):
        import sys

        tf = sys.modules.get("tensorflow")
        if tf:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(self.threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError:
                pass  # it has started; TF_NUM_*_THREADS of the launcher hold

    @staticmethod
    def _backend_version():
        for name in ("tensorflow", "tensorflow-cpu", "tensorflow-intel"):
            if version_of(name) != "?":
                return version_of(name)
        return "?"

    def _read_architecture(self, path, custom):
        if path.endswith((".yml", ".yaml")):
            import yaml

            with open(path, encoding="utf-8") as file:
                return self._keras.models.model_from_json(json.dumps(yaml.safe_load(file)), custom_objects=custom)
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                return self._keras.models.model_from_json(file.read(), custom_objects=custom)
        return load_model(path, custom)[0]

    def method(self, name, block):
        model = self.model
        tuple_output = (block.get("output") or {}).get("type") == "tuple"

        def run(*inputs, **parameters):
            value = inputs[0] if len(inputs) == 1 else list(inputs)
            if parameters or len(inputs[0]) > WHOLE_BATCH_MAX:
                result = model.predict(value, **{"verbose": 0, **parameters})
            else:
                result = model.predict_on_batch(value)
            if isinstance(result, dict):
                result = list(result.values())
            if isinstance(result, (list, tuple)):
                return tuple(result) if tuple_output else result[0]
            return (result,) if tuple_output else result

        return run
