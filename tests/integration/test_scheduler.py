"""Batches, replicas, cancellation: what callers see of the scheduler, with real workers."""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import threading
import time

import pytest

from raw_http import Connection
from support import BIN, ROOT, HubProcess, document, wait_for

ROWS = {"type": "ndarray", "shape": [None, 2], "item_type": {"type": "float", "dtype": "FP64"}}
STRING = {"type": "string"}

CODE = '''
import os, time, uuid
import numpy as np
from dlhub_worker import cancelled, progress

LIFE = str(uuid.uuid4())  # of this process

def rows(x):
    """Slow enough that a batch forms behind it. Column 0 is the number, column 1 says what to do."""
    until = x[:, 1].max()
    if until > 1:
        time.sleep(max(0.0, until - time.time()))  # a point in time: whoever runs it again does not wait again
    else:
        time.sleep(0.1)
    if (x[:, 1] < 0).any():
        raise ValueError("a bad row among %d" % len(x))
    return np.stack([np.sqrt(x[:, 0]), np.full(len(x), 1.0)], axis=1)

def lose(x):
    """Gives one row less than it was given."""
    time.sleep(0.1)
    return x[:max(1, len(x) - 1)]

def act(what):
    if what == "heed":
        while not cancelled():
            time.sleep(0.005)
        return "stopped"
    if what == "deaf":
        while True:
            time.sleep(0.005)
    if what.startswith("sleep"):
        time.sleep(float(what.split()[1]))
    return LIFE
'''


def servable(name, input_type, output_type):
    return {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": input_type, "output": output_type,
                                "method_details": {"module": "code_of_it", "method_name": name}}}}


def publish(hub, name, input_type=STRING, output_type=STRING, **serving):
    example = [[4.0, 0.0]] if input_type is ROWS else "x"
    task = hub.publish({**document(name, serving=serving), "servable": servable(name, input_type, output_type),
                        "golden": {"request": {"data": example}}}, CODE, "code_of_it.py")
    assert task["status"] == "succeeded", task


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The data folder of a hub that has all three, to be copied."""
    hub = HubProcess(tmp_path_factory.mktemp("published") / "hub")
    publish(hub, "rows", ROWS, ROWS, batch={"max": 64})
    publish(hub, "lose", ROWS, ROWS, batch={"max": 64})
    publish(hub, "act", idle_s=1)
    assert hub.stop() == 0, hub.log_text()
    return hub.data


@pytest.fixture
def start_hub(published, tmp_path):
    started = []

    def start(*flags):
        shutil.copytree(published, tmp_path / "hub", symlinks=True)
        started.append(HubProcess(tmp_path / "hub", *flags))
        return started[0]
    yield start
    for hub in started:
        assert hub.stop() == 0, hub.log_text()


@pytest.fixture
def batching_hub(start_hub):
    return start_hub("--worker.replicas", "1")


def ask(hub, name, data, **more):
    return hub.post(f"/api/v1/servables/admin/{name}/run", json={"data": data, **more}, headers={"X-DLHub-Timing": "1"})


def rows_together(reply):
    return int(re.search(r"rows=(\d+)", reply.headers["Server-Timing"]).group(1))


def ask_many(hub, name, inputs, **more):
    with concurrent.futures.ThreadPoolExecutor(len(inputs)) as pool:
        return list(pool.map(lambda data: ask(hub, name, data, **more), inputs))


def value(reply):
    (output,) = reply.json()
    return output


def test_what_a_batch_gives_is_what_each_would_get_alone(batching_hub):
    inputs = [[[float(10 * i + k), 0.0] for k in range(1 + i % 3)] for i in range(12)]
    alone = [value(ask(batching_hub, "rows", data)) for data in inputs]
    replies = ask_many(batching_hub, "rows", inputs)
    assert [value(reply) for reply in replies] == alone  # to the last bit: JSON numbers read back as they are
    assert max(map(rows_together, replies)) > 3
    statistics = batching_hub.get("/v2/models/admin/rows/stats").json()["model_stats"][0]
    assert statistics["execution_count"] < statistics["inference_count"]


def test_one_bad_row_spoils_nobody_elses(batching_hub):
    inputs = [[[float(i), -1.0 if i == 5 else 0.0]] for i in range(10)]
    replies = ask_many(batching_hub, "rows", inputs)
    bad = replies.pop(5)
    assert bad.status_code >= 400 and "a bad row among 1" in bad.json()["error"]
    assert all(reply.status_code == 200 for reply in replies), [reply.text for reply in replies]
    assert "isolated" in bad.headers["Server-Timing"] or rows_together(bad) == 1


def test_a_servable_that_gives_other_rows_is_run_alone(batching_hub):
    replies = ask_many(batching_hub, "lose", [[[float(i), 2.0 * i]] for i in range(8)])
    assert [value(reply) for reply in replies] == [[[float(i), 2.0 * i]] for i in range(8)]
    assert all(rows_together(reply) == 1 for reply in replies)


def test_a_deadline_inside_a_batch(batching_hub):
    """The hurried one is told in time; those that were joined with it are answered."""
    assert ask(batching_hub, "rows", [[1.0, 0.0]]).status_code == 200
    until = time.time() + 1.5
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, batching_hub, "rows", [[1.0, 0.0]])  # what comes now waits, and is joined
        others = [pool.submit(ask, batching_hub, "rows", [[float(i), until]]) for i in range(4)]
        hurried = pool.submit(ask, batching_hub, "rows", [[9.0, until]], timeout_s=0.6)
        reply = hurried.result()
        assert reply.status_code == 504 and "deadline" in reply.json()["error"]
        assert time.time() < until
        assert first.result().status_code == 200
        assert [value(other.result())[0][0] for other in others] == [i ** 0.5 for i in range(4)]


def descendants(pid):
    """Processes below `pid` that have none below them."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    children.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass

    def leaves(one):
        return [leaf for child in children.get(one, []) for leaf in leaves(child)] or [one]
    return [leaf for leaf in leaves(pid) if leaf != pid]


