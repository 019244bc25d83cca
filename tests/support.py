"""Helpers of the tests of whole programs: real processes on ephemeral ports, waiting for events."""
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("DLHUB_BUILD", ROOT / "build"))
BIN = BUILD / "bin"


def is_sanitized():
    """Whether the programs are built with AddressSanitizer, whose own memory lifts every memory limit."""
    return b"__asan_init" in (BIN / "dlhubd").read_bytes()


def wait_for(condition, seconds=30, what="the condition"):
    """Polls a condition that has no event of its own (a file, a process' end)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        select.select([], [], [], 0.01)
    raise AssertionError(f"{what} did not come within {seconds} s")


class HubProcess:
    """One dlhubd. `url` is its address, `grpc` that of its gRPC front door, `token` its administrator's."""

    def __init__(self, data, *flags, environment=None):
        self.data = pathlib.Path(data)
        self.flags = flags
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.start()

    def start(self):
        self.log = open(self.data.parent / f"{self.data.name}.log", "ab")
        self.process = subprocess.Popen(
            [BIN / "dlhubd", "--data", self.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *self.flags],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=self.environment)
        self.wait_ready()

    def wait_ready(self):
        """Its next ready line: after a start, and after a SIGHUP."""
        self.ready_line = self.process.stdout.readline()
        if "ready" not in self.ready_line:
            self.process.wait(10)
            raise AssertionError(f"dlhubd did not start:\n{self.log_text()}")
        self.url = self.ready_line.split()[-1]
        self.grpc = re.search(r"gRPC at ([^ ,]*)|$", self.ready_line).group(1)  # ADDR:PORT; None: it has none
        self.token = (self.data / "admin.token").read_text().strip()

    def log_text(self):
        return (self.data.parent / f"{self.data.name}.log").read_text()

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
        if self.process:
            self.process.stdout.close()
            self.log.close()
        return self.process.returncode

    def request(self, method, path, token=True, **arguments):
        headers = arguments.pop("headers", {})
        bearer = self.token if token is True else token
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        return requests.request(method, self.url + path, headers=headers, timeout=120, **arguments)

    def get(self, path, **arguments):
        return self.request("GET", path, **arguments)

    def post(self, path, **arguments):
        return self.request("POST", path, **arguments)

    def user(self, name):
        """A new user's token."""
        assert self.post("/api/v1/users", json={"name": name}).status_code == 201
        return self.post(f"/api/v1/users/{name}/tokens", json={}).json()["token"]

    def publish(self, metadata, data, filename="model.onnx", token=True, seconds=300):
        """Sends a publish and waits for its end; returns the task."""
        reply = self.post("/api/v1/publish", token=token, files={
            "json": ("dlhub.json", json.dumps(metadata), "application/json"),
            "file": (filename, data, "application/octet-stream")})
        assert reply.status_code == 202, reply.text
        return self.wait_task(reply.json()["task_id"], token, seconds)

    def wait_task(self, task, token=True, seconds=300):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = self.get(f"/api/v1/tasks/{task}?wait_s=10", token=token).json()
            if state["status"] in ("succeeded", "failed"):
                return state
        raise AssertionError(f"the publish did not end: {state}\n{self.get(f'/api/v1/tasks/{task}/log', token=token).text}")


def document(name, title="A title", **dlhub):
    return {"datacite": {"titles": [{"title": title}]}, "dlhub": {"name": name, **dlhub}}
