"""Asynchronous runs from outside: kept before they are acknowledged, each ends once, and only its user hears of it."""
import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import signal
import sqlite3
import threading

import pytest

from raw_http import Connection
from support import HubProcess, document, wait_for

ACT = '''
import time
from dlhub_worker import cancelled, progress

def act(what: str) -> str:
    if what == "steps":
        for step in range(1, 4):
            progress(step / 4, f"step {step}", partial={"at": step})
    if what == "too much":
        progress(0.25, "a line of mine", partial="x" * 70000)
        while not cancelled():
            time.sleep(0.01)
    if what == "far too much":
        progress(partial="x" * (2 << 20))
    if what == "until cancelled":
        progress(0.5, "half of it")
        while not cancelled():
            time.sleep(0.01)
        return "told"
    if what == "hang":
        while True:
            time.sleep(0.05)
    if what == "raise":
        print("about to raise")
        raise ValueError("seven")
    return what
'''
ACT_SERVABLE = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "act", "method_name": "act"}}}}
RUN, ACTOR = "/api/v1/servables/admin/identity/run", "/api/v1/servables/admin/act/run"


def publish(hub, identity_onnx):
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"


def publish_actor(hub, **serving):
    made = hub.publish({**document("act", **({"serving": serving} if serving else {})), "servable": ACT_SERVABLE}, ACT, "act.py")
    assert made["status"] == "succeeded", made


@pytest.fixture(scope="module")
def served(shared_hub, identity_onnx):
    publish(shared_hub, identity_onnx)
    publish_actor(shared_hub)
    return shared_hub


@pytest.fixture(scope="module")
def small(tmp_path_factory, identity_onnx):
    """Room for one run, and few tasks. Each test leaves it without any that is open."""
    hub = HubProcess(tmp_path_factory.mktemp("small") / "hub", "--limits.tasks_running", "1", "--limits.tasks_queued", "4", "--limits.user_tasks", "3",
                     "--limits.cancel_s", "0")
    publish(hub, identity_onnx)
    publish_actor(hub)
    yield hub
    assert hub.stop() == 0, hub.log_text()


def submit(hub, data, path=RUN, token=True, key="data", **more):
    reply = hub.post(path, json={key: data, "asynchronous": True, **more}, token=token)
    assert reply.status_code == 202, reply.text
    assert reply.headers["Location"] == f"/api/v1/tasks/{reply.json()['task_id']}" and reply.json()["status"] == "queued"
    return reply.json()["task_id"]


def look(hub, task, token=True):
    return hub.get(f"/api/v1/tasks/{task}", token=token).json()


def ended(hub, task, token=True):
    state = look(hub, task, token)
    while state["status"] in ("queued", "running"):
        state = hub.get(f"/api/v1/tasks/{task}?wait_s=30&status={state['status']}", token=token).json()
    return state


def result(hub, task, rest="", token=True, **arguments):
    return hub.get(f"/api/v1/tasks/{task}/result?wait_s=30{rest}", token=token, **arguments)


def running(hub, task):
    """Waits until a worker is at it."""
    state = look(hub, task)
    while state["status"] == "queued":
        state = hub.get(f"/api/v1/tasks/{task}?wait_s=30&status=queued").json()
    assert state["status"] == "running", state
    return state


def events(line, after=None):
    """(event, id, data) one by one, as they come, until the stream ends."""
    name = number = None
    for text in line.iter_lines():
        text = text.decode()
        if text.startswith("event: "):
            name, number = text[7:], None
        elif text.startswith("id: "):
            number = int(text[4:])
        elif text.startswith("data: "):
            yield name, number, json.loads(text[6:])


def listen(hub, task, **headers):
    line = hub.get(f"/api/v1/tasks/{task}/events", stream=True, headers=headers)
    assert line.status_code == 200 and line.headers["Content-Type"] == "text/event-stream", line.text
    return events(line)


