"""Triton's Python backend with a model that does nothing, one instance, as its wheel brings it."""

import http.client
import os

from grpc_calls import GrpcTarget, infer_request
from measure import Target, free_port, wait_for
from peers.process import Server

CONFIGURATION = """backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""

MODEL = '''import numpy
import triton_python_backend_utils as utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            utils.InferenceResponse([utils.Tensor("y", numpy.array([b"hello world"], dtype=object))])
            for _ in requests
        ]
'''

BODY = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.0]}]}'


class Triton(Server):
    name = "Triton"

    def __init__(self, folder, venv):
        super().__init__(folder)
        self.bin = venv.absolute() / "bin"
        self.packages = next(venv.absolute().glob("lib/python3.*/site-packages"))

    def start(self) -> None:
        model = self.folder / "models" / "noop"
        (model / "1").mkdir(parents=True, exist_ok=True)
        (model / "config.pbtxt").write_text(CONFIGURATION)
        (model / "1" / "model.py").write_text(MODEL)
        home = self.packages / "pytriton" / "tritonserver"
        self.port, self.grpc_port = free_port(), free_port()
        self.launch(
            [
                home / "bin" / "tritonserver",
                f"--model-repository={self.folder / 'models'}",
                f"--backend-directory={home / 'backends'}",
                "--http-address=127.0.0.1",
                f"--http-port={self.port}",
                "--grpc-address=127.0.0.1",
                f"--grpc-port={self.grpc_port}",
                "--allow-metrics=false",
            ],
            # The interpreter inside its Python process looks for its home on the path.
            dict(os.environ, PYTHONPATH=str(self.packages), PATH=f"{self.bin}:{os.environ['PATH']}"),
        )
        wait_for("Triton", self.serves)

    def serves(self) -> bool:
        self.check_alive()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/v2/models/noop/infer", BODY)
            return b"hello world" in connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()

    def grpc_target(self) -> GrpcTarget:
        return GrpcTarget(self.grpc_port, infer_request("noop", "x", "FP32", [1], bytes(4)), self.pids)

    def target(self) -> Target:
        return Target(self.port, "/v2/models/noop/infer", BODY, self.pids)
