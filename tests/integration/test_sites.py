"""Sites: workers on other machines (here: other processes), what they are given, and what becomes of runs when they go."""
import json
import signal
import subprocess

import pytest

from support import BIN, HubProcess, document, wait_for

SERVABLE = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                "method_details": {"module": "actor", "method_name": "act"}}}}
CODE = '''
import os, time

def act(what: str) -> str:
    if what == "pid":
        return str(os.getpid())
    if what == "raise":
        raise ValueError("seven")
    if what == "exit":
        os._exit(3)
    if what.startswith("wait:"):
        path = what.split(":", 1)[1]
        time.sleep(float(path))
    return what
'''


class Site:
    """One dlhub-site of a hub."""

    def __init__(self, hub, folder, name="there", visible_to=None, *flags):
        self.hub, self.name, self.folder = hub, name, folder
        self.file = folder / f"{name}.site"
        self.data = folder / f"{name}.data"
        self.flags = flags
        reply = hub.post("/api/v1/sites", json={"name": name, **({"visible_to": visible_to} if visible_to is not None else {})})
        assert reply.status_code == 201, reply.text
        self.file.write_text(json.dumps(reply.json()["file"]))
        self.process = None

    def start(self):
        self.log = open(self.folder / f"{self.name}.log", "ab")
        self.process = subprocess.Popen([BIN / "dlhub-site", "--config", self.file, "--data", self.data, *self.flags],
                                        stdout=self.log, stderr=self.log)
        return self

    def log_text(self):
        return (self.folder / f"{self.name}.log").read_text()

    def state(self):
        sites = {site["name"]: site for site in self.hub.get("/api/v1/sites").json()["sites"]}
        return sites[self.name]

    def wait_state(self, state, seconds=30):
        wait_for(lambda: self.state()["state"] == state, seconds, f"site {self.name} {state}")
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        if self.process:
            self.log.close()
        return self.process.returncode


FLAGS = ("--sites", "127.0.0.1:0", "--worker.local=false", "--sites.silence_ms", "1000", "--sites.grace_s", "2")


@pytest.fixture(scope="module")
def remote_hub(tmp_path_factory):
    """A hub that runs nothing itself, and one site of it."""
    folder = tmp_path_factory.mktemp("sites")
    hub = HubProcess(folder / "hub", *FLAGS)
    site = Site(hub, folder).start().wait_state("connected")
    hub.site = site
    yield hub
    assert site.stop() == 0, site.log_text()
    assert hub.stop() == 0, hub.log_text()


def test_a_native_servable_runs_at_the_site(remote_hub, identity_onnx):
    task = remote_hub.publish(document("identity"), identity_onnx)
    assert task["status"] == "succeeded", (task, remote_hub.site.log_text())
    values = [float(i) for i in range(10)]
    answer = remote_hub.post("/api/v1/servables/admin/identity/run", json={"data": values})
    assert answer.status_code == 200, answer.text
    assert answer.json() == [values]
    assert remote_hub.site.state()["workers"] >= 1