# --- one run ---
def test_a_run_is_answered_later_as_it_would_have_been_at_once(served):
    task = submit(served, [1, 2.5])
    assert result(served, task).json() == [[1, 2.5]] == served.post(RUN, json={"data": [1, 2.5]}).json()
    state = look(served, task)
    assert (state["status"], state["kind"], state["progress"], state["done"], state["total"], state["version"]) == ("succeeded", "run", 1, 1, 1, 1)
    assert state["created"] <= state["started"] <= state["ended"] < state["expires"] and state["servable"] == "admin/identity"
    assert state["result"]["href"] == f"/api/v1/tasks/{task}/result" and "error" not in state
    assert served.get(f"/api/v1/{task}/status").json() == {"status": "COMPLETED", "result": "[[1.0,2.5]]"}
    envelope = result(served, submit(served, [1], envelope=True)).json()
    assert envelope["output"] == [1] and envelope["version"] == 1 and envelope["metadata"]["run_ms"] >= 0
    npy = result(served, task, headers={"Accept": "application/x-npy"})
    assert npy.content.startswith(b"\x93NUMPY")

    assert [one["task_id"] for one in served.get("/api/v1/tasks?kind=run").json()["tasks"]].count(task) == 1
    assert task not in served.get("/api/v1/tasks?kind=publish").text
    assert served.request("DELETE", f"/api/v1/tasks/{task}").status_code == 204
    for path in ("", "/result", "/events"):
        assert served.get(f"/api/v1/tasks/{task}{path}").status_code == 404


def test_the_open_inference_protocol(served):
    asked = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
    path = "/v2/models/admin/identity/infer"
    task = served.post(path + "?asynchronous=true", json=asked).json()["task_id"]
    assert result(served, task).json() == served.post(path, json=asked).json()
    asked["parameters"] = {"binary_data_output": True}
    task = served.post(path + "?asynchronous=true&expires_s=100", json=asked).json()["task_id"]
    late, now = result(served, task), served.post(path, json=asked)
    assert late.content == now.content and late.headers["Inference-Header-Content-Length"] == now.headers["Inference-Header-Content-Length"]


def test_its_own_error_with_the_traceback(served):
    task = submit(served, "raise", ACTOR)
    at_once = served.post(ACTOR, json={"data": "raise"})
    late = result(served, task)
    assert late.status_code == at_once.status_code == 500
    for key in ("error", "code"):
        assert late.json()[key] == at_once.json()[key]
    assert "Traceback" in late.json()["error"] and "about to raise" in result(served, submit(served, "raise", ACTOR, debug=True)).json()["metadata"]["stdout"]
    state = look(served, task)
    assert state["status"] == "failed" and state["error"]["code"] == at_once.json()["code"] and "result" not in state
    assert served.get(f"/api/v1/{task}/status").json()["status"] == "FAILED"


@pytest.mark.parametrize("path, body, status, words", [
    (RUN, {"data": "text", "asynchronous": True}, 400, "input 'x'"), (RUN, {"each": [[1], [2]]}, 400, "asynchronous"),
    (RUN, {"each": [], "asynchronous": True}, 400, "it is empty"), (RUN, {"each": [[1], ["a"]], "asynchronous": True}, 400, "each, item 1"),
    (RUN, {"data": [1], "asynchronous": True, "expires_s": 1e9}, 400, "expires_s is more than"), (RUN + "?asynchronous=maybe", {"data": [1]}, 400, "asynchronous is 'maybe'"),
    (RUN + "?asynchronous=true&expires_s=0", {"data": [1]}, 400, "expires_s is '0'")])
def test_what_is_wrong_is_told_at_once(served, path, body, status, words):
    reply = served.post(path, json=body)
    assert reply.status_code == status and words in reply.json()["error"] + reply.json().get("hint", "")


