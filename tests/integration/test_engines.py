"""Engines: each that could serve a model is tried when it is published; the fastest with the right answers serves."""
import shutil
import subprocess
import tarfile

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from support import BIN, document, is_sanitized, wait_for
from workers import HEAVY_PACKAGES, in_environment, make_environment


def graph(nodes, input_shape, output_shape, weights=(), kind=TensorProto.FLOAT, opset=17):
    """An ONNX file of x to y."""
    x, y = helper.make_tensor_value_info("x", kind, input_shape), helper.make_tensor_value_info("y", kind, output_shape)
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(weights)),
                              opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model.SerializeToString()


WEIGHTS = numpy.random.default_rng(0).random((4, 3), numpy.float32)
MLP = graph([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], [None, 4], [None, 3],
            [numpy_helper.from_array(WEIGHTS, "w")])
# As layers that normalize over a batch do: each row's answer depends on the others.
NORMALIZED = graph([helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]), helper.make_node("Sub", ["x", "m"], ["y"])],
                   [None, 4], [None, 4])
SUMMED = graph([helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)], [None, 4], [None, 4],
               [numpy_helper.from_array(numpy.int64([0]), "axes")])
# Past 32 bits, where OpenVINO does not compute.
LARGE = graph([helper.make_node("Mul", ["x", "w"], ["y"])], [None], [None],
              [numpy_helper.from_array(numpy.int64(3_000_000_000), "w")], TensorProto.INT64)


def publish(hub, name, model, golden=None, **serving):
    described = document(name, **({"serving": serving} if serving else {}))
    return hub.publish({**described, "golden": golden} if golden else described, model)


def serving(hub, name):
    """(its serving record, {engine: row of the table})"""
    record = hub.get(f"/api/v1/servables/admin/{name}").json()["serving"]
    return record, {row["engine"]: row for row in record["engines"]}


def platform(hub, name):
    return hub.get(f"/v2/models/admin/{name}").json()["platform"]


def run(hub, name, data):
    answer = hub.post(f"/api/v1/servables/admin/{name}/run", json={"data": data})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def test_quick_tries_what_needs_no_environment(shared_hub):
    task = publish(shared_hub, "quick", MLP)
    assert task["status"] == "succeeded" and task["result"]["engine"] == "openvino", task
    record, engines = serving(shared_hub, "quick")
    assert engines["openvino"]["state"] == "serves" and engines["openvino"]["ms_1"] > 0 and engines["openvino"]["ms_32"] > 0
    assert engines["onnxruntime"]["state"] in ("skipped", "equal")  # another test may have made its environment
    if engines["onnxruntime"]["state"] == "skipped":
        assert "all" in engines["onnxruntime"]["reason"] and "run" not in engines["onnxruntime"]


@pytest.mark.parametrize("name, model, reason", [("mlp", MLP, None), ("normalized", NORMALIZED, "rows change each other"),
                                                 ("summed", SUMMED, "a row for each")],
                         ids=["mlp", "normalized", "summed"])
def test_batches_are_proved(shared_hub, name, model, reason):
    assert publish(shared_hub, name, model)["status"] == "succeeded"
    batch = serving(shared_hub, name)[0]["batch"]
    assert batch["axis"] == 0 and batch["proved"] is (reason is None)
    assert reason is None or reason in batch["reason"], batch


def test_whoever_says_what_of_batches_is_not_asked_for_proof(shared_hub):
    assert publish(shared_hub, "said", NORMALIZED, batch=False)["status"] == "succeeded"
    assert "batch" not in serving(shared_hub, "said")[0]


def test_all_engines_are_compared_and_one_can_be_pinned(shared_hub):
    task = publish(shared_hub, "all", MLP, engines="all")
    assert task["status"] == "succeeded", task
    record, engines = serving(shared_hub, "all")
    assert {row["state"] for row in engines.values()} == {"serves", "equal"}
    assert all(row["ms_1"] > 0 and row["batch"]["proved"] for row in engines.values())
    assert engines["onnxruntime"]["framework"].startswith("ONNX Runtime")
    x = [[1, 2, 3, 4]]
    for engine in ("onnxruntime", "openvino", "onnxruntime"):
        wish = {**document("all")["dlhub"], "serving": {"engine": engine}}
        reply = shared_hub.request("PATCH", "/api/v1/servables/admin/all", json={"dlhub": wish})
        assert reply.status_code == 200, reply.text
        assert platform(shared_hub, "all") == f"dlhub_{engine}"  # at once
        numpy.testing.assert_allclose(run(shared_hub, "all", x), numpy.float32(x) @ WEIGHTS, rtol=1e-5)
    # The content alone is the version: which engines were tried, and which serves, is not of it.
    assert publish(shared_hub, "all", MLP)["result"]["version"] == task["result"]["version"]


