"""Runs that find their queue full: told to come back, a moment later."""
import signal
import threading

import pytest

from support import HubProcess, document, wait_for

SOURCE = b"import time\n\ndef wait(seconds: float) -> float:\n    time.sleep(seconds)\n    return seconds\n"
SERVABLE = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                                "method_details": {"module": "slow", "method_name": "wait"}}}}
# So long that none is given to the worker ahead of the one that it is at.
GOLDEN = {"request": {"inputs": [{"name": "input", "shape": [], "datatype": "FP64", "data": [0.3]}]}}
SERVING = {"replicas": {"max": 1}, "queue": 1}


def run(hub, seconds, answers):
    answers.append(hub.post("/api/v1/servables/admin/slow/run", json={"data": seconds}))


@pytest.fixture
def busy(tmp_path):
    """A hub whose servable is at a run, with another in its queue, which is full then; refusals wait for a minute."""
    hub = HubProcess(tmp_path / "hub", "--limits.refusal_ms", "60000", "--metrics.public")
    done = hub.publish({**document("slow", serving=SERVING), "servable": SERVABLE, "golden": GOLDEN}, SOURCE, "slow.py")
    assert done["status"] == "succeeded", done
    hub.answers, hub.callers = [], []
    for count in (1, 2):
        call(hub, 2.0)
        wait_for(lambda: f'nv_inference_pending_request_count{{model="admin/slow",version="1"}} {count}\n' in metrics(hub),
                 what=f"run {count}")
    yield hub
    for caller in hub.callers:
        caller.join(60)


def metrics(hub):
    return hub.get("/metrics").text


def call(hub, seconds):
    caller = threading.Thread(target=run, args=(hub, seconds, hub.answers))
    caller.start()
    hub.callers.append(caller)


def test_a_refusal_waits_and_the_end_of_the_hub_lets_it_go(busy):
    call(busy, 0.0)
    wait_for(lambda: "dlhub_http_unanswered 4\n" in metrics(busy), what="the third run, and this question")
    assert not [answer for answer in busy.answers if answer.status_code == 429]
    assert busy.stop(signal.SIGTERM) == 0
    for caller in busy.callers:
        caller.join(60)
    assert sorted(answer.status_code for answer in busy.answers) == [200, 200, 429]
    refused = next(answer for answer in busy.answers if answer.status_code == 429)
    assert int(refused.headers["Retry-After"]) >= 1 and "limits.queue_runs" in refused.text or "queue" in refused.text
