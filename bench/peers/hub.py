"""dlhubd itself, on a fresh data folder: started, given servables by its own command line program, and loaded."""

import http.client
import json
import os
import re
import shutil
import struct
import subprocess
import time

from grpc_calls import GrpcTarget, infer_request
from measure import Failed, Target, command_of, private_mb, resident_mb, tree, wait_for
from peers.process import Server

NATIVE_BODY = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.0]}]}'
PYTHON_BODY = b'{"inputs":[{"name":"input","shape":[1],"datatype":"FP64","data":[1.0]}]}'
PYTHON_MODULE = 'def hello(data: float) -> str:\n    return "hello world"\n'


class Hub(Server):
    name = "dlhubd"

    def __init__(self, folder, programs, flags=(), data=None):
        """`data`: a data folder that is there; else an empty one is made."""
        super().__init__(folder)
        self.programs, self.data, self.flags = programs, data or folder / "data", flags
        if not data:
            shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        """Returns once the ready line is there; ready_ms says how long that took."""
        begin = time.monotonic()
        self.launch(
            [self.programs / "dlhubd", "--data", self.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *self.flags],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        self.ready_ms = (time.monotonic() - begin) * 1e3
        if "ready" not in line:
            self.process.wait()
            self.check_alive()
        self.port = int(re.search(r":(\d+)/?\s*$", line).group(1))
        self.grpc_port = int(re.search(r"gRPC at \S*:(\d+)", line).group(1))
        self.token = (self.data / "admin.token").read_text().strip()

    def restart(self) -> None:
        self.stop()
        self.start()

    def command(self, *arguments) -> str:
        environment = dict(os.environ, DLHUB_ENDPOINT=f"http://127.0.0.1:{self.port}", DLHUB_TOKEN=self.token)
        done = subprocess.run(
            [str(a) for a in (self.programs / "dlhub", *arguments)], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise Failed(f"dlhub {arguments[0]} ended with {done.returncode}: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
        return done.stdout

    def publish(self, path, name: str, *options) -> None:
        self.command("publish", path, "--name", name, "--title", name, "--visible-to", "signed-in", *options)

    def publish_native(self, model: bytes) -> Target:
        """An ONNX file that gives back its one FP32."""
        self.publish_model(model, "identity")
        return self._target("identity", NATIVE_BODY)

    def publish_model(self, model: bytes, name: str) -> None:
        """An ONNX file."""
        file = self.folder / f"{name}.onnx"
        file.write_bytes(model)
        self.publish(file, name)

    def publish_python(self) -> Target:
        """A function that returns "hello world"."""
        module = self.folder / "hello.py"
        module.write_text(PYTHON_MODULE)
        self.publish(module, "hello", "--function", "hello", "--takes", "number", "--gives", "string")
        return self._target("hello", PYTHON_BODY)

    def grpc_python(self) -> GrpcTarget:
        """publish_python()'s, over gRPC."""
        return GrpcTarget(self.grpc_port, infer_request("admin/hello", "input", "FP64", [1], bytes(8)), self.pids, self.token)

    def native(self) -> Target:
        return self._target("identity", NATIVE_BODY)

    def tensor(self, name: str, tensor_name: str, shape, data: bytes) -> Target:
        """An FP32 tensor in and out in binary."""
        header = {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {
                    "name": tensor_name,
                    "shape": list(shape),
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
        }
        head = json.dumps(header, separators=(",", ":")).encode()
        target = self._target(name, head + data)
        target.content_type = "application/octet-stream"
        target.headers = (f"Inference-Header-Content-Length: {len(head)}",)
        return target

    def plain(self, name: str, body: bytes) -> Target:
        """A body of the Open Inference Protocol as JSON."""
        return self._target(name, body)

    def _target(self, name: str, body: bytes) -> Target:
        return Target(self.port, f"/v2/models/admin/{name}/infer", body, self.pids, self.token)

    def metadata(self, name: str) -> dict:
        return json.loads(self._get(f"/v2/models/admin/{name}"))

    def statistics(self, name: str) -> dict:
        """The newest version's, as the protocol has them."""
        return json.loads(self._get(f"/v2/models/admin/{name}/stats"))["model_stats"][-1]

    def example(self, name: str, file) -> Target:
        """A DLHub run of `name` (OWNER/NAME) on an example's input: a .npy file, or JSON; never answered by the memo."""
        path, token = f"/api/v1/servables/{name}/run", self.token
        if file.suffix == ".npy":
            return Target(self.port, path, file.read_bytes(), self.pids, token, "application/x-npy",
                          ("Accept: application/x-npy", "Cache-Control: no-cache"))
        return Target(self.port, path, b'{"data":' + file.read_bytes() + b"}", self.pids, token, headers=("Cache-Control: no-cache",))

    def worker_count(self) -> int:
        return json.loads(self._get("/api/v1/hub"))["workers"]

    def serve_as(self, name: str, serving: dict) -> None:
        self.command("serving", name, "--serving", json.dumps(serving))

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Failed(f"GET {path}: {answer.status} {body.decode(errors='replace')[:300]}")
            return body
        finally:
            connection.close()

    def answer(self, target: Target) -> bytes:
        """The body of the answer to one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": target.content_type}
            headers.update(line.split(": ", 1) for line in target.headers)
            connection.request("POST", target.path, target.body, headers)
            answer = connection.getresponse()
            self.header_length = answer.headers.get("Inference-Header-Content-Length")
            body = answer.read()
            if answer.status != 200:
                raise Failed(f"POST {target.path}: {answer.status} {body.decode(errors='replace')[:300]}")
            return body
        finally:
            connection.close()

    def floats(self, target: Target) -> list[float]:
        body = self.answer(target)[int(self.header_length) if self.header_length else 0 :]
        return list(struct.unpack(f"<{len(body) // 4}f", body))

    def workers(self, program: str) -> list[int]:
        """The processes of workers of one kind, whatever stands between them and the hub included."""
        return [pid for pid in self.pids()[1:] if command_of(pid) == program]

    def hub_resident_mb(self) -> float:
        return resident_mb(self.process.pid)

    def native_private_mb(self) -> float:
        """Of all processes of one native worker together."""
        return private_mb(self.workers("dlhub-worker-native"))

    def wait_idle(self) -> None:
        """Until the kernel has taken the last worker away, so that it is not counted."""
        wait_for("the end of the workers", lambda: len(tree(self.process.pid)) == 1, 30)
