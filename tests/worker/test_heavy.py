"""Keras, TensorFlow and PyTorch in real workers and inspections. `-m "not heavy"` leaves them out.

TensorFlow comes from its wheel, PyTorch from Debian's python3-torch (skipped where that is not installed)."""

import json
import os
import subprocess
import tarfile

import numpy as np
import pytest

from frames import WorkerFailed
from workers import MEMORY, PYTHON, ROOT, in_environment, program

pytestmark = pytest.mark.heavy

KERAS = """
import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(0)
inputs = keras.Input((8, 8, 1), name="image")
x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
x = keras.layers.Flatten()(x)
model = keras.Model(inputs, keras.layers.Dense(5, name="code")(x))
model.save("model.keras"); model.save("model.h5"); model.export("saved")
a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
two = keras.Model([a, b], [keras.layers.Dense(1, name="p")(keras.layers.Concatenate()([a, b])), keras.layers.Dense(2, name="q")(b)])
two.save("two.keras")
values = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
np.save("x.npy", values); np.save("y.npy", model.predict(values, verbose=0))
pa, pb = np.ones((2, 2), "float32"), np.ones((2, 3), "float32")
for name, value in zip("pq", two.predict([pa, pb], verbose=0)): np.save(name + ".npy", value)
"""

TORCH = """
import numpy as np, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
torch.jit.script(net).save("script.pt")
torch.save(net, "whole.pt")
from net import Net
own = Net(3).eval()
torch.save(own, "own.pt"); torch.save(own.state_dict(), "state.pt")
x = torch.rand(2, 3, 32, 32)
np.save("x.npy", x.numpy()); np.save("y.npy", net(x).detach().numpy())
v = torch.rand(5, 3); np.save("v.npy", v.numpy()); np.save("w.npy", own(v).detach().numpy())
"""
NET = "import torch\nclass Net(torch.nn.Module):\n  def __init__(self, n):\n    super().__init__()\n    self.layer = torch.nn.Linear(n, 2)\n  def forward(self, x): return torch.tanh(self.layer(x))\n"


