"""Workers that are forked from a zygote: they are as if each had been started, and share what was loaded."""

import json
import os
import select
import signal
import socket
import struct
import subprocess

import numpy as np
import pytest
from frames import ERROR, READY, REFUSED, WorkerFailed, WorkerGone, Zygote
from test_frameworks import models, sklearn_document  # noqa: F401
from test_native import NativeWorker, floats
from test_native import serve as serve_native  # noqa: F401
from workers import PYTHON, function, in_environment, program

TEXT = {"type": "string"}
STRAIGHT = {"type": "python object"}


@pytest.fixture
def zygote(worker):
    """zygote(code, environment=…) -> a Zygote of the function f of that module, and what it answered to LOAD."""

    def start(code, environment=None, source=STRAIGHT, result=STRAIGHT, **files):
        document = function(source, result)
        hub = worker(document, {"code.py": code, **files}, environment, load=False, options=("--zygote", "8"))
        one = Zygote(hub)
        one.kind, one.answer = one.load({"directory": hub.model, **document})
        return one

    return start


def run(worker, value=None):
    return worker.run_json(value)


def test_loaded_once(zygote):
    one = zygote("import os\nprint('loading')\nloaded = os.getpid()\ndef f(x): return [loaded, os.getpid(), os.getppid()]")
    assert one.kind == READY and one.answer["engine"] == "python"
    assert one.hub.logs == ["stdout: loading"]
    workers = [one.fork() for _ in range(3)]
    answers = [run(worker) for worker in workers]
    assert len({own for _, own, _ in answers}) == 3
    assert {(loaded, parent) for loaded, _, parent in answers} == {(answers[0][0], answers[0][0])}
    assert [worker.ready["framework"] for worker in workers] == [one.answer["framework"]] * 3


def test_state_is_their_own(zygote):
    one = zygote("calls = []\ndef f(x):\n  calls.append(x)\n  return calls")
    a, b = one.fork(), one.fork()
    assert run(a, 1) == [1] and run(a, 2) == [1, 2]
    assert run(b, 3) == [3] and run(one.fork(), 4) == [4]


def test_output_is_their_own(zygote):
    one = zygote("import os\ndef f(x):\n  print(x)\n  return [os.fstat(1).st_ino, os.fstat(2).st_ino]")
    workers = [one.fork() for _ in range(3)]
    files = set()
    for i, worker in enumerate(workers):
        outputs, metadata = worker.run_raw([("input", "JSON", [], b'"%d"' % i)], output=True)
        assert metadata["stdout"] == f"{i}\n"
        files |= set(json.loads(outputs[0][3]))
    assert len(files) == 6


def test_temporary_files_are_their_own(zygote):
    code = """
import os, pathlib, tempfile
def f(x):
    path = pathlib.Path(tempfile.gettempdir(), "fixed")
    before = path.read_text() if path.exists() else None
    path.write_text(str(x))
    return [before, tempfile.gettempdir(), sorted(name for name in os.listdir(path.parent.parent) if name.startswith("worker-"))]
"""
    one = zygote(code)
    a, b = one.fork(), one.fork()
    assert run(a, 1)[0] is None and run(b, 2)[0] is None and run(a, 3)[0] == "1"
    folders = [run(worker)[1] for worker in (a, b)]
    assert run(b)[2] == [folder.rpartition("/")[2] for folder in folders]
    a.close()
    one.exited()
    assert run(b)[2] == [folders[1].rpartition("/")[2]]  # what it left is not kept


def test_end_of_a_worker(zygote):
    one = zygote("import os\ndef f(x): os.kill(os.getpid(), x)")
    quiet, crashing, killed = one.fork(), one.fork(), one.fork()
    quiet.close()
    assert one.exited() == (quiet.name, 0)
    with pytest.raises(WorkerGone):
        run(crashing, signal.SIGUSR2)
    assert one.exited() == (crashing.name, signal.SIGUSR2)
    signal.pidfd_send_signal(killed.pidfd, signal.SIGKILL)
    assert one.exited() == (killed.name, signal.SIGKILL)
    assert run(one.fork(), 0) is None  # and there are others


def test_end_of_the_zygote(zygote):
    one = zygote("def f(x): return x")
    workers = [one.fork() for _ in range(3)]
    for worker in workers:
        assert run(worker, 0) == 0
    os.kill(one.hub.process.pid, signal.SIGKILL)
    for worker in workers:
        assert select.select([worker.pidfd], [], [], 30)[0]
        assert worker.sock.recv(1) == b""