# --- many inputs ---
def test_many_inputs_in_one_task(served):
    rows = [[i, i + 0.5] for i in range(10000)]
    task = submit(served, rows, key="each")
    assert ended(served, task)["done"] == 10000
    assert result(served, task).json() == [[row] for row in rows]
    # One that fails is told in its place.
    task = submit(served, ["a", "raise", "b"], ACTOR, key="each")
    state, got = ended(served, task), result(served, task).json()
    assert (state["status"], state["done"], state["failed"]) == ("succeeded", 3, 1)
    assert got[0] == ["a"] and got[2] == ["b"] and "seven" in got[1]["error"]["message"]
    task = submit(served, ["raise", "raise"], ACTOR, key="each")
    assert ended(served, task)["status"] == "failed" and "all 2 failed" in look(served, task)["error"]["message"]
    assert [list(item) for item in result(served, task).json()] == [["error"], ["error"]]


def test_partial_results_while_it_runs(small):
    task = submit(small, ["a", "hang", "c"], ACTOR, key="each")
    seen = listen(small, task)
    told = []
    for event in seen:
        told.append(event)
        if event[0] == "progress" and event[2]["done"] == 1:
            break
    assert told[0][0] == "status" and ("partial", 1, {"index": 0, "output": ["a"]}) in told
    assert small.get(f"/api/v1/tasks/{task}/result").status_code == 412
    assert small.get(f"/api/v1/tasks/{task}/result?partial=true").json() == [["a"], None, None]
    assert look(small, task)["progress"] == pytest.approx(1 / 3)
    # Who comes back is told of what it has not seen.
    again = listen(small, task, **{"Last-Event-ID": "1"})
    assert next(again)[0] in ("status", "progress")
    small.request("DELETE", f"/api/v1/tasks/{task}")
    rest = list(again)
    assert [event[0] for event in rest if event[0] == "partial"] == [] and rest[-2][2]["status"] == "cancelled"
    assert small.get(f"/api/v1/tasks/{task}/result").json() == [["a"], None, None]


# --- waiting, listening, ending ---
def test_events_in_their_order(served):
    task = submit(served, ["a", "b", "raise"], ACTOR, key="each")
    told = list(listen(served, task))
    names = [name for name, _, _ in told]
    assert names[0] == "status" and names[-1] == "result" and set(names) <= {"status", "progress", "partial", "result"}
    states = [data["status"] for name, _, data in told if name == "status"]
    assert states == sorted(set(states), key=["queued", "running", "succeeded"].index) and states[-1] == "succeeded"
    done = [data["done"] for name, _, data in told if name == "progress"]
    assert done == sorted(done)
    assert told[-1][2]["href"] == f"/api/v1/tasks/{task}/result"
    # Of one that has ended the end is told.
    assert [event[0] for event in listen(served, task)] == ["status", "result"]


def test_a_partial_output_that_is_too_large_is_told_as_that(served):
    task = submit(served, "too much", ACTOR)
    told = []
    for name, _, data in listen(served, task):
        told.append(name)
        if name == "progress":
            break
    why = "a partial output of 70002 bytes was left out: 65536 at most; tell a smaller part of it"
    assert data == {"progress": 0.25, "done": 0, "total": 1, "text": why} and "partial" not in told
    assert look(served, task)["text"] == why
    assert f"task {task}, a run of admin/act: {why}" in served.log_text()
    served.request("DELETE", f"/api/v1/tasks/{task}")
    failed = ended(served, submit(served, "far too much", ACTOR))
    assert failed["status"] == "failed" and "at most 1048576 are taken at once" in failed["error"]["message"], failed


def test_what_the_servable_tells_of_its_run(served):
    task = submit(served, "until cancelled", ACTOR)
    for name, _, data in listen(served, task):
        if name == "progress":
            break
    assert data == {"progress": 0.5, "done": 0, "total": 1, "text": "half of it"}
    state = look(served, task)
    assert (state["status"], state["progress"], state["text"], state["stage"]) == ("running", 0.5, "half of it", "half of it")
    assert served.request("DELETE", f"/api/v1/tasks/{task}").json()["status"] == "cancelled"  # the servable was told
    blocker = submit(served, "until cancelled", ACTOR)
    running(served, blocker)
    task = submit(served, "steps", ACTOR)
    told = listen(served, task)
    assert next(told)[2]["status"] == "queued"
    served.request("DELETE", f"/api/v1/tasks/{blocker}")
    rest = list(told)
    assert [(number, data["at"]) for name, number, data in rest if name == "partial"] == [(1, 1), (2, 2), (3, 3)]
    assert [data["progress"] for name, _, data in rest if name == "progress"][-1] in (0.75, 1) and rest[-1][0] == "result"


