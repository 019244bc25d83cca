"""A servable that crashes, hangs, eats memory, talks nonsense or tries to get out costs its own run only."""
import concurrent.futures
import socket
import threading

import pytest

from support import BIN, HubProcess, document, is_sanitized, wait_for

CODE = '''
import ctypes, os, resource, signal, socket, time

def act(what: str) -> str:
    if what == "crash":
        ctypes.string_at(0)
    if what == "exit":
        os._exit(3)
    if what == "abort":
        os.abort()
    if what == "hang":
        while True:
            time.sleep(0.05)
    if what == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(16 << 20))
    if what == "garbage":
        os.write(3, b"\\xff" * 4096)
        time.sleep(30)
    if what == "close":
        os.close(3)
        return "closed"
    if what.startswith("connect:"):
        socket.create_connection(("127.0.0.1", int(what.split(":")[1])), timeout=2)
        return "connected"
    if what.startswith("write:"):
        open(what.split(":", 1)[1], "w").write("x")
        return "written"
    if what.startswith("read:"):
        return open(what.split(":", 1)[1]).read()[:100]
    if what == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
        return "killed"
    if what == "raise":
        print("about to raise")
        raise ValueError("seven")
    if what == "pid":
        return str(os.getpid())
    return what
'''


@pytest.fixture(scope="module")
def actor(shared_hub):
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "actor", "method_name": "act"}}}}
    task = shared_hub.publish({**document("actor"), "servable": servable}, CODE, "actor.py")
    assert task["status"] == "succeeded", task

    def act(what, **more):
        return shared_hub.post("/api/v1/servables/admin/actor/run", json={"data": what, **more})
    assert act("hello").json() == ["hello"]
    return act


SANITIZED = b"__asan_init" in (BIN / "dlhub-worker-python").read_bytes()


@pytest.mark.parametrize("what", ["crash", "exit", "abort", "garbage", pytest.param("memory", marks=pytest.mark.skipif(
    SANITIZED, reason="AddressSanitizer has no memory limit"))])
def test_a_worker_that_dies_costs_one_run(actor, what):
    answer = actor(what, timeout_s=20)
    assert answer.status_code in (500, 503, 429), answer.text
    assert answer.json()["error"]
    again = actor("after")
    assert again.json() == ["after"], again.text


def test_what_it_had_not_begun_runs_elsewhere(actor):
    """Runs that waited behind the one that crashed are answered by the next worker."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        crash = pool.submit(actor, "crash")
        others = [pool.submit(actor, f"n{i}") for i in range(11)]
        assert crash.result().status_code in (500, 503)
        assert [other.result().json() for other in others] == [[f"n{i}"] for i in range(11)]


def test_a_run_that_hangs_does_not_take_those_before_it_along(actor):
    """What was answered just before, and what waits behind, is answered although the worker had to be stopped."""
    for _ in range(20):
        assert actor("quick").json() == ["quick"]  # makes the credit large
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        before = [pool.submit(actor, f"b{i}") for i in range(5)]
        hang = pool.submit(actor, "hang", timeout_s=0.5)
        after = [pool.submit(actor, f"a{i}") for i in range(5)]
        assert hang.result().status_code == 504
        assert [run.result().json() for run in before + after] == [[f"b{i}"] for i in range(5)] + [[f"a{i}"] for i in range(5)]


def test_a_hanging_run_ends_at_its_deadline(actor):
    answer = actor("hang", timeout_s=0.5)
    assert answer.status_code == 504
    assert "deadline" in answer.json()["error"]
    assert actor("after").json() == ["after"]


def test_the_servables_own_error_comes_with_its_traceback(actor):
    answer = actor("raise", debug=True)
    assert answer.status_code >= 400
    body = answer.json()
    assert "seven" in body["error"] and "ValueError" in body["error"]
    assert "about to raise" in body["metadata"]["stdout"]


def test_no_network(actor):
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = threading.Event()

        def accept():
            try:
                server.accept()
                reached.set()
            except OSError:
                pass
        threading.Thread(target=accept, daemon=True).start()
        answer = actor(f"connect:{server.getsockname()[1]}")
        assert answer.status_code >= 400 and not reached.is_set(), answer.text


def test_no_way_out_of_its_folder(actor, shared_hub, tmp_path):
    for path in (tmp_path / "out", "/model/out", "/usr/out", shared_hub.data / "out"):
        answer = actor(f"write:{path}")
        assert answer.status_code >= 400, (path, answer.text)
    assert not (tmp_path / "out").exists() and not (shared_hub.data / "out").exists()
    for path in (shared_hub.data / "admin.token", "/etc/shadow", "/root/.bashrc"):
        assert actor(f"read:{path}").status_code >= 400, path
    assert actor("write:/tmp/mine").json() == ["written"]


def test_it_sees_no_other_process(actor):
    assert int(actor("pid").json()[0]) < 10


def test_a_pickle_that_opens_a_socket_or_writes(shared_hub, tmp_path):
    """Unpickling happens behind the walls: nothing is reached, nothing is written, and the publisher is told."""
    import pickle
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]

        class Opens:
            def __reduce__(self):
                return (socket.create_connection, (("127.0.0.1", port),))

        class Writes:
            def __reduce__(self):
                return (open, (str(tmp_path / "pwned"), "w"))
        for evil in (Opens(), Writes()):
            task = shared_hub.publish(document("evil"), pickle.dumps(evil), "model.pkl")
            assert task["status"] == "failed", task
            assert task["error"]["message"]
        with pytest.raises(OSError):
            server.accept()
    assert not (tmp_path / "pwned").exists()
    assert shared_hub.get("/api/v1/servables/admin/evil").status_code == 404


def test_workers_of_a_hub_that_requires_every_wall(tmp_path, identity_onnx):
    try:
        hub = HubProcess(tmp_path / "hub", "--worker.sandbox", "require")
    except AssertionError as error:
        pytest.skip(f"this host lacks a part of the sandbox: {error}")
    try:
        serving = {"replicas": {"min": 2, "max": 2}}
        assert hub.publish(document("identity", serving=serving), identity_onnx)["status"] == "succeeded"
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2.5]}]}
        assert hub.post("/v2/models/admin/identity/infer", json=body).json()["outputs"][0]["data"] == [2.5]
        wait_for(lambda: hub.log_text().count("worker ready") >= 2, what="two workers")
    finally:
        assert hub.stop() == 0, hub.log_text()