def pending_runs(hub, name):
    (line,) = [line for line in hub.get("/metrics").text.splitlines()
               if line.startswith("nv_inference_pending_request_count{") and f'model="admin/{name}"' in line]
    return float(line.split()[-1])


def test_a_worker_killed_in_mid_batch_loses_nothing(batching_hub):
    assert ask(batching_hub, "rows", [[1.0, 0.0]]).status_code == 200
    until = time.time() + 1.2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(ask, batching_hub, "rows", [[float(i), until]]) for i in range(8)]

        wait_for(lambda: pending_runs(batching_hub, "rows") == 8, what="the runs to have come")
        for pid in descendants(batching_hub.process.pid):
            os.kill(pid, signal.SIGKILL)
        assert [value(run.result())[0][0] for run in runs] == [i ** 0.5 for i in range(8)]


# --- how many workers ---

def worker_count(hub):
    return hub.get("/api/v1/hub").json()["workers"]


def test_replicas_between_their_bounds(start_hub):
    hub = start_hub()
    dlhub_block = hub.get("/api/v1/servables/admin/act").json()["dlhub"]
    dlhub_block["serving"] = {"replicas": {"min": 2, "max": 3}, "idle_s": 1}
    assert hub.request("PATCH", "/api/v1/servables/admin/act", json={"dlhub": dlhub_block}).status_code == 200
    assert ask(hub, "act", "x").status_code == 200
    wait_for(lambda: worker_count(hub) == 2, what="the least that the publisher wants")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(ask, hub, "act", "sleep 0.4") for _ in range(8)]
        most = 0

        def see():
            nonlocal most
            most = max(most, worker_count(hub))
            return all(run.done() for run in runs)
        wait_for(see, what="the runs to end")
        assert all(run.result().status_code == 200 for run in runs)
    assert most == 3
    wait_for(lambda: worker_count(hub) == 2, what="the third to end")


def test_workers_wait_for_what_was_published(hub):
    publish(hub, "act", replicas={"min": 2})
    wait_for(lambda: worker_count(hub) == 2, what="workers before any run")