def test_many_wait_for_one(small):
    task = submit(small, "hang", ACTOR)
    running(small, task)
    lines = [Connection(small) for _ in range(20)]
    for line in lines:
        line.send(f"GET /api/v1/tasks/{task}?wait_s=30 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {small.token}\r\n\r\n")
    streams = [listen(small, task) for _ in range(20)]
    assert all(next(stream)[2]["status"] == "running" for stream in streams)
    for line in lines[:5]:
        line.socket.close()  # they leave
    assert small.request("DELETE", f"/api/v1/tasks/{task}").json()["status"] == "cancelled"
    for line in lines[5:]:
        assert line.read().json()["status"] == "cancelled"
    for stream in streams:
        assert [event[2]["status"] for event in stream if event[0] == "status"][-1] == "cancelled"


def test_cancelling(small):
    at_work, waiting = submit(small, "hang", ACTOR), submit(small, "b", ACTOR)
    running(small, at_work)
    assert look(small, waiting)["status"] == "queued"
    reply = small.request("DELETE", f"/api/v1/tasks/{waiting}")
    assert reply.status_code == 200 and reply.json()["status"] == "cancelled" and "started" not in reply.json()
    assert small.request("DELETE", f"/api/v1/tasks/{at_work}").json()["status"] == "cancelled"
    assert result(small, at_work).status_code == 499 and result(small, at_work).json()["code"] == "CANCELLED"
    assert result(small, submit(small, "c", ACTOR)).json() == ["c"]  # the worker was freed
    assert small.request("DELETE", f"/api/v1/tasks/{at_work}").status_code == 204


def test_one_that_may_not_start_late(small):
    at_work, late = submit(small, "hang", ACTOR), submit(small, "b", ACTOR, start_within_s=0.2)
    state = ended(small, late)
    assert state["status"] == "expired" and state["error"]["code"] == "DEADLINE_EXCEEDED" and "started" not in state
    assert result(small, late).status_code == 504
    small.request("DELETE", f"/api/v1/tasks/{at_work}")


def test_a_run_that_takes_too_long(small):
    task = submit(small, "hang", ACTOR, timeout_s=0.3)
    behind = submit(small, "b", ACTOR, timeout_s=20)
    assert ended(small, task)["error"]["code"] == "DEADLINE_EXCEEDED"
    assert ended(small, behind)["status"] == "succeeded"  # its own time began when it was sent


def test_too_many_are_told_to_come_back(small):
    ann, bob = small.user("ann"), small.user("bob")
    mine = [submit(small, "hang", ACTOR, ann) for _ in range(3)]
    reply = small.post(ACTOR, json={"data": "a", "asynchronous": True}, token=ann)
    assert reply.status_code == 429 and "limits.user_tasks" in reply.json()["error"] and reply.headers["Retry-After"]
    mine.append(submit(small, "hang", ACTOR, bob))
    reply = small.post(ACTOR, json={"data": "a", "asynchronous": True}, token=bob)
    assert reply.status_code == 429 and "limits.tasks_queued" in reply.json()["error"]
    for task in mine:
        assert small.request("DELETE", f"/api/v1/tasks/{task}").json()["status"] == "cancelled"
    assert result(small, submit(small, "a", ACTOR, ann), token=ann).json() == ["a"]


def test_results_go_when_their_time_is_over(served):
    task = submit(served, [1], expires_s=1)
    assert result(served, task).status_code == 200
    gone = wait_for(lambda: "has expired" in served.get(f"/api/v1/tasks/{task}/result").text, what="the result's end")
    assert gone and served.get(f"/api/v1/tasks/{task}/result").status_code == 404
    state = look(served, task)
    assert state["status"] == "succeeded" and "result" not in state