# ---- random numbers ----

NUMBERS = """
import os, random, secrets, uuid
{seed}
own = random.Random()
def f(x):
    numbers = [random.random(), own.random(), secrets.randbits(62), str(uuid.uuid4()), os.urandom(8).hex()]
    return numbers + more()
def more(): return []
"""
NUMPY_NUMBERS = """
import numpy as np
generator, legacy = np.random.default_rng(), np.random.RandomState()
def more(): return [float(np.random.rand()), float(generator.random()), float(legacy.rand())]
"""


def test_random_numbers_differ(zygote, environment):
    one = zygote(NUMBERS.format(seed="") + NUMPY_NUMBERS, environment)
    answers = [run(one.fork()) for _ in range(3)]
    for numbers in zip(*answers):
        assert len(set(numbers)) == 3, numbers


def test_what_the_servable_seeds_is_the_same(zygote, environment):
    code = """
import random, numpy as np
random.seed(5); np.random.seed(5)
own, generator, legacy = random.Random(5), np.random.default_rng(5), np.random.RandomState(5)
def f(x): return [random.random(), own.random(), float(np.random.rand()), float(generator.random()), float(legacy.rand())]
"""
    one = zygote(code, environment)
    answers = [run(one.fork()) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][:2] == [0.6229016948897019] * 2 and answers[0][2] == answers[0][4] == pytest.approx(0.22199317)


@pytest.mark.heavy
@pytest.mark.parametrize("seed, same", [("", False), ("torch.manual_seed(5)", True)])
def test_torch(zygote, seed, same):
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode:
        pytest.skip("python3-torch is not installed")
    one = zygote(f"import torch\n{seed}\ndef f(x): return float(torch.rand(1))")
    assert one.kind == READY
    numbers = {run(one.fork()) for _ in range(3)}
    assert len(numbers) == (1 if same else 3)


# ---- what cannot be forked ----


@pytest.mark.parametrize(
    "code, reason",
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "it has 2 threads"),
        ("import socket\nkept = socket.socketpair()", "it keeps a socket open"),
        ("import os\nkept = os.pipe()", "it keeps a pipe open"),
        ("import asyncio\nkept = asyncio.new_event_loop()", "open"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)", "it has memory that its forks would share"),
        ("import subprocess\nkept = subprocess.Popen(['/bin/sleep', '1000'])", "it has child processes"),
        ("import tempfile\nkept = tempfile.TemporaryFile()", "it keeps a file open for writing"),
        ("def note(x): open('/tmp/last', 'w').write(x)", "code.py names files in /tmp"),
    ],
)
def test_refused(zygote, code, reason):
    one = zygote(code + "\ndef f(x): return x")
    assert one.kind == REFUSED and reason in one.answer
    assert one.hub.wait_gone() == 0


@pytest.mark.heavy
def test_tensorflow_is_refused(zygote, heavy_environment):
    one = zygote("import tensorflow as tf\nkept = tf.constant([1.0]) + 1\ndef f(x): return x", heavy_environment)
    assert one.kind == REFUSED and "threads" in one.answer


def test_cannot_be_loaded(zygote):
    one = zygote("raise ValueError('no such thing')")
    assert one.kind == ERROR and "no such thing" in one.answer["message"]


def test_a_file_that_is_read_now_and_then(zygote):
    """Each worker has its own place in a file that the servable opened when it was loaded."""
    code = "data = open('data.txt', 'rb', buffering=0)\ndata.read(1)\ndef f(x): return data.read(1).decode()"
    one = zygote(code, **{"data.txt": "abcd"})
    a, b = one.fork(), one.fork()
    assert [run(a), run(b), run(a), run(b), run(one.fork())] == ["b", "b", "c", "c", "b"]


# ---- the walls ----

ACTOR = """
import os, socket
def f(x):
    what, where = x
    if what == "connect":
        socket.create_connection(("127.0.0.1", where), timeout=2)
    elif what == "read":
        return open(where).read()[:10]
    elif what == "write":
        open(where, "w").write("x")
    elif what == "kill":
        os.kill(where, 9)
    elif what == "memory":
        return len(os.pread(os.open(f"/proc/{where}/mem", os.O_RDONLY), 16, int(open(f"/proc/{where}/maps").read().split("-")[0], 16)))
    elif what == "pid":
        return os.getpid()
    elif what == "control":
        return sorted(os.listdir("/proc/self/fd"))
"""


