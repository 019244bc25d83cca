"""Several workers of a version: the first loads by itself, the others are forked from the version's zygote."""
import os
import pathlib
import signal

import pytest

from support import HubProcess, document, wait_for

INFER = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2.5]}]}
COUNTER = '''
import os
def f(x: str) -> str:
    return str(os.getpid())
'''
THREADED = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n" + COUNTER


@pytest.fixture
def hub(tmp_path):
    process = HubProcess(tmp_path / "hub")
    yield process
    assert process.stop() == 0, process.log_text()


def processes():
    """{pid: (parent, command line)} of all that can be seen."""
    found = {}
    for path in pathlib.Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                status = (path / "stat").read_text().rpartition(")")[2].split()
                found[int(path.name)] = (int(status[1]), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                pass
    return found


def below(pid, all_of_them):
    """`pid`'s descendants, a parent before its children."""
    found = []
    for child, (parent, _) in sorted(all_of_them.items()):
        if parent == pid:
            found += [child, *below(child, all_of_them)]
    return found


def family(hub):
    """The zygotes of a hub and the workers of each: [(pid, [pid, …])]. What was started is three processes: one that waits,
    one that reaps, one that works (SECURITY.md)."""
    seen = processes()
    started = [pid for pid, (parent, _) in seen.items() if parent == hub.process.pid and "--zygote" in seen[pid][1]]
    found = []
    for waits in started:
        line = below(waits, seen)
        if len(line) >= 2:
            found.append((line[1], [pid for pid in line[2:] if seen[pid][0] == line[1]]))
    return found


def forked(hub, count, run):
    """Runs until one zygote has so many workers; returns both."""
    def found():
        run(hub)
        families = family(hub)
        return families[0] if len(families) == 1 and len(families[0][1]) == count else None
    return wait_for(found, what=f"a zygote with {count} workers")


def publish(hub, identity_onnx, replicas):
    serving = {"replicas": {"min": replicas, "max": replicas}}
    task = hub.publish(document("identity", serving=serving), identity_onnx)
    assert task["status"] == "succeeded", task


def infer(hub):
    return hub.post("/v2/models/admin/identity/infer", json=INFER).json()["outputs"][0]["data"]


def publish_python(hub, code, replicas):
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "code", "method_name": "f"}}}}
    serving = {"replicas": {"min": replicas, "max": replicas}}
    task = hub.publish({**document("counter", serving=serving), "servable": servable}, code, "code.py")
    assert task["status"] == "succeeded", task


def count(hub):
    answer = hub.post("/api/v1/servables/admin/counter/run", json={"data": "x"})
    assert answer.status_code == 200, answer.text
    return int(answer.json()[0])


def test_native_workers_come_from_one_zygote(hub, identity_onnx):
    publish(hub, identity_onnx, 4)
    assert infer(hub) == [2.5]
    zygote, workers = forked(hub, 3, infer)
    assert infer(hub) == [2.5]
    # one that dies has another forked in its place
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: "was killed by SIGKILL" in hub.log_text(), what="the end of a worker")
    again, others = forked(hub, 3, infer)
    assert again == zygote and workers[0] not in others and set(workers[1:]) < set(others)


def test_a_zygote_that_dies_takes_its_workers_along_and_nothing_else(hub, identity_onnx):
    publish(hub, identity_onnx, 3)
    assert infer(hub) == [2.5]
    zygote, workers = forked(hub, 2, infer)
    os.kill(zygote, signal.SIGKILL)
    wait_for(lambda: not {zygote, *workers} & set(processes()), what="the end of the zygote's workers")
    wait_for(lambda: "2 workers ended with it" in hub.log_text(), what="the hub's word of it")
    for _ in range(10):
        assert infer(hub) == [2.5]


def test_python_workers_come_from_one_zygote(hub):
    publish_python(hub, COUNTER, 4)
    count(hub)
    zygote, workers = forked(hub, 3, count)
    # in their own numbering of processes: the zygote's is 2, the worker that was started is 2 as well
    assert {count(hub) for _ in range(4)} <= {2, *range(3, 6)}
    os.kill(workers[1], signal.SIGKILL)
    wait_for(lambda: "was killed by SIGKILL" in hub.log_text(), what="the end of a worker")
    again, others = forked(hub, 3, count)
    assert again == zygote and workers[1] not in others


def test_a_servable_that_starts_a_thread_is_not_forked(hub):
    publish_python(hub, THREADED, 3)
    count(hub)
    wait_for(lambda: hub.log_text().count("worker ready") >= 3, what="three workers")
    wait_for(lambda: not family(hub), what="the end of the zygote")
    log = hub.log_text()
    assert log.count("it has 2 threads, so each worker of this version loads by itself") == 1
    assert count(hub) == 2


def test_zygotes_can_be_turned_off(tmp_path, identity_onnx):
    process = HubProcess(tmp_path / "hub", "--worker.zygotes", "0")
    try:
        publish(process, identity_onnx, 3)
        assert infer(process) == [2.5]
        wait_for(lambda: process.log_text().count("worker ready") >= 3, what="three workers")
        assert not family(process)
    finally:
        assert process.stop() == 0, process.log_text()