@pytest.fixture(scope="module")
def keras_models(heavy_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    in_environment(heavy_environment, KERAS, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def torch_models(tmp_path_factory):
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode:
        pytest.skip("python3-torch is not installed")
    folder = tmp_path_factory.mktemp("torch")
    (folder / "net.py").write_text(NET)
    in_environment(None, "import sys; sys.path.insert(0, '.')\n" + TORCH, cwd=folder)
    return folder


@pytest.fixture
def inspected(tmp_path):
    """Inspects copies of some files, and gives the LOAD document that publishing would make of it."""

    def run(folder, *names, metadata=None, environment=None, export=None):
        model = tmp_path / "inspected"
        model.mkdir()
        for name in names:
            target = model / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((folder / name).read_bytes())
        (tmp_path / "metadata.json").write_text(json.dumps(metadata or {}))
        out = tmp_path / "out.json"
        command = [
            program("dlhub-worker-python"),
            "--inspect",
            "--model",
            model,
            "--python",
            PYTHON,
            "--memory",
            str(MEMORY),
            "--metadata",
            tmp_path / "metadata.json",
            "--out",
            out,
        ]
        command += ["--environment", environment] if environment else []
        command += ["--export", export] if export else []
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return {**json.loads(out.read_text()), "folder": model}

    return run


def serve(worker, found, environment=None):
    return worker(
        {"servable": found["servable"], "dlhub": found["dlhub"]}, folder=found["folder"], environment=environment
    )


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_keras(worker, inspected, heavy_environment, keras_models, name):
    found = inspected(keras_models, name, environment=heavy_environment)
    run = found["servable"]["methods"]["run"]
    assert run["input"]["shape"] == [None, 8, 8, 1] and run["input"]["item_type"] == {"type": "float", "dtype": "FP32"}
    assert run["output"]["shape"] == [None, 5]
    assert "conv2d" in found["servable"]["model_summary"] and found["framework"].startswith("Keras 3.")
    one = serve(worker, found, heavy_environment)
    for _ in range(2):
        (got,) = one.run_arrays(np.load(keras_models / "x.npy"))
        np.testing.assert_allclose(got, np.load(keras_models / "y.npy"), atol=1e-5)


def test_keras_of_several(worker, inspected, heavy_environment, keras_models):
    found = inspected(keras_models, "two.keras", environment=heavy_environment)
    run = found["servable"]["methods"]["run"]
    assert [one["name"] for one in run["input"]["element_types"]] == ["a", "b"]
    one = serve(worker, found, heavy_environment)
    p, q = one.run_arrays(np.ones((2, 2), "float32"), np.ones((2, 3), "float32"))
    np.testing.assert_allclose(p, np.load(keras_models / "p.npy"), atol=1e-5)
    np.testing.assert_allclose(q, np.load(keras_models / "q.npy"), atol=1e-5)


def test_saved_model(worker, inspected, heavy_environment, keras_models):
    names = [
        os.path.relpath(os.path.join(folder, name), keras_models)
        for folder, _, files in os.walk(keras_models / "saved")
        for name in files
    ]
    found = inspected(keras_models, *names, environment=heavy_environment)
    assert found["servable"]["type"] == "TensorFlow Model"
    assert found["servable"]["methods"]["run"]["input"]["shape"] == [None, 8, 8, 1]
    (got,) = serve(worker, found, heavy_environment).run_arrays(np.load(keras_models / "x.npy"))
    np.testing.assert_allclose(got, np.load(keras_models / "y.npy"), atol=1e-5)


def test_what_keras_exports(inspected, heavy_environment, keras_models, tmp_path):
    found = inspected(keras_models, "two.keras", environment=heavy_environment, export=tmp_path / "export.tar")
    assert found["export"] == {"files": {"other": ["saved_model.pb"]}}
    with tarfile.open(tmp_path / "export.tar") as archive:
        archive.extractall(tmp_path / "export")
    shown = in_environment(heavy_environment, "import sys, tensorflow as tf\n"
                           "run = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
                           "print(sorted(run.structured_input_signature[1]), sorted(run.structured_outputs))", tmp_path / "export")
    assert shown.strip() == "['a', 'b'] ['p', 'q']"


def test_what_torch_exports(inspected, torch_models, tmp_path):
    import onnx

    found = inspected(torch_models, "script.pt", export=tmp_path / "export.tar")
    assert found["export"] == {"files": {"model": "model.onnx"}}
    with tarfile.open(tmp_path / "export.tar") as archive:
        model = onnx.load_model_from_string(archive.extractfile("./model.onnx").read())
    shape = [axis.dim_value or axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert model.graph.input[0].name == "input" and shape == ["input_0", 3, "input_2", "input_3"]
    assert [one.name for one in model.graph.output] == ["output"]


def test_what_cannot_be_exported_says_why(inspected, torch_models, tmp_path):
    method = {"input": {"type": "ndarray", "shape": "Any"}, "output": {"type": "ndarray", "shape": "Any"}}
    metadata = {"servable": {"type": "Torch Model", "methods": {"run": method}}}
    found = inspected(torch_models, "script.pt", metadata=metadata, export=tmp_path / "export.tar")
    assert "give an example input" in found["export"]["reason"]


@pytest.mark.parametrize("name", ["script.pt", "whole.pt"])
def test_torch(worker, inspected, torch_models, name):
    found = inspected(torch_models, name)
    run = found["servable"]["methods"]["run"]
    assert run["input"]["shape"] == [None, 3, None, None] and run["output"]["shape"] == [None, 2]
    one = serve(worker, found)
    (got,) = one.run_arrays(np.load(torch_models / "x.npy"))
    np.testing.assert_allclose(got, np.load(torch_models / "y.npy"), atol=1e-5)


def test_torch_with_its_class(worker, inspected, torch_models):
    found = inspected(torch_models, "own.pt", "net.py")
    assert found["servable"]["methods"]["run"]["input"]["shape"] == [None, 3]
    (got,) = serve(worker, found).run_arrays(np.load(torch_models / "v.npy"))
    np.testing.assert_allclose(got, np.load(torch_models / "w.npy"), atol=1e-6)


def test_torch_state(worker, inspected, torch_models):
    metadata = {
        "servable": {
            "type": "Torch Model",
            "shim": "torch.TorchServable",
            "options": {"class": "net.Net", "arguments": {"n": 3}},
        }
    }
    found = inspected(torch_models, "state.pt", "net.py", metadata=metadata)
    (got,) = serve(worker, found).run_arrays(np.load(torch_models / "v.npy"))
    np.testing.assert_allclose(got, np.load(torch_models / "w.npy"), atol=1e-6)


def test_torch_without_its_class(worker, torch_models):
    document = {
        "type": "Torch Model",
        "servable": {
            "type": "Torch Model",
            "methods": {
                "run": {"input": {"type": "ndarray", "shape": "Any"}, "output": {"type": "ndarray", "shape": "Any"}}
            },
        },
        "dlhub": {"files": {"model": "own.pt"}},
    }
    with pytest.raises(WorkerFailed) as caught:
        worker(document, {"own.pt": (torch_models / "own.pt").read_bytes()})
    assert "publish the Python file" in caught.value.document["hint"]


@pytest.mark.parametrize("name, expected", [("script.pt", "PyTorch"), ("whole.pt", "PyTorch")])
def test_record_torch(torch_models, tmp_path, name, expected):
    done = subprocess.run(
        [PYTHON, "-m", "dlhub_worker.record", "--model", torch_models / name, "--out", tmp_path / "golden.json"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    golden = json.loads((tmp_path / "golden.json").read_text())
    assert golden["framework"].startswith(expected)
    assert golden["request"]["inputs"][0]["datatype"] == "FP32" and golden["response"]["outputs"][0]["shape"] == [1, 2]