@pytest.mark.parametrize("flags, most", [((), 600), (("--limits.result_most_s", "3600"), 3600), (("--limits.result_most_s", "60"), 600)])
def test_how_long_a_result_is_kept_by_default_and_at_most(tmp_path, identity_onnx, flags, most):
    hub = HubProcess(tmp_path / "hub", "--limits.result_s", "600", *flags)
    publish(hub, identity_onnx)

    def kept(**more):
        state = ended(hub, submit(hub, [1], **more))
        end, expires = (datetime.datetime.fromisoformat(state[key].replace("Z", "+00:00")) for key in ("ended", "expires"))
        return round((expires - end).total_seconds())

    assert kept() == 600 and kept(expires_s=most) == most
    reply = hub.post(RUN, json={"data": [1], "asynchronous": True, "expires_s": most + 1})
    assert reply.status_code == 400 and f"expires_s is more than {most} seconds" in reply.json()["error"], reply.text
    assert hub.stop() == 0


# --- who may ---
def test_a_task_is_its_users(served):
    ann, bob = served.user("ann"), served.user("bob")
    task = submit(served, [1], token=ann)
    assert result(served, task, token=ann).status_code == result(served, task).status_code == 200
    none = "0" * 32
    for method, rest in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("GET", "?wait_s=5"), ("DELETE", "")):
        other = served.request(method, f"/api/v1/tasks/{task}{rest}", token=bob)
        absent = served.request(method, f"/api/v1/tasks/{none}{rest}", token=bob)
        assert other.status_code == absent.status_code == 404
        assert other.json()["error"].replace(task, none) == absent.json()["error"]
    assert served.get("/api/v1/tasks", token=bob).json() == {"tasks": []}
    assert [one["task_id"] for one in served.get("/api/v1/tasks", token=ann).json()["tasks"]] == [task]
    reply = served.post(RUN, json={"data": [1], "asynchronous": True}, token=None)
    assert reply.status_code == 401 and "needs a token" in reply.json()["error"]


def test_access_is_asked_again_when_it_starts(small):
    bob, eve = small.user("bo"), small.user("eve")
    blocker = submit(small, "hang", ACTOR)
    running(small, blocker)
    narrowed, removed = submit(small, [1], token=bob), submit(small, [1], token=eve)
    assert small.request("PUT", "/api/v1/servables/admin/identity/access", json={"visible_to": ["public"], "run_by": ["user:eve"]}).status_code == 200
    assert small.request("DELETE", "/api/v1/users/eve").status_code == 204
    assert small.request("DELETE", f"/api/v1/tasks/{blocker}").status_code == 200
    assert ended(small, narrowed, bob)["error"]["code"] == "PERMISSION_DENIED"
    assert ended(small, removed)["status"] == "cancelled"
    again = small.user("eve")  # another of that name
    assert small.get(f"/api/v1/tasks/{removed}", token=again).status_code == 404


# --- what is accepted is kept ---
def test_large_inputs_and_results_lie_in_files(served):
    files = lambda: [path.name for path in (served.data / "tasks").iterdir() if path.name.startswith(task)]
    rows = [float(i) for i in range(60000)]
    task = submit(served, rows)
    assert result(served, task).json() == [rows]
    assert wait_for(lambda: files() == [f"{task}.result"], what="the input's end")
    assert served.request("DELETE", f"/api/v1/tasks/{task}").status_code == 204
    assert not files()
    task = submit(served, [rows[:5000]] * 100, key="each")
    assert result(served, task).json() == [[rows[:5000]]] * 100
    assert look(served, task)["result"]["bytes"] > 100 * 20000
    served.request("DELETE", f"/api/v1/tasks/{task}")


class Submitters:
    """Threads that submit as fast as they can, and know what was acknowledged."""

    def __init__(self, hub, most, threads=8):
        self.hub, self.most, self.accepted, self.lock, self.next = hub, most, {}, threading.Lock(), 0
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.work = [self.pool.submit(self.run) for _ in range(threads)]

    def run(self):
        line = Connection(self.hub, timeout=60)
        while True:
            with self.lock:
                self.next += 1
                number = self.next
            if number > self.most:
                return
            data = [number] * (20000 if number % 500 == 0 else 3)  # some in files
            try:
                reply = line.request("POST", RUN, json.dumps({"data": data, "asynchronous": True}).encode(), self.hub.token)
            except (OSError, AssertionError):
                return  # the hub is dead
            if reply.status == 202:
                self.accepted[reply.json()["task_id"]] = data

    def wait(self):
        for one in self.work:
            one.result()


