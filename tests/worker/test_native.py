"""dlhub-worker-native as the hub starts it: what dlhub-build finds in a model file is what it serves."""

import json
import os
import socket
import struct
import subprocess
import sys
import tarfile

import pytest
from frames import Hub, WorkerFailed
from workers import ROOT, program

sys.path.insert(0, str(ROOT / "tools"))
import make_models  # noqa: E402

SANITIZED = b"__asan_init" in open(program("dlhub-worker-native"), "rb").read()


class NativeWorker(Hub):
    def __init__(self, model, memory=1 << 30, options=()):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        number = theirs.fileno()
        self.process = subprocess.Popen(
            [program("dlhub-worker-native"), "--model", str(model), "--memory", str(memory), *options],
            pass_fds=[3],
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.dup2(number, 3, inheritable=True),
        )
        theirs.close()
        super().__init__(ours)

    def close(self):
        super().close()
        assert self.process.wait(20) == 0 or self.failed


@pytest.fixture
def serve(tmp_path):
    """serve(name of a model, memory=…) -> a worker that has loaded it, as inspected by dlhub-build. zygote=True: the socket of
    a zygote that has loaded nothing yet; `document` is what to load."""
    started = []

    def start(name, zygote=False, **options):
        upload, files, found = tmp_path / f"{name}.tar.gz", tmp_path / name, tmp_path / f"{name}.json"
        metadata = tmp_path / "metadata.json"
        (tmp_path / f"{name}.onnx").write_bytes(make_models.MODELS[name])
        with tarfile.open(upload, "w:gz") as archive:
            archive.add(tmp_path / f"{name}.onnx", f"model/{name}.onnx")
        files.mkdir()
        metadata.write_text(json.dumps({"dlhub": {"name": name}, "datacite": {}}))
        build = program("dlhub-build")
        limits = ["--max-bytes", "10000000", "--max-files", "10"]
        unpack = [build, "unpack", "--archive", upload, "--name", upload.name, "--into", files, *limits]
        subprocess.run(unpack, check=True, capture_output=True)
        inspect = [build, "inspect", "--model", files, "--metadata", metadata, "--out", found]
        subprocess.run(inspect, check=True, capture_output=True)
        document = json.loads(found.read_text())
        assert document["engine"] == "openvino"
        worker = NativeWorker(files, options=("--zygote", "8") if zygote else (), **options)
        worker.failed = True
        started.append(worker)
        worker.document = {"directory": str(files), "servable": document["servable"], "dlhub": document["dlhub"]}
        if not zygote:
            worker.ready = worker.load(worker.document)
        worker.failed = False
        return worker

    yield start
    for worker in started:
        worker.close()


def floats(name, shape, values):
    return (name, "FP32", shape, struct.pack(f"<{len(values)}f", *values))


def test_small_model(serve):
    worker = serve("identity")
    for value in (1.5, -2.0, 3e38):
        outputs, metadata = worker.run_raw([floats("x", [1], [value])])
        assert outputs == [floats("y", [1], [value])] and metadata == {}
    assert worker.ready["engine"] == "openvino"


def test_many_runs_in_one_write(serve):
    worker = serve("identity")
    from frames import RESULT, RUN, decode_run, encode, encode_run

    runs = range(1000, 1064)
    worker.send(b"".join(encode(RUN, encode_run("run", [floats("x", [1], [run])]), run) for run in runs))
    for expected in runs:
        kind, run, payload = worker.next_answer()
        assert (kind, run) == (RESULT, expected)
        assert decode_run(payload, {})[0] == [floats("y", [1], [expected])]


@pytest.mark.parametrize("model", ["large", "large_free"])
def test_large_tensors_both_ways(serve, model):
    worker = serve(model)
    values = [float(i) for i in range(65536)]
    content = struct.pack("<65536f", *values)
    slab = worker.share(content)
    for _ in range(5):
        outputs, _ = worker.run_raw([("x", "FP32", [1, 65536], content)], slabs={0: (slab, 0)})
        assert struct.unpack("<65536f", outputs[0][3]) == tuple(-value for value in values)
    # The slab was given back each time; the last time with or after the last answer.
    assert set(worker.released) <= {slab} and len(worker.released) >= 4


def test_arguments_in_any_order(serve):
    worker = serve("two")
    outputs, _ = worker.run_raw([floats("a", [2], [5, 6]), floats("b", [2], [2, 3])])
    assert dict((name, struct.unpack("<2f", content)) for name, _, _, content in outputs) == {
        "product": (10, 18),
        "difference": (3, 3),
    }


@pytest.mark.parametrize(
    "tensor, words",
    [
        (("x", "FP64", [1, 4], bytes(32)), "FP64 came, but the model takes FP32"),
        (floats("x", [2, 5], [0] * 10), "[2,5]"),
        (floats("z", [1, 4], [0] * 4), "input 'x' is missing"),
    ],
)
def test_an_input_that_does_not_fit(serve, tensor, words):
    worker = serve("relu")
    with pytest.raises(WorkerFailed) as failure:
        worker.run_raw([tensor])
    assert failure.value.document["code"] == "INVALID_ARGUMENT" and words in failure.value.document["message"]
    assert worker.run_raw([floats("x", [1, 4], [-1, 2, -3, 4])])[0] == [floats("y", [1, 4], [0, 2, 0, 4])]


def test_what_openvino_cannot_read(serve):
    with pytest.raises(WorkerFailed) as failure:
        serve("unknown_op")
    assert failure.value.document["code"] == "UNIMPLEMENTED"


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer's own memory lifts the limit")
def test_too_little_memory(serve):
    with pytest.raises(WorkerFailed) as failure:
        serve("identity", memory=16 << 20)
    assert failure.value.document["code"] == "RESOURCE_EXHAUSTED"
    assert "worker.memory_bytes" in failure.value.document["message"]
