"""TensorFlow SavedModels in TensorFlow itself, for graphs that the native worker cannot read."""

import os

from ..errors import BadServable
from .base import Servable, details, input_names, output_names, version_of


class TensorFlowServable(Servable):
    engine = "tensorflow"

    def load(self):
        import tensorflow as tf

        self._tf = tf
        self.framework = f"TensorFlow {version_of('tensorflow') if version_of('tensorflow') != '?' else tf.__version__}"
        tf.config.threading.set_intra_op_parallelism_threads(self.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._model = tf.saved_model.load(self._folder())
        self.signatures = self._model.signatures

    def _folder(self):
        for folder, _, names in os.walk(self.directory):
            if "saved_model.pb" in names or "saved_model.pbtxt" in names:
                return folder
        raise BadServable("there is no saved_model.pb among the servable's files")

    def _signature(self, name, block):
        signatures = self.signatures
        wanted = details(block).get("method_name") or ("serving_default" if name == "run" else name)
        for one in (wanted, "serving_default" if name == "run" else name):
            if one in signatures:
                return signatures[one]
        raise BadServable(f"the SavedModel has no signature {wanted!r}", hint="it has " + ", ".join(sorted(signatures)))

    def method(self, name, block):
        tf = self._tf
        signature = self._signature(name, block)
        specs = signature.structured_input_signature[1]
        inputs = input_names(block)
        if set(inputs) != set(specs):
            inputs = sorted(specs)
        outputs = output_names(block)
        if not set(outputs) <= set(signature.structured_outputs):
            outputs = sorted(signature.structured_outputs)

        def run(*values):
            given = {key: tf.convert_to_tensor(value, dtype=specs[key].dtype) for key, value in zip(inputs, values)}
            results = signature(**given)
            arrays = tuple(results[key].numpy() for key in outputs)
            return arrays if (block.get("output") or {}).get("type") == "tuple" else arrays[0]

        return run