def test_a_pin_is_kept_at_publish_or_fails_with_the_reason(shared_hub):
    task = publish(shared_hub, "pinned", MLP, engine="onnxruntime")
    assert task["status"] == "succeeded" and task["result"]["engine"] == "onnxruntime", task
    task = publish(shared_hub, "stranger", MLP, engine="keras")
    assert task["status"] == "failed" and "keras" in task["error"]["message"] and "onnxruntime" in task["error"]["hint"]
    golden = {"request": {"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}]},
              "response": {"outputs": [{"name": "y", "shape": [2], "datatype": "INT64",
                                        "data": [3_000_000_000, 6_000_000_000]}]}}
    task = publish(shared_hub, "wrong", LARGE, golden, engine="openvino")
    assert task["status"] == "failed" and task["error"]["code"] == "FAILED_PRECONDITION", task
    assert "openvino" in task["error"]["message"] and "other answers" in task["error"]["message"]


def test_an_engine_with_other_answers_does_not_serve(shared_hub):
    """Though nobody recorded an answer: the framework is the referee where its environment is there."""
    task = publish(shared_hub, "large", LARGE, engines="all")
    assert task["status"] == "succeeded" and task["result"]["engine"] == "onnxruntime", task
    record, engines = serving(shared_hub, "large")
    assert engines["openvino"]["state"] == "different" and "onnxruntime" in engines["openvino"]["reason"]
    assert run(shared_hub, "large", [1, 2]) == [3_000_000_000, 6_000_000_000]
    wish = {**document("large")["dlhub"], "serving": {"engine": "openvino"}}
    reply = shared_hub.request("PATCH", "/api/v1/servables/admin/large", json={"dlhub": wish})
    assert reply.status_code == 412 and "gives other answers" in reply.json()["error"], reply.text


def break_engine(hub, engine, folder):
    """The flags of a hub on which the engine's workers end before they have loaded: as where a library is missing."""
    if engine == "onnxruntime":
        for library in (hub.data / "environments").rglob("onnxruntime_pybind11_state*.so"):
            library.chmod(0o644)
            library.write_bytes(b"not a library")
        return ()
    programs = folder / "programs"
    programs.mkdir()
    for program in BIN.iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "dlhub-worker-native").unlink()
    (programs / "dlhub-worker-native").write_text("#!/bin/sh\nexit 127\n")
    (programs / "dlhub-worker-native").chmod(0o755)
    return ("--worker.programs", str(programs))


def test_where_an_engine_cannot_load_the_next_equal_one_serves(hub, tmp_path):
    assert publish(hub, "both", MLP, engines="all")["status"] == "succeeded"
    record, engines = serving(hub, "both")
    chosen, = (name for name, row in engines.items() if row["state"] == "serves")
    other, = (name for name, row in engines.items() if row["state"] == "equal")
    assert "fallback" not in record
    assert publish(hub, "bound", MLP, engines="all", engine=chosen)["status"] == "succeeded"
    hub.stop()
    flags = hub.flags
    hub.flags = (*flags, *break_engine(hub, chosen, tmp_path))
    hub.start()

    x = [[1, 2, 3, 4], [4, 3, 2, 1]]
    for _ in range(3):
        numpy.testing.assert_allclose(run(hub, "both", x), numpy.float32(x) @ WEIGHTS, rtol=1e-5)
    record, engines = serving(hub, "both")
    assert record["fallback"]["engine"] == other and record["fallback"]["instead_of"] == chosen
    assert engines[other]["state"] == "serves"
    assert engines[chosen]["state"] == "cannot load" and engines[chosen]["reason"] == record["fallback"]["reason"]
    log = [line for line in hub.log_text().splitlines() if "serves in its place" in line]
    assert len(log) == 1 and "admin/both" in log[0] and chosen in log[0] and other in log[0], log
    told = subprocess.run([BIN / "dlhub", "--endpoint", hub.url, "describe", "admin/both"], text=True, capture_output=True,
                          env={"DLHUB_TOKEN": hub.token, "HOME": str(tmp_path), "PATH": "/usr/bin"})
    assert f"{other}, since {chosen} could not be loaded" in told.stdout, told.stdout + told.stderr

    # Whoever has pinned it hears that it does not load.
    refused = hub.post("/api/v1/servables/admin/bound/run", json={"data": x})
    assert refused.status_code >= 400 and "--engine fastest" in refused.json()["hint"], refused.text
    assert "fallback" not in serving(hub, "bound")[0]

    if chosen == "openvino":
        hub.stop()
        hub.flags = flags
        hub.start()  # what was missing is there again
        numpy.testing.assert_allclose(run(hub, "both", x), numpy.float32(x) @ WEIGHTS, rtol=1e-5)
        record, engines = serving(hub, "both")
        assert "fallback" not in record and engines[chosen]["state"] == "serves"


