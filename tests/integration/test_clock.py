"""The wall clock jumps while the hub works: dates follow it, times do not."""
import datetime
import os
import struct
import threading

import pytest

from support import BUILD, HubProcess, document, is_sanitized, wait_for

DAY_NS = 86400 * 10**9

class Clock:
    def __init__(self, path):
        self.path = path
        self.jump(0)

    def jump(self, ns):
        """From now on the hub's wall clock is that far from ours."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(descriptor, struct.pack("=q", ns), 0)
        os.close(descriptor)

@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "clock")

@pytest.fixture
def hub(tmp_path, clock):
    if is_sanitized():
        pytest.skip("its runtime must be the first library, so nothing can be preloaded before it; the plain suite runs this")
    library = next((BUILD / "tests").glob("libclock_jump.so"))
    process = HubProcess(tmp_path / "hub", environment={"LD_PRELOAD": str(library), "CLOCK_JUMP_FILE": str(clock.path)})
    yield process
    assert process.stop() == 0, process.log_text()

def infer(hub, **more):
    return hub.post("/v2/models/admin/identity/infer", json={
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}], **more})

def created(hub):
    newest = hub.get("/api/v1/tasks").json()["tasks"][0]["created"]
    return datetime.datetime.fromisoformat(newest.replace("Z", "+00:00"))

def test_the_preload_moves_the_hubs_dates(hub, clock, identity_onnx):
    """Else the other tests would show nothing."""
    clock.jump(DAY_NS)
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    ahead = created(hub) - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(hours=23) < ahead < datetime.timedelta(hours=25)

@pytest.mark.parametrize("jump", [DAY_NS, -DAY_NS], ids=["forward", "back"])
def test_runs_and_connections_outlive_a_jump(hub, clock, identity_onnx, jump):
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    assert infer(hub).status_code == 200
    clock.jump(jump)
    for _ in range(5):  # with deadlines of their own, on workers and connections that were there before
        assert infer(hub, parameters={"timeout": 20_000_000}).status_code == 200
    clock.jump(0)
    assert infer(hub).status_code == 200
    assert hub.get("/metrics").status_code == 200

def test_a_run_under_way_keeps_its_deadline(hub, clock, tmp_path):
    """The clock jumps a day ahead and a day back while it runs."""
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                                    "method_details": {"module": "slow", "method_name": "wait"}}}}
    golden = {"request": {"inputs": [{"name": "input", "shape": [], "datatype": "FP64", "data": [0]}]}}
    source = b"import time\n\ndef wait(seconds: float) -> float:\n    time.sleep(seconds)\n    return seconds\n"
    done = hub.publish({**document("slow"), "servable": servable, "golden": golden}, source, "slow.py")
    assert done["status"] == "succeeded", done
    answers = []
    caller = threading.Thread(target=lambda: answers.append(
        hub.post("/api/v1/servables/admin/slow/run", json={"data": 1.0, "timeout_s": 20})))
    caller.start()
    wait_for(lambda: hub.get("/api/v1/hub").json()["workers"] > 0, what="its worker")
    clock.jump(DAY_NS)
    clock.jump(-DAY_NS)
    caller.join(60)
    assert answers[0].status_code == 200 and answers[0].json() == [1.0]
