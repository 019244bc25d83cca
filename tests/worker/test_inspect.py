"""`dlhub-worker-python --inspect`: what a servable is, found by loading it."""

import json
import subprocess

import pytest

from workers import MEMORY, PYTHON, in_environment, program


class Refused(Exception):
    def __init__(self, error, log):
        super().__init__(error["message"])
        self.error, self.log = error, log


@pytest.fixture
def inspect(tmp_path):
    def run(files, metadata=None, environment=None, folder=None):
        model = folder or tmp_path / "model"
        model.mkdir(exist_ok=True)
        for name, content in files.items():
            (model / name).write_bytes(content.encode() if isinstance(content, str) else content)
        document, out = tmp_path / "metadata.json", tmp_path / "out.json"
        document.write_text(json.dumps({"dlhub": {"name": "x"}, **(metadata or {})}))
        command = [
            program("dlhub-worker-python"),
            "--inspect",
            "--model",
            str(model),
            "--python",
            PYTHON,
            "--memory",
            str(MEMORY),
            "--metadata",
            str(document),
            "--out",
            str(out),
        ]
        if environment:
            command += ["--environment", str(environment)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Refused(json.loads(done.stdout)["error"], done.stderr)
        assert done.stdout == ""
        return json.loads(out.read_text())

    return run


def python_function(name="f", module="code"):
    return {
        "servable": {
            "type": "Python static method",
            "methods": {"run": {"method_details": {"module": module, "method_name": name}}},
        }
    }


CODE = '''
import typing
from pathlib import Path
print("printed while loading")
class Point(typing.TypedDict):
    x: float
    y: float
def f(a: int, names: list[str], where: Point, pair: tuple[int, float], scale: float = 2.0) -> dict[str, float]:
    """Adds things up.

    At length."""
def one(path: Path) -> str: ...
def plain(x): return x
def nothing() -> str: return "hello world"
def maybe(x: int | float, y: "float | None" = None) -> bool: ...
'''


def test_function_by_its_hints(inspect):
    found = inspect({"code.py": CODE}, python_function())
    run = found["servable"]["methods"]["run"]
    assert [one["name"] for one in run["input"]["element_types"]] == ["a", "names", "where", "pair"]
    assert run["input"]["element_types"][1] == {"type": "list", "item_type": {"type": "string"}, "name": "names"}
    assert run["input"]["element_types"][2]["properties"] == {"x": {"type": "float"}, "y": {"type": "float"}}
    assert run["parameters"] == {"scale": 2.0} and run["output"]["type"] == "dict"
    assert run["method_details"] == {"unpack": True, "module": "code", "method_name": "f"}
    assert found["servable"]["model_summary"].startswith("Adds things up.")
    assert found["servable"]["shim"] == "python.PythonStaticMethodServable"
    assert found["engine"] == "python" and found["dlhub"]["files"] == {"other": ["code.py"]}


@pytest.mark.parametrize(
    "name, source, output",
    [
        ("one", {"type": "file"}, {"type": "string"}),
        (
            "plain",
            {"type": "python object", "python_type": "object"},
            {"type": "python object", "python_type": "object"},
        ),
        ("nothing", {"type": "tuple", "element_types": []}, {"type": "string"}),
        ("maybe", {"type": "number"}, {"type": "boolean"}),
    ],
)
def test_hints_of_single_arguments(inspect, name, source, output):
    run = inspect({"code.py": CODE}, python_function(name))["servable"]["methods"]["run"]
    assert (run["input"], run["output"]) == (source, output)


def test_numpy_hints(inspect, environment):
    code = (
        "import numpy as np\nfrom numpy.typing import NDArray\n"
        "def f(x: NDArray[np.float32], y: np.ndarray) -> np.float64: ...\n"
    )
    run = inspect({"code.py": code}, python_function(), environment)["servable"]["methods"]["run"]
    assert run["input"]["element_types"] == [
        {"type": "ndarray", "shape": "Any", "item_type": {"type": "float", "dtype": "FP32"}, "name": "x"},
        {"type": "ndarray", "shape": "Any", "name": "y"},
    ]
    assert run["output"] == {"type": "float"}


def test_what_the_publisher_says_stands(inspect):
    metadata = python_function("plain")
    metadata["servable"]["methods"]["run"]["input"] = {"type": "integer"}
    run = inspect({"code.py": CODE}, metadata)["servable"]["methods"]["run"]
    assert run["input"] == {"type": "integer"} and run["output"]["type"] == "python object"


def test_class(inspect):
    code = "class Model:\n  '''A model.'''\n  def __init__(self, k): self.k = k\n  def predict(self, x: float) -> float: return x"
    details = {"module": "code", "class_name": "Model", "arguments": {"k": 2}}
    found = inspect(
        {"code.py": code},
        {"servable": {"type": "Python class method", "methods": {"run": {"method_details": details}}}},
    )
    assert found["servable"]["methods"]["run"] == {
        "input": {"type": "float"},
        "output": {"type": "float"},
        "parameters": {},
        "method_details": {**details, "method_name": "predict"},
    }
    assert found["servable"]["model_type"] == "Model"


@pytest.mark.parametrize(
    "files, metadata, words",
    [
        ({"code.py": "x = 1"}, python_function(), "has no 'f'"),
        ({"code.py": "import absent"}, python_function(), "No module named 'absent'"),
        ({"code.py": "import sys; sys.exit(0)"}, python_function(), "sys.exit"),
        ({"a.txt": "x"}, None, "cannot be told from its files"),
        ({"model.pkl": b"no pickle"}, None, ""),
        ({"code.py": CODE}, {"servable": {"type": "Nonsense"}}, "none that this hub knows"),
    ],
)
def test_refusals(inspect, files, metadata, words):
    with pytest.raises(Refused) as caught:
        inspect(files, metadata)
    assert words in caught.value.error["message"] and caught.value.error["code"] == "FAILED_PRECONDITION"


def test_a_pickle_that_reaches_out_is_held(inspect, tmp_path):
    """It may run, but behind the walls: no network, nothing written outside."""
    import pickle

    class Evil:
        def __reduce__(self):
            return exec, ("import socket; socket.create_connection(('127.0.0.1', 1), 2)",)

    with pytest.raises(Refused) as caught:
        inspect({"model.pkl": pickle.dumps(Evil())})
    assert "Connection refused" not in caught.value.error["message"]
    target = tmp_path / "escaped"

    class Writer:
        def __reduce__(self):
            return open, (str(target), "w")

    with pytest.raises(Refused):
        inspect({"model.pkl": pickle.dumps(Writer())})
    assert not target.exists()


SKLEARN = """
import sys, pickle, joblib, numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.linear_model import BayesianRidge, LogisticRegression
x, y = load_iris(return_X_y=True)
names = np.array(["setosa", "versicolor", "virginica"])
pickle.dump(RandomForestClassifier(5, random_state=0).fit(x, y), open("forest.pkl", "wb"))
joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, names[y]), "pipeline.joblib", compress=3)
pickle.dump(make_pipeline(CountVectorizer(), MultinomialNB()).fit(["a cat", "a dog"], ["cat", "dog"]), open("text.pkl", "wb"))
pickle.dump(BayesianRidge().fit(x, y), open("ridge.pkl", "wb"))
"""


@pytest.fixture(scope="module")
def estimators(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimators")
    in_environment(environment, SKLEARN, cwd=folder)
    return folder


def test_forest(inspect, environment, estimators):
    found = inspect({"forest.pkl": (estimators / "forest.pkl").read_bytes()}, None, environment)
    servable = found["servable"]
    assert servable["type"] == "Scikit-learn estimator" and servable["model_type"] == "RandomForestClassifier"
    assert servable["options"] == {"serialization_method": "pickle", "is_classifier": True, "classes": ["0", "1", "2"]}
    assert servable["methods"]["run"]["input"] == {
        "type": "ndarray",
        "shape": [None, 4],
        "item_type": {"type": "float"},
    }
    assert servable["methods"]["run"]["output"] == {
        "type": "ndarray",
        "shape": [None, 3],
        "item_type": {"type": "float", "dtype": "FP64"},
    }
    assert servable["methods"]["run"]["method_details"] == {"method_name": "predict_proba"}
    assert servable["methods"]["predict"]["output"]["item_type"] == {"type": "integer", "dtype": "INT64"}
    assert found["framework"] == "scikit-learn 1.5.2" and found["dlhub"]["files"]["model"] == "forest.pkl"


def test_other_estimators(inspect, environment, estimators):
    def of(name, folder):
        (estimators / folder).mkdir(exist_ok=True)
        return inspect({name: (estimators / name).read_bytes()}, None, environment, estimators / folder)["servable"]

    pipeline = of("pipeline.joblib", "1")
    assert pipeline["options"]["serialization_method"] == "joblib" and pipeline["model_type"] == "LogisticRegression"
    assert pipeline["methods"]["predict"]["output"] == {
        "type": "ndarray",
        "shape": [None],
        "item_type": {"type": "string"},
    }
    text = of("text.pkl", "2")
    assert text["methods"]["run"]["input"]["item_type"] == {"type": "string"}
    ridge = of("ridge.pkl", "3")
    assert ridge["methods"]["run"]["parameters"] == {"return_std": False}
    assert ridge["methods"]["run"]["output"] == {
        "type": "ndarray",
        "shape": [None],
        "item_type": {"type": "float", "dtype": "FP64"},
    }
