"""A publish seen from outside: its stages by long poll, its log as it grows, and the first DLHub's form of it."""
import json
import os
import select
import time

import pytest

from raw_http import Connection
from support import BIN, HubProcess, document

BUILD_STEP = """#!/bin/sh
echo "holding $1" >&2
read go < "$(dirname "$0")/$1"
exec {real}/dlhub-build "$@"
"""


class HeldHub(HubProcess):
    """A hub whose dlhub-build begins each of its steps when the test says so."""

    def __init__(self, folder):
        programs = folder / "programs"
        programs.mkdir()
        for step in ("unpack", "inspect"):
            os.mkfifo(programs / step)
        for worker in ("dlhub-worker-native", "dlhub-worker-python"):
            (programs / worker).symlink_to(BIN / worker)
        (programs / "dlhub-build").write_text(BUILD_STEP.format(real=BIN))
        (programs / "dlhub-build").chmod(0o755)
        self.programs = programs
        super().__init__(folder / "hub", "--worker.programs", str(programs))

    def go(self, step):
        (self.programs / step).write_text("go\n")  # blocks until the step is there

    def begin(self, name, model):
        reply = self.post("/api/v1/publish", files={"json": ("j", json.dumps(document(name)), "application/json"), "file": ("model.onnx", model)})
        assert reply.status_code == 202, reply.text
        return reply.json()["task_id"]

    def ask(self, task, wait_s):
        """A connection on which a long poll is under way."""
        line = Connection(self)
        line.send(f"GET /api/v1/tasks/{task}?wait_s={wait_s} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.token}\r\n\r\n")
        return line


@pytest.fixture
def held(tmp_path):
    hub = HeldHub(tmp_path)
    yield hub
    assert hub.stop() == 0, hub.log_text()


def answered(line):
    return bool(select.select([line.socket], [], [], 0)[0])


def reach(hub, task, stage):
    state = hub.get(f"/api/v1/tasks/{task}").json()
    while state["stage"] != stage:
        assert state["status"] in ("queued", "running"), state
        state = hub.get(f"/api/v1/tasks/{task}", params={"wait_s": 30, "stage": state["stage"]}).json()
    return state


def test_a_long_poll_answers_at_the_next_change(held, identity_onnx):
    task = held.begin("identity", identity_onnx)
    state = reach(held, task, "unpacking")
    assert state["status"] == "running" and 0 < state["progress"] < 1 and state["started"] >= state["created"] and "ended" not in state
    assert held.get(f"/api/v1/{task}/status").json() == {"status": "RUNNING", "result": None}

    lines = [held.ask(task, 30) for _ in range(3)]
    for _ in range(20):  # others are served meanwhile, and nobody is answered early
        assert held.get("/api/v1/whoami").status_code == 200
    assert not any(answered(line) for line in lines)
    held.go("unpack")
    for line in lines:
        reply = line.read()
        assert reply.status == 200 and reply.json()["stage"] == "inspecting" and reply.json()["progress"] > state["progress"]
    assert answered(lines[0]) is False and lines[0].request("GET", "/v2").status == 200  # the connection stays

    # Who has seen an older stage hears of this one at once.
    assert held.get(f"/api/v1/tasks/{task}?wait_s=30&stage=unpacking").json()["stage"] == "inspecting"
    line = held.ask(task, 30)
    held.go("inspect")
    assert line.read().json()["stage"] != "inspecting"
    seen = []
    while (state := held.get(f"/api/v1/tasks/{task}?wait_s=30&stage={state['stage']}").json())["status"] == "running":
        seen.append(state["progress"])
    assert seen == sorted(seen) and state["status"] == "succeeded" and state["progress"] == 1 and state["ended"] >= state["started"]
    assert state["result"]["name"] == "admin/identity" and state["result"]["digest"].startswith("sha256:")
    assert state == held.ask(task, 30).read().json()  # an ended one is answered at once


def test_a_long_poll_that_sees_no_change_ends_in_time(held, identity_onnx):
    task = held.begin("identity", identity_onnx)
    before = reach(held, task, "unpacking")
    began = time.monotonic()
    assert held.get(f"/api/v1/tasks/{task}?wait_s=1").json() == before
    assert 0.9 < time.monotonic() - began < 10
    # Who leaves a long poll leaves nothing behind: the next change finds only those that are still there.
    gone = [held.ask(task, 30) for _ in range(3)]
    stays = held.ask(task, 30)
    for line in gone:
        line.socket.close()
    held.go("unpack")
    assert stays.read().json()["stage"] == "inspecting"
    held.go("inspect")
    assert held.wait_task(task)["status"] == "succeeded"


