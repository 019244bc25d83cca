"""Values to tensors and back, without a hub."""
import datetime

import numpy as np
import pytest

import dlhub
from dlhub import metadata, run, tensors
from dlhub.views import Description, Found


def ndarray(dtype=None, shape=(None, 2), **more):
    item = {"type": "integer" if dtype and "INT" in dtype else "float", "dtype": dtype} if dtype else {"type": "number"}
    return tensors.Argument({"type": "ndarray", "shape": list(shape) if shape else None, "item_type": item, **more}, "input")


def there_and_back(argument, value):
    return tensors.decode(argument, *tensors.encode(argument, value))


@pytest.mark.parametrize("name, dtype", tensors.DTYPES.items())
def test_every_datatype_survives(name, dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    got = there_and_back(ndarray(), array)
    assert got.dtype == dtype and np.array_equal(got, array) and got.flags.writeable
    assert tensors.encode(ndarray(), array)[0] == name


def test_strided_and_big_endian_arrays():
    array = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    assert np.array_equal(there_and_back(ndarray("FP64"), array), array)


def test_text_and_bytes():
    argument = tensors.Argument({"type": "ndarray", "shape": [None], "item_type": {"type": "string"}}, "input")
    got = there_and_back(argument, ["a", "", "grün", b"\xff\x00"])
    assert got.tolist() == ["a", "", "grün", b"\xff\x00"]


def test_bfloat16_rounds_to_even_and_keeps_nan():
    got = there_and_back(ndarray("BF16", [None]), [1.0, 1.00390625, np.inf, np.nan, 3.14159])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.array([1.0, 1.0, np.inf, np.nan, 3.140625], np.float32))


@pytest.mark.parametrize("value, dtype", [([[1, 2]], "FP32"), (np.array([[0.1, 2]]), "FP32"),
                                          (np.array([[1, 2]], np.int64), "INT8"), (np.array([[True, False]]), "INT32")])
def test_what_fits_is_converted(value, dtype):
    assert there_and_back(ndarray(dtype), value).dtype == tensors.DTYPES[dtype]


@pytest.mark.parametrize("value, dtype", [([[300, 2]], "INT8"), ([[-1, 2]], "UINT64"), ([[1.5, 2]], "INT64"),
                                          ([[1e39, 2]], "FP32"), ([[1j, 2]], "FP32"), ([["a", "b"]], "FP32"),
                                          ([[True, 1]], "BOOL")])
def test_what_does_not_fit_is_refused(value, dtype):
    with pytest.raises(dlhub.InvalidArgument, match="input 'input'"):
        tensors.encode(ndarray(dtype), value)


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((1, 3)), np.zeros((1, 2, 1)), [[1], [1, 2]]])
def test_a_wrong_shape_is_refused(value):
    with pytest.raises(dlhub.InvalidArgument):
        tensors.encode(ndarray("FP64"), value)


@pytest.mark.parametrize("kind, value", [("number", 1.5), ("float", -2.0), ("integer", 7), ("boolean", True),
                                         ("string", "grün"), ("list", [1, "a"]), ("dict", {"x": [1]})])
def test_single_values_travel_as_tensors_too(kind, value):
    got = there_and_back(tensors.Argument({"type": kind}, "input"), value)
    assert got == value and type(got) is type(value)


def test_json_of_what_python_has():
    text = tensors.dumps({"a": np.float32(0.5), "b": np.arange(3), "c": 1j, "d": datetime.timedelta(seconds=2),
                          "e": datetime.date(2026, 11, 22), "f": b"abc"})
    assert text == '{"a":0.5,"b":[0,1,2],"c":{"real":0.0,"imag":1.0},"d":2.0,"e":"2026-11-22","f":{"content":"YWJj"}}'
    for bad in (float("nan"), object(), {1, 2}):
        with pytest.raises(dlhub.InvalidArgument):
            tensors.dumps(bad)


def test_json_as_the_schema_says():
    schema = {"type": "dict", "properties": {"x": {"type": "ndarray", "item_type": {"type": "float", "dtype": "FP32"}},
                                             "t": {"type": "tuple", "element_types": [{"type": "complex"}]}}}
    got = tensors.from_json({"x": [[1, 2]], "t": [{"real": 1, "imag": 2}], "more": 1}, schema)
    assert got["x"].dtype == np.float32 and got["t"] == (1 + 2j,) and got["more"] == 1


PAIR = run.Method("run", {"input": {"type": "tuple", "element_types": [{"type": "ndarray", "name": "a"}, {"type": "integer"}]},
                          "output": {"type": "number"}})


def test_arguments_by_order_and_by_name():
    assert [a.name for a in PAIR.inputs] == ["a", "input_1"]
    assert run.bind(PAIR, (1, 2)) == run.bind(PAIR, {"input_1": 2, "a": 1}) == [1, 2]


@pytest.mark.parametrize("inputs", [1, (1,), (1, 2, 3), {"a": 1}, {"a": 1, "input_1": 2, "b": 3}])
def test_arguments_that_do_not_fit(inputs):
    with pytest.raises(dlhub.InvalidArgument, match="inputs"):
        run.bind(PAIR, inputs)


def test_requirements():
    text = ["numpy==1.26.4  # pinned", "", "# nothing", "scikit-learn>=1.5", "requests[socks]"]
    assert metadata.requirements(text) == {"numpy": "1.26.4", "scikit-learn": ">=1.5", "requests[socks]": None}
    for bad in ("git+https://x", "a @ file:///x", "--index-url x", "numpy; python_version<'3'"):
        with pytest.raises(dlhub.InvalidArgument):
            metadata.requirements([bad])


def test_what_is_shown():
    found = Found({"total": 3, "items": [{"name": "a/b", "version": 2, "type": "ONNX Model", "title": "<Title>"}]})
    assert "a/b" in repr(found) and "1 of 3" in repr(found) and "&lt;Title&gt;" in found._repr_html_()
    assert repr(Found({"total": 0, "items": []})) == "nothing found"
    description = Description(name="a/b", version=1, datacite={"titles": [{"title": "T"}]}, servable={
        "type": "ONNX Model", "methods": {"run": {"input": ndarray("FP32").schema, "output": {"type": "number"}}}})
    assert "input: ndarray FP32[n, 2]  ->  output: number" in repr(description)
    assert "<b>a/b version 1</b>" in description._repr_html_()