def test_workers_wait_for_runs_after_a_restart(hub):
    """Ready before anybody asks; no more than there is room for, and none for those that want none."""
    publish(hub, "act", replicas={"min": 2})
    publish(hub, "lose", ROWS, ROWS)
    publish(hub, "rows", ROWS, ROWS, replicas={"min": 1})

    def ready(name):
        return sum("worker ready" in line and f"admin/{name}@" in line for line in hub.log_text().splitlines())
    hub.stop()
    before = {name: ready(name) for name in ("act", "lose", "rows")}
    hub.start()
    wait_for(lambda: (ready("act"), ready("rows")) == (before["act"] + 2, before["rows"] + 1), what="workers before any run")
    assert ready("lose") == before["lose"] and worker_count(hub) == 3
    statistics = hub.get("/v2/models/admin/act/stats").json()["model_stats"][0]
    assert statistics["inference_count"] == 0
    hub.stop()
    flags, before = hub.flags, {name: ready(name) for name in ("act", "rows")}
    hub.flags = (*flags, "--worker.max", "2")
    hub.start()
    wait_for(lambda: "start when they are first run" in hub.log_text(), what="the word that there is no room for all")
    wait_for(lambda: ready("act") == before["act"] + 2, what="those for which there is")
    assert ready("rows") == before["rows"] and worker_count(hub) == 2
    assert ask(hub, "rows", [[1.0, 0.0]]).status_code == 200


def test_to_zero_and_back(start_hub):
    hub = start_hub()
    (before,) = ask(hub, "act", "x").json()
    wait_for(lambda: worker_count(hub) == 0, what="the end of the idle worker")
    (after,) = ask(hub, "act", "x").json()  # held while one starts
    assert before != after


# --- too much ---

def test_overload_is_told_and_does_not_shut_others_out(start_hub):
    """One caller asks for ten times what there is; another one's few runs are all answered, and quickly enough."""
    hub = start_hub("--worker.replicas", "1", "--limits.queue_runs", "4")
    assert ask(hub, "act", "sleep 0.02").status_code == 200
    other = hub.user("other")
    stop = threading.Event()

    def ask_too_much():
        replies = []
        while not stop.is_set():
            replies.append(ask(hub, "act", "sleep 0.02"))
        return replies
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        greedy = [pool.submit(ask_too_much) for _ in range(12)]
        wait_for(lambda: pending_runs(hub, "act") >= 4, what="a full queue")
        modest = [hub.post("/api/v1/servables/admin/act/run", token=other, json={"data": "sleep 0.02"}) for _ in range(20)]
        stop.set()
        replies = [reply for one in greedy for reply in one.result()]
    assert [reply.status_code for reply in modest] == [200] * 20
    assert {reply.status_code for reply in replies} == {200, 429}
    refused = [reply for reply in replies if reply.status_code == 429]
    assert all(int(reply.headers["Retry-After"]) >= 1 and "limits.queue_runs" in reply.json()["error"] for reply in refused)


# --- nobody waits any more ---

@pytest.fixture
def acting_hub(start_hub):
    return start_hub("--worker.replicas", "1", "--limits.cancel_s", "1")