def test_a_function_has_one_engine_and_its_rows_are_tried(shared_hub):
    floats = {"type": "ndarray", "shape": [None, 2], "item_type": {"type": "float", "dtype": "FP64"}}
    code = "import numpy\ndef double(x): return 2 * x\ndef spread(x): return x - x.mean(axis=0)\n"
    for name, proved in (("double", True), ("spread", False)):
        method = {"input": floats, "output": floats, "method_details": {"module": "tools", "method_name": name}}
        task = shared_hub.publish({**document(name), "servable": {
            "type": "Python static method", "shim": "python.PythonStaticMethodServable", "methods": {"run": method}}},
            code.encode(), "tools.py")
        assert task["status"] == "succeeded", task
        record, engines = serving(shared_hub, name)
        assert list(engines) == ["python"] and engines["python"]["state"] == "serves"
        assert record["batch"]["proved"] is proved, record


def has_torch():
    return not subprocess.run(["/usr/bin/python3", "-c", "import torch"], capture_output=True).returncode


@pytest.mark.skipif(not has_torch(), reason="python3-torch is not installed")
def test_torch_is_exported_and_served_by_the_faster_engine(hub, tmp_path):
    subprocess.run(["/usr/bin/python3", "-c", "import sys, torch\ntorch.manual_seed(0)\n"
                    "net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()\n"
                    "torch.jit.script(net).save(sys.argv[1])\n"
                    "print(net(torch.ones(1, 3)).tolist())", tmp_path / "net.pt"], check=True)
    task = hub.publish(document("net"), (tmp_path / "net.pt").read_bytes(), "net.pt")
    assert task["status"] == "succeeded", task
    record, engines = serving(hub, "net")
    assert {row["state"] for row in engines.values()} == {"serves", "equal"} and record["batch"]["proved"]
    x = [[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]
    answers = {}
    for engine in engines:
        wish = {**document("net")["dlhub"], "serving": {"engine": engine}}
        assert hub.request("PATCH", "/api/v1/servables/admin/net", json={"dlhub": wish}).status_code == 200
        assert platform(hub, "net") == f"dlhub_{engine}"
        answers[engine] = run(hub, "net", x)
    numpy.testing.assert_allclose(answers["openvino"], answers["pytorch"], rtol=1e-4, atol=1e-5)

    # What was exported lasts as long as the version, also where the hub starts anew and sweeps.
    derived = hub.data / "derived"
    folder, = derived.iterdir()
    hub.stop()
    hub.start()
    assert run(hub, "net", x) == answers[list(engines)[-1]]
    wish = {**document("net")["dlhub"], "serving": {"engine": "openvino"}}
    assert hub.request("PATCH", "/api/v1/servables/admin/net", json={"dlhub": wish}).status_code == 200
    assert run(hub, "net", x) == answers["openvino"]
    assert hub.request("DELETE", "/api/v1/servables/admin/net").status_code == 204
    hub.stop()
    hub.start()
    wait_for(lambda: not folder.exists(), what="the sweep of what was exported")


@pytest.mark.skipif(not has_torch(), reason="python3-torch is not installed")
def test_a_damaged_export_leaves_the_framework(hub, tmp_path):
    subprocess.run(["/usr/bin/python3", "-c", "import sys, torch\ntorch.manual_seed(0)\n"
                    "torch.jit.script(torch.nn.Linear(3, 2).eval()).save(sys.argv[1])", tmp_path / "net.pt"], check=True)
    assert hub.publish(document("net"), (tmp_path / "net.pt").read_bytes(), "net.pt")["status"] == "succeeded"
    if serving(hub, "net")[0]["engine"] != "openvino":
        pytest.skip("here PyTorch was faster than OpenVINO")
    x = [[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]
    before = run(hub, "net", x)
    hub.stop()
    for file in (hub.data / "derived").rglob("*.onnx"):
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:40])
    hub.start()
    numpy.testing.assert_allclose(run(hub, "net", x), before, rtol=1e-4, atol=1e-5)
    record, engines = serving(hub, "net")
    assert record["fallback"]["engine"] == "pytorch" and engines["openvino"]["state"] == "cannot load"