def test_the_log_as_it_grows(held, identity_onnx):
    task = held.begin("identity", identity_onnx)
    reach(held, task, "unpacking")
    log = lambda offset=0: held.get(f"/api/v1/tasks/{task}/log?offset={offset}")
    first = log()
    assert first.headers["Content-Type"] == "text/plain; charset=utf-8" and "== unpacking" in first.text
    held.go("unpack")
    reach(held, task, "inspecting")
    second = log(len(first.content))
    assert second.content and "== unpacking" not in second.text and "== inspecting" in second.text
    held.go("inspect")
    held.wait_task(task)
    whole = log().content
    assert whole.startswith(first.content + second.content) and b"== publishing" in whole and b"golden test passed" in whole
    assert b"".join(log(at).content[:7] for at in range(0, len(whole), 7)) == whole
    for offset in (len(whole), len(whole) + 1, 2**62):
        assert log(offset).status_code == 200 and log(offset).content == b""
    held.stop()
    held.start()
    assert log().content == whole


def test_the_first_dlhubs_form(shared_hub, identity_onnx):
    good = shared_hub.publish(document("identity"), identity_onnx)["task_id"]
    bad = shared_hub.publish(document("broken"), b"nonsense")["task_id"]
    form = shared_hub.get(f"/api/v1/{good}/status").json()
    assert form["status"] == "COMPLETED" and json.loads(form["result"])["name"] == "admin/identity"
    form = shared_hub.get(f"/api/v1/{bad}/status").json()
    failure = shared_hub.get(f"/api/v1/tasks/{bad}").json()
    assert form["status"] == "FAILED" and json.loads(form["result"]) == failure["error"]
    assert failure["error"]["code"] and failure["error"]["message"] in shared_hub.get(f"/api/v1/tasks/{bad}/log").text

    tasks = shared_hub.get("/api/v1/tasks").json()["tasks"]
    assert [one["task_id"] for one in tasks[:2]] == [bad, good]  # newest first
    assert [one["task_id"] for one in shared_hub.get("/api/v1/tasks?status=failed").json()["tasks"]] == [bad]
    assert shared_hub.get("/api/v1/tasks?status=queued").json() == {"tasks": []}


@pytest.mark.parametrize("rest, status, words", [
    ("?wait_s=31", 400, "wait_s is '31', but must be a whole number from 0 to 30"), ("?wait_s=-1", 400, "wait_s is '-1'"),
    ("?wait_s=", 400, "wait_s is ''"), ("?wait_s=1.5", 400, "wait_s is '1.5'"), ("/log?offset=-1", 400, "offset is '-1'"),
    ("/log?offset=x", 400, "offset is 'x'"), ("/log?offset=9223372036854775808", 400, "offset is '9223372036854775808'")])
def test_bad_arguments(shared_hub, identity_onnx, rest, status, words):
    task = shared_hub.publish(document("identity"), identity_onnx)["task_id"]
    reply = shared_hub.get(f"/api/v1/tasks/{task}{rest}")
    assert reply.status_code == status and words in reply.json()["error"]


def test_a_status_that_there_is_not(shared_hub):
    reply = shared_hub.get("/api/v1/tasks?status=done")
    assert reply.status_code == 400 and "status is 'done', but must be queued, running, succeeded, failed, cancelled or expired" in reply.json()["error"]


@pytest.mark.parametrize("task", ["0" * 32, "x", "A" * 32, "..", "%2e%2e", "0" * 33, "0" * 300, "%00", "'", "ü"])
def test_tasks_that_there_are_not(shared_hub, task):
    for path in (f"/api/v1/tasks/{task}", f"/api/v1/tasks/{task}?wait_s=5", f"/api/v1/tasks/{task}/log", f"/api/v1/{task}/status"):
        reply = shared_hub.get(path)
        assert reply.status_code == 404 and reply.json()["code"] == "NOT_FOUND", (path, reply.text)