def leave(hub, what):
    """Starts a run, waits until its worker is at it, and hangs up."""
    line = Connection(hub)
    with line:
        body = json.dumps({"data": what, "timeout_s": 60})
        line.send(f"POST /api/v1/servables/admin/act/run HTTP/1.1\r\nHost: {line.host}\r\n"
                  f"Authorization: Bearer {hub.token}\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        wait_for(lambda: ask(hub, "act", "x", timeout_s=0.05).status_code == 504, what="the run to begin")


def test_a_servable_that_asks_stops_when_its_caller_has_gone(acting_hub):
    (life,) = ask(acting_hub, "act", "x").json()
    leave(acting_hub, "heed")
    assert ask(acting_hub, "act", "x").json() == [life]  # the same process: it was told, and stopped by itself


def test_one_that_does_not_ask_is_ended(acting_hub):
    (life,) = ask(acting_hub, "act", "x").json()
    leave(acting_hub, "deaf")
    reply = ask(acting_hub, "act", "x")
    assert reply.status_code == 200 and reply.json() != [life], reply.text


# --- a worker that lies ---

LIAR = '''#!/usr/bin/python3
# A worker that speaks the frames, and breaks their rules where its input says so.
import json, socket, sys, time, uuid
sys.path.insert(0, FRAMES)
from frames import HEADER, LOAD, PROGRESS, READY, RESULT, RUN, VERSION, decode_run, encode, encode_run

if "--zygote" in sys.argv:
    sys.exit(1)
LIFE = str(uuid.uuid4())
hub = socket.socket(fileno=3)

def read(size):
    data = b""
    while len(data) < size:
        piece = hub.recv(size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data

def answer(run, text):
    payload = encode_run("", [("output", "JSON", [], json.dumps(text).encode())])
    hub.sendall(encode(RESULT, payload, run, deadline_ns=1000))  # a microsecond: it is given much ahead

while True:
    length, kind, _, run, _ = HEADER.unpack(read(HEADER.size))
    payload = read(length)
    if kind == LOAD:
        ready = {"frame_version": VERSION, "framework": "none", "engine": "liar", "load_ms": 0}
        hub.sendall(encode(READY, json.dumps(ready).encode()))
    if kind != RUN:
        continue
    what = json.loads(decode_run(payload, {})[0][0][3])
    if what.startswith("sleep"):
        time.sleep(float(what.split()[1]))
    if what == "unknown":
        answer(run + 12345, "whose?")
    if what == "progress of another":
        hub.sendall(encode(PROGRESS, b"{}", run + 12345))
    if what == "progress that is none":
        hub.sendall(encode(PROGRESS, b"[1", run))
    answer(run, LIFE)
    if what == "twice":
        answer(run, "again")
'''


@pytest.fixture
def lying_hub(start_hub, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dlhub-worker-native", "dlhub-build"):
        (programs / name).symlink_to(BIN / name)
    liar = programs / "dlhub-worker-python"
    liar.write_text(LIAR.replace("FRAMES", repr(str(ROOT / "tests" / "worker")), 1))
    liar.chmod(0o755)
    return start_hub("--worker.replicas", "1", "--worker.programs", programs)


@pytest.mark.parametrize("lie", ["twice", "unknown", "progress of another", "progress that is none"])
def test_a_worker_that_breaks_the_rules_is_ended(lying_hub, lie):
    (before,) = ask(lying_hub, "act", "x").json()
    assert ask(lying_hub, "act", "x").json() == [before]
    ask(lying_hub, "act", lie)

    def is_another():
        reply = ask(lying_hub, "act", "x")
        return reply.status_code == 200 and reply.json() != [before]
    wait_for(is_another, what="another worker")
    assert "broke the protocol" in lying_hub.log_text()


def test_a_late_answer_is_dropped(lying_hub):
    """Of a run that was given ahead and whose deadline passed before its worker came to it."""
    lives = {ask(lying_hub, "act", "x").json()[0] for _ in range(3)}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = pool.submit(ask, lying_hub, "act", "sleep 0.08")
        late = [pool.submit(ask, lying_hub, "act", "x", timeout_s=0.03) for _ in range(4)]
        lives.add(slow.result().json()[0])
        assert {reply.result().status_code for reply in late} <= {200, 504}
    lives.update(ask(lying_hub, "act", "x").json()[0] for _ in range(3))
    assert len(lives) == 1  # it was heard, forgiven, and goes on


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_native_workers_may_run_on_every_processor(start_hub):
    """OpenVINO binds threads at each inference to the processors that it saw when the model was read."""
    import onnx
    from onnx import TensorProto, helper
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    hub = start_hub()
    task = hub.publish(document("one", serving={"replicas": {"min": 3, "max": 3}}), model.SerializeToString())
    assert task["status"] == "succeeded", task
    wait_for(lambda: hub.post("/api/v1/servables/admin/one/run", json={"data": [1]}).status_code == 200 and
             hub.log_text().count(": worker ready") >= 3, what="three workers")
    workers = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and belongs_to(hub, pid)]
    bound = {thread: os.sched_getaffinity(int(thread)) for pid in workers for thread in os.listdir(f"/proc/{pid}/task")}
    assert len(bound) > 3 and set(map(frozenset, bound.values())) == {frozenset(os.sched_getaffinity(0))}, bound


def belongs_to(hub, pid):
    """A native worker of the hub's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
    except OSError:
        return False
    return command.split(b"\0")[0].endswith(b"dlhub-worker-native") and bytes(hub.data) in command