@pytest.mark.skipif(not has_torch(), reason="python3-torch is not installed")
def test_a_model_that_cannot_be_exported_is_served_by_its_framework(hub, tmp_path):
    """A loop whose number of turns depends on the values: what is traced of it holds for other rows no more."""
    (tmp_path / "halves.py").write_text(
        "import torch\nclass Halves(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.stack([row / 2 if bool(row.sum() > 1) else row * 3 for row in x])\n")
    subprocess.run(["/usr/bin/python3", "-c", "import torch, halves\ntorch.save(halves.Halves(), 'halves.pt')"], check=True,
                   cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    with tarfile.open(tmp_path / "halves.tar", "w") as archive:
        for name in ("halves.py", "halves.pt"):
            archive.add(tmp_path / name, name)
    floats = {"type": "ndarray", "shape": [None, 2], "item_type": {"type": "float", "dtype": "FP32"}}
    task = hub.publish({**document("halves"), "servable": {"type": "Torch Model", "shim": "pytorch.TorchServable", "methods": {
        "run": {"input": floats, "output": floats}}}}, (tmp_path / "halves.tar").read_bytes(), "halves.tar")
    assert task["status"] == "succeeded" and task["result"]["engine"] == "pytorch", task
    engines = serving(hub, "halves")[1]
    assert engines["openvino"]["state"] in ("different", "fails", "cannot load") and engines["openvino"]["reason"]
    assert run(hub, "halves", [[4, 4], [0, 0.5], [2, 2]]) == [[2, 2], [0, 1.5], [1, 1]]


KERAS = """
import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy, keras
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(3)])
model.save("net.keras"); model.export("saved")
x = numpy.random.default_rng(0).random((5, 6), "float32")
numpy.save("x.npy", x); numpy.save("y.npy", model.predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    in_environment(make_environment(HEAVY_PACKAGES), KERAS, cwd=folder)
    with tarfile.open(folder / "saved.tar", "w") as archive:
        archive.add(folder / "saved", "saved")
    return folder


@pytest.mark.heavy
@pytest.mark.skipif(is_sanitized(), reason="what it runs is not instrumented, and slow there")
@pytest.mark.parametrize("name, file, framework", [("keras", "net.keras", "keras"), ("saved", "saved.tar", "tensorflow")],
                         ids=["keras", "savedmodel"])
def test_keras_and_tensorflow_are_served_by_the_faster_engine(shared_hub, keras_models, name, file, framework):
    task = shared_hub.publish(document(name, serving={"engines": "all"}), (keras_models / file).read_bytes(), file, seconds=900)
    assert task["status"] == "succeeded", task
    record, engines = serving(shared_hub, name)
    assert list(engines) == ["openvino", framework]
    assert sorted(row["state"] for row in engines.values()) == ["equal", "serves"], engines
    assert engines[record["engine"]]["state"] == "serves" and task["result"]["engine"] == record["engine"]
    # The rule of the choice: a later row of the table needs to be a tenth faster.
    score = {engine: (row["ms_1"] * row["ms_32"]) ** 0.5 for engine, row in engines.items()}
    assert record["engine"] == (framework if score[framework] < 0.9 * score["openvino"] else "openvino"), engines
    assert bool(record.get("derived")) is (framework == "keras" and record["engine"] == "openvino")  # Keras' own export
    assert engines[framework]["framework"].lower().startswith(framework)
    x, y = numpy.load(keras_models / "x.npy"), numpy.load(keras_models / "y.npy")
    for engine in (*engines, record["engine"]):
        wish = {**document(name)["dlhub"], "serving": {"engine": engine}}
        assert shared_hub.request("PATCH", f"/api/v1/servables/admin/{name}", json={"dlhub": wish}).status_code == 200
        assert platform(shared_hub, name) == f"dlhub_{engine}"
        numpy.testing.assert_allclose(run(shared_hub, name, x.tolist()), y, rtol=1e-4, atol=1e-5)