def test_walls(zygote, tmp_path):
    one = zygote(ACTOR)
    worker, sibling = one.fork(), one.fork()
    (tmp_path / "outside").write_text("outside")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        attempts = [
            ["connect", server.getsockname()[1]],
            ["read", str(tmp_path / "outside")],
            ["read", "/etc/shadow"],
            ["write", "/model/new"],
            ["write", "/usr/new"],
            ["write", str(tmp_path / "new")],
            ["memory", run(sibling, ["pid", 0])],
            ["memory", 1],
        ]
        for attempt in attempts:
            with pytest.raises(WorkerFailed):
                run(worker, attempt)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not (tmp_path / "new").exists()
    # Landlock keeps siblings from signalling each other where it can (its version 6, Linux 6.12).
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):
        with pytest.raises(WorkerFailed, match="PermissionError"):
            run(worker, ["kill", run(sibling, ["pid", 0])])
        assert run(sibling, ["pid", 0])


# ---- frameworks ----


def test_a_forest_computes_the_same(worker, environment, models):  # noqa: F811
    x = np.load(models / "x.npy")
    document = sklearn_document("predict_proba", {"type": "ndarray", "shape": [None, 3]})
    hub = worker(document, {"forest.pkl": (models / "forest.pkl").read_bytes()}, environment, load=False, options=("--zygote", "4"))
    one = Zygote(hub)
    assert one.load({"directory": hub.model, **document})[0] == READY
    workers = [one.fork() for _ in range(2)]
    for each in workers:
        np.testing.assert_allclose(each.run_arrays(x)[0], np.load(models / "proba.npy"), atol=1e-12)


# ---- the native worker ----


def test_native(serve_native):  # noqa: F811
    one = Zygote(serve_native("identity", zygote=True))
    kind, answer = one.load(one.hub.document)
    assert kind == READY and answer["engine"] == "openvino"
    workers = [one.fork() for _ in range(3)]
    for i, worker in enumerate(workers):
        assert worker.ready["engine"] == "openvino"
        assert worker.run_raw([floats("x", [1], [i])])[0] == [floats("y", [1], [i])]
    signal.pidfd_send_signal(workers[0].pidfd, signal.SIGKILL)
    assert one.exited() == (workers[0].name, signal.SIGKILL)
    assert struct.unpack("<f", workers[1].run_raw([floats("x", [1], [7])])[0][0][3]) == (7,)


# Large enough that OpenVINO reads it in parallel, which a zygote must not.
SAVED_MODEL = """
import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, keras
keras.utils.set_random_seed(0)
inputs = keras.Input((8, 8, 1), name="image")
x = keras.layers.Conv2D(16, 3, activation="relu")(inputs)
x = keras.layers.Flatten()(keras.layers.Conv2D(32, 3)(x))
model = keras.Model(inputs, keras.layers.Dense(5, name="code")(x))
model.export("saved")
values = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
np.save("x.npy", values); np.save("y.npy", model.predict(values, verbose=0))
"""


@pytest.mark.heavy
def test_saved_model(heavy_environment, tmp_path):
    in_environment(heavy_environment, SAVED_MODEL, cwd=tmp_path)
    folder, found = tmp_path / "saved", tmp_path / "found.json"
    (tmp_path / "metadata.json").write_text(json.dumps({"dlhub": {"name": "code"}, "datacite": {}}))
    inspect = [program("dlhub-build"), "inspect", "--model", folder, "--metadata", tmp_path / "metadata.json", "--out", found]
    subprocess.run(inspect, check=True, capture_output=True)
    document = json.loads(found.read_text())
    hub = NativeWorker(folder, options=("--zygote", "8"))
    hub.failed = True
    one = Zygote(hub)
    assert one.load({"directory": str(folder), "servable": document["servable"], "dlhub": document["dlhub"]})[0] == READY
    x, y = np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")
    name = document["servable"]["methods"]["run"]["input"]["name"]
    for worker in [one.fork(), one.fork()]:
        outputs = worker.run_raw([(name, "FP32", list(x.shape), x.tobytes())])[0]
        np.testing.assert_allclose(np.frombuffer(outputs[0][3], "float32").reshape(y.shape), y, atol=1e-5)
    hub.failed = False
    hub.close()
