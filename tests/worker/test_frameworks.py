"""scikit-learn and ONNX Runtime in real workers: the framework's own numbers come back."""

import json
import os

import numpy as np
import pytest

from frames import WorkerFailed
from workers import in_environment

FLOATS = {"type": "ndarray", "shape": [None, 4], "item_type": {"type": "float"}}

MODELS = """
import pickle, numpy as np, onnx
from onnx import TensorProto as T, helper as h
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
x, y = load_iris(return_X_y=True)
names = np.array(["setosa", "versicolor", "virginica"])
model = RandomForestClassifier(10, random_state=0).fit(x, names[y])
pickle.dump(model, open("forest.pkl", "wb"))
np.save("x.npy", x[::10]); np.save("proba.npy", model.predict_proba(x[::10])); np.save("names.npy", model.predict(x[::10]).astype("U"))
# an ai.onnx.ml graph, as native engines do not read
scale = h.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[2.0, 3.0])
graph = h.make_graph([scale], "g", [h.make_tensor_value_info("x", T.FLOAT, [None, 2])], [h.make_tensor_value_info("y", T.FLOAT, [None, 2])])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 15), h.make_opsetid("ai.onnx.ml", 2)], ir_version=8), "scale.onnx")
"""


@pytest.fixture(scope="module")
def models(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    in_environment(environment, MODELS, cwd=folder)
    return folder


def sklearn_document(method, output):
    return {
        "type": "Scikit-learn estimator",
        "dlhub": {"files": {"model": "forest.pkl"}},
        "servable": {
            "type": "Scikit-learn estimator",
            "shim": "sklearn.ScikitLearnServable",
            "options": {"serialization_method": "pickle"},
            "methods": {"run": {"input": FLOATS, "output": output, "method_details": {"method_name": method}}},
        },
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forest(worker, environment, models, dtype):
    files = {"forest.pkl": (models / "forest.pkl").read_bytes()}
    one = worker(sklearn_document("predict_proba", {"type": "ndarray", "shape": [None, 3]}), files, environment)
    assert one.ready["framework"] == "scikit-learn 1.5.2" and one.ready["engine"] == "scikit-learn"
    (got,) = one.run_arrays(np.load(models / "x.npy").astype(dtype))
    np.testing.assert_allclose(got, np.load(models / "proba.npy"), atol=1e-12)
    with pytest.raises(WorkerFailed, match="features"):
        one.run_arrays(np.zeros((1, 5)))


def test_forest_says_names(worker, environment, models):
    files = {"forest.pkl": (models / "forest.pkl").read_bytes()}
    one = worker(
        sklearn_document("predict", {"type": "ndarray", "shape": [None], "item_type": {"type": "string"}}),
        files,
        environment,
    )
    x = np.load(models / "x.npy")
    ((_, datatype, shape, content),) = one.run_raw([("input", "FP64", list(x.shape), x.tobytes())])[0]
    expected = b"".join(len(name).to_bytes(4, "little") + name.encode() for name in np.load(models / "names.npy"))
    assert (datatype, shape, content) == ("BYTES", [15], expected)


def test_onnxruntime(worker, environment, models):
    side = {"type": "ndarray", "shape": [None, 2], "item_type": {"type": "float", "dtype": "FP32"}}
    document = {
        "type": "ONNX Model",
        "dlhub": {"files": {"model": "scale.onnx"}},
        "servable": {
            "type": "ONNX Model",
            "shim": "onnx.ONNXServable",
            "methods": {"run": {"input": {**side, "name": "x"}, "output": {**side, "name": "y"}}},
        },
    }
    one = worker(document, {"scale.onnx": (models / "scale.onnx").read_bytes()}, environment)
    assert one.ready["engine"] == "onnxruntime"
    (got,) = one.run_arrays(np.array([[1, 2], [2, 4]], "float32"))
    assert got.tolist() == [[0, 0], [2, 6]]
    large = np.random.default_rng(0).random((100000, 2), "float32")
    (got,) = one.run_arrays(large)
    np.testing.assert_allclose(got, (large - [1, 2]) * [2, 3], rtol=1e-6)
    one.run_arrays(large[:1])
    assert one.released == [0]  # and the slab came back


def array_function(code):
    any_array = {"type": "ndarray", "shape": "Any"}
    return {
        "servable": {
            "shim": "python.PythonStaticMethodServable",
            "methods": {
                "run": {
                    "input": any_array,
                    "output": any_array,
                    "method_details": {"module": "code", "method_name": "f"},
                }
            },
        }
    }, {"code.py": code}


def test_arrays_may_be_written_and_kept(worker, environment):
    code = "import numpy as np\nkept = []\ndef f(x):\n  x += 1\n  kept.append(x)\n  return np.stack([one.sum() for one in kept])"
    one = worker(*array_function(code), environment)
    sums = []
    for size in (3, 100000, 3, 100000):  # in the frame, and in a slab that is used again
        sums.append(2.0 * size)
        (got,) = one.run_arrays(np.ones(size))
        assert got.tolist() == sums


def test_large_inputs_are_not_copied(worker, environment):
    """Two runs in one slab see the same memory, unless the first run's array is kept."""
    code = "kept = []\ndef f(x, keep=0):\n  if keep: kept.append(x[1:])\n  return [x.ctypes.data, *(float(one.sum()) for one in kept)]"
    document, files = array_function(code)
    document["servable"]["methods"]["run"]["output"] = {"type": "list"}
    one = worker(document, files, environment)
    content = np.ones(100000).tobytes()
    slab = one.share(content)

    def run(**parameters):
        outputs, _ = one.run_raw([("input", "FP64", [100000], content)], slabs={0: (slab, 0)}, parameters=parameters)
        return json.loads(outputs[0][3])

    first, again = run(), run()
    assert first == again
    kept = run(keep=1)
    assert kept == [first[0], 99999.0]
    os.pwrite(one.own[slab], np.zeros(100000).tobytes(), 0)
    after = run()
    assert after[0] != first[0] and after[1] == 99999.0
    assert run() == after


@pytest.mark.parametrize(
    "expression",
    [
        "x.T",
        "x[::2, ::-1]",
        "x[:0]",
        "np.asfortranarray(x)",
        "x.sum()",
        "x.astype('>f8')",
        "x.astype('i4')",
        "x > 2",
        "x.astype('f2').astype('f4')",
        "[[1.5]]",
    ],
)
def test_any_array_comes_back(worker, environment, expression):
    one = worker(*array_function(f"import numpy as np\ndef f(x): return {expression}"), environment)
    x = np.arange(6.0).reshape(2, 3)
    (got,) = one.run_arrays(x)
    expected = np.asarray(eval(expression))
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "returned, output, words",
    [
        ("x.astype(complex)", {"type": "ndarray", "shape": "Any"}, "of complex128"),
        (
            "x",
            {"type": "ndarray", "shape": [None]},
            r"with shape \[2, 3\], but its schema says an ndarray with shape \[any\]",
        ),
        ("x", {"type": "ndarray", "shape": [2, 3], "item_type": {"type": "integer", "dtype": "INT32"}}, "of float64"),
        (
            "(x * 100000).astype('i8')",
            {"type": "ndarray", "shape": "Any", "item_type": {"type": "integer", "dtype": "INT16"}},
            "does not fit INT16",
        ),
        ("[[1], [2, 3]]", {"type": "ndarray", "shape": "Any"}, "a list of 2"),
        ("None", {"type": "ndarray", "shape": "Any"}, "None"),
    ],
)
def test_arrays_that_miss_their_schema(worker, environment, returned, output, words):
    document, files = array_function(f"def f(x): return {returned}")
    document["servable"]["methods"]["run"]["output"] = output
    with pytest.raises(WorkerFailed, match=words):
        worker(document, files, environment).run_arrays(np.arange(6.0).reshape(2, 3))


def test_other_datatypes(worker, environment):
    text = {"type": "ndarray", "shape": [None], "item_type": {"type": "string"}}
    half = {"type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "BF16"}}
    document, files = array_function("def f(s, h): return [w.upper() for w in s], h * 2")
    document["servable"]["methods"]["run"].update(
        input={"type": "tuple", "element_types": [text, half]}, output={"type": "tuple", "element_types": [text, half]}
    )
    document["servable"]["methods"]["run"]["method_details"]["unpack"] = True
    one = worker(document, files, environment)
    words = b"\x01\0\0\0a\x02\0\0\0bc"
    outputs, _ = one.run_raw([("input_0", "BYTES", [2], words), ("input_1", "BF16", [2], b"\x80\x3f\x00\xc0")])
    assert outputs == [("output_0", "BYTES", [2], words.upper()), ("output_1", "BF16", [2], b"\x00\x40\x80\xc0")]
