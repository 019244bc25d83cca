"""`python3 -m dlhub_worker.record`: the publisher's own framework says what is expected."""

import json
import os
import subprocess

import pytest

from workers import PYTHON, ROOT, in_environment


@pytest.fixture
def record(tmp_path):
    def run(path, metadata=None, environment=None, extra=()):
        document, out = tmp_path / "metadata.json", tmp_path / "golden.json"
        document.write_text(json.dumps(metadata or {}))
        python = environment / "bin" / "python3" if environment else PYTHON
        done = subprocess.run(
            [python, "-m", "dlhub_worker.record", "--model", path, "--metadata", document, "--out", out, *extra],
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            capture_output=True,
            text=True,
        )
        return done, json.loads(out.read_text()) if done.returncode == 0 else None

    return run


def function(source, output="number", **more):
    return {
        "servable": {
            "type": "Python static method",
            "methods": {
                "run": {
                    "input": source,
                    "output": {"type": output},
                    "method_details": {"module": "code", "method_name": "f"},
                    **more,
                }
            },
        }
    }


@pytest.mark.parametrize(
    "source, golden, inputs, outputs",
    [
        (
            {"type": "integer"},
            {"request": {"data": 4}},
            [{"name": "input", "shape": [1], "datatype": "INT64", "data": [4]}],
            8,
        ),
        ({"type": "integer"}, None, [{"name": "input", "shape": [1], "datatype": "INT64", "data": [1]}], 2),
        (
            {"type": "float", "name": "x"},
            {"request": {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.5]}]}},
            [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.5]}],
            3.0,
        ),
    ],
)
def test_function(record, tmp_path, source, golden, inputs, outputs):
    (tmp_path / "code.py").write_text("def f(x): return x * 2")
    done, found = record(tmp_path / "code.py", {**function(source), **({"golden": golden} if golden else {})})
    assert done.returncode == 0, done.stderr
    assert found["request"]["inputs"] == inputs and found["source"] == "publisher"
    assert found["response"]["outputs"] == [{"name": "output", "shape": [1], "datatype": "FP64", "data": [outputs]}]
    assert found["framework"].startswith("Python 3.") and found["rtol"] == 1e-4


def test_documents_travel_as_text(record, tmp_path):
    (tmp_path / "code.py").write_text("def f(x): return {'n': len(x['names'])}")
    source = {"type": "dict", "properties": {"names": {"type": "list", "item_type": {"type": "string"}}}}
    done, found = record(tmp_path / "code.py", function(source, "dict"))
    assert found["request"]["inputs"][0]["data"] == ['{"names": ["a"]}']
    assert found["response"]["outputs"][0]["data"] == ['{"n": 1}']


def test_estimator(record, tmp_path, environment):
    in_environment(
        environment,
        """
import pickle, numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
x, y = load_iris(return_X_y=True)
model = RandomForestClassifier(5, random_state=0).fit(x, y)
pickle.dump(model, open("forest.pkl", "wb"))
np.save("x.npy", x[:3])
np.save("y.npy", model.predict_proba(x[:3]))
""",
        cwd=tmp_path,
    )
    done, found = record(tmp_path / "forest.pkl", None, environment, ["--input", str(tmp_path / "x.npy")])
    assert done.returncode == 0, done.stderr
    assert found["framework"] == "scikit-learn 1.5.2"
    assert found["request"]["inputs"][0]["shape"] == [3, 4] and found["request"]["inputs"][0]["datatype"] == "FP64"
    assert found["response"]["outputs"][0]["shape"] == [3, 3]


@pytest.mark.parametrize(
    "name, content, metadata, status, words",
    [
        ("forest.pkl", b"\x80\x04csklearn.tree\nX\n.", None, 11, "nothing is recorded"),
        ("code.py", b"import absent_package\ndef f(x): return x", function({"type": "integer"}), 11, "absent_package"),
        ("model.zip", b"PK", None, 11, "neither a model's file nor a folder"),
        ("code.py", b"def f(x): return x", function({"type": "file"}), 11, "no example can be made up"),
        ("code.py", b"def f(x): return 'a'", function({"type": "integer"}), 1, "its schema says a number"),
        ("code.py", b"def f(x): return 1 / 0", function({"type": "integer"}), 1, "ZeroDivisionError"),
        (
            "code.py",
            b"def f(x): return x",
            {
                **function({"type": "integer"}),
                "golden": {"request": {"inputs": [{"name": "nope", "shape": [1], "datatype": "INT64", "data": [1]}]}},
            },
            2,
            "no input 'nope'",
        ),
        ("code.py", b"def f(x): return float('nan')", function({"type": "integer"}), 1, "JSON cannot carry"),
    ],
)
def test_what_cannot_be_recorded(record, tmp_path, name, content, metadata, status, words):
    (tmp_path / name).write_bytes(content)
    done, _ = record(tmp_path / name, metadata)
    assert done.returncode == status and words in done.stderr
    if status == 11:
        assert len(done.stderr.splitlines()) == 1
