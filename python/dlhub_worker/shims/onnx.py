"""ONNX models that the native worker cannot read, as those of ai.onnx.ml: in ONNX Runtime."""

from ..errors import BadServable
from .base import Servable, input_names, output_names, version_of


class ONNXServable(Servable):
    engine = "onnxruntime"

    def load(self):
        import onnxruntime

        self.framework = f"ONNX Runtime {version_of('onnxruntime')}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                self.model_path(".onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exceptions have no common class
            raise BadServable(f"ONNX Runtime cannot load the model: {error}") from error

    def method(self, name, block):
        session = self.session
        inputs, outputs = input_names(block), output_names(block)
        own_inputs = [one.name for one in session.get_inputs()]
        own_outputs = [one.name for one in session.get_outputs()]
        if not set(inputs) <= set(own_inputs):
            inputs = own_inputs
        if not set(outputs) <= set(own_outputs):
            outputs = own_outputs[: len(outputs)]

        def run(*values, **parameters):
            if parameters:
                raise TypeError(f"an ONNX model takes no parameters, {sorted(parameters)} came")
            results = session.run(outputs, dict(zip(inputs, values)))
            return (
                results[0]
                if len(results) == 1 and (block.get("output") or {}).get("type") != "tuple"
                else tuple(results)
            )

        return run