def stop_workers(hub):
    """Stops every worker of the hub as it is; their pids."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[0].endswith(b"dlhub-worker-native") and descends(path.parent, hub.process.pid):
                found.append(int(path.parent.name))
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    assert found
    return found


def descends(process, ancestor):
    while (parent := int((process / "stat").read_text().rpartition(")")[2].split()[1])) > 1:
        if parent == ancestor:
            return True
        process = process.parent / str(parent)
    return False


@pytest.mark.parametrize("count, kill_at", [(2000, 400), (12000, 10000)])
def test_kill_9_loses_no_accepted_task(tmp_path, identity_onnx, count, kill_at):
    hub = HubProcess(tmp_path / "hub", "--limits.tasks_running", "16", "--worker.max", "1")
    publish(hub, identity_onnx)
    assert hub.post(RUN, json={"data": [1]}).status_code == 200
    stopped = stop_workers(hub)  # so that they are open when the hub dies, some of them at a worker
    submitters = Submitters(hub, count)
    wait_for(lambda: len(submitters.accepted) >= kill_at, what="the tasks")
    hub.process.send_signal(signal.SIGKILL)
    hub.process.wait(30)
    submitters.wait()
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    accepted = dict(submitters.accepted)
    hub.stop()

    def open_ones():
        with sqlite3.connect(f"file:{hub.data}/catalog.sqlite?mode=ro", uri=True) as catalog:
            return catalog.execute("SELECT count(*) FROM run_task WHERE ended_ms = 0").fetchone()[0]
    assert open_ones() >= kill_at
    hub.flags = ()
    hub.start()
    more = Submitters(hub, 100)  # new ones come while the old go on
    more.wait()
    accepted.update(more.accepted)
    assert len(accepted) >= kill_at + 100
    wait_for(lambda: open_ones() == 0, seconds=60, what="the end of all")
    with sqlite3.connect(f"file:{hub.data}/catalog.sqlite?mode=ro", uri=True) as catalog:
        rows = dict(catalog.execute("SELECT id, status FROM run_task"))
    assert set(accepted) <= set(rows) and set(rows.values()) == {"succeeded"}
    line = Connection(hub)
    for task, data in accepted.items():
        reply = line.request("GET", f"/api/v1/tasks/{task}/result", None, hub.token)
        assert reply.status == 200 and reply.json() == [data], task
    assert hub.stop() == 0, hub.log_text()


def test_what_may_not_run_twice_does_not(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--limits.tasks_running", "1")
    publish_actor(hub, idempotent=False)
    begun, waiting = submit(hub, "hang", ACTOR), submit(hub, "b", ACTOR)
    running(hub, begun)
    hub.stop(signal.SIGKILL)
    hub.start()
    state = ended(hub, begun)
    assert state["status"] == "failed" and "not idempotent" in state["error"]["message"]
    assert ended(hub, waiting)["status"] == "succeeded"
    assert hub.stop() == 0


def test_a_hub_that_ends_goes_on_later(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--limits.tasks_running", "2")
    publish(hub, identity_onnx)
    tasks = [submit(hub, [i]) for i in range(200)]
    assert hub.stop() == 0, hub.log_text()
    hub.start()
    for i, task in enumerate(tasks):
        assert result(hub, task).json() == [[i]]
    assert hub.stop() == 0, hub.log_text()


def test_a_result_outlives_its_servable(small):
    task = submit(small, [1, 2])
    assert result(small, task).json() == [[1, 2]]
    assert small.request("DELETE", "/api/v1/servables/admin/identity").status_code == 204
    assert result(small, task).json() == [[1, 2]]
    assert small.get(RUN).status_code in (404, 405)
