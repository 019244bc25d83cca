"""Bodies in other forms than JSON: compressed, .npy, bare bytes; both ways; and what a reply tells of its run."""
import gzip
import io
import json
import re
import zlib

import numpy
import pytest
import requests

from support import HubProcess, document

MODEL, RUN = "/v2/models/admin/{}/infer", "/api/v1/servables/admin/{}/run"
NPY, BYTES = "application/x-npy", "application/octet-stream"
ARRAY = {"type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "FP64"}}
TWO = """
import numpy

def two(x, y):
    return x + y, x - y

def text(value):
    return value.upper()

def document(value):
    return {"got": value}

def size(file):
    return len(open(file, "rb").read())

def names(count):
    return numpy.array(["a", "b\\u00e9"] * count)
"""


SCALED = """
def scaled(x, factor=1.5, times=1, negative=False, unit="", table=None):
    return {"values": (x * factor * times * (-1 if negative else 1)).tolist(), "unit": unit, "table": table}
"""


def npy(array):
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def from_npy(reply):
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == NPY
    return numpy.load(io.BytesIO(reply.content), allow_pickle=False)


def python(module, method, given, returned, **details):
    return {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": given, "output": returned,
                                "method_details": {"module": module, "method_name": method, **details}}}}


@pytest.fixture(scope="module")
def hub(shared_hub, identity_onnx):
    def publish(name, *arguments, golden, **more):
        task = shared_hub.publish({**document(name, dependencies={"python": {"numpy": None}}), "servable": python("two", *arguments, **more),
                                   "golden": {"request": golden}}, TWO, "two.py")
        assert task["status"] == "succeeded", task

    assert shared_hub.publish(document("same"), identity_onnx)["status"] == "succeeded"
    pair = {"type": "tuple", "element_types": [{**ARRAY, "name": "a"}, {**ARRAY, "name": "b"}]}
    publish("two", "two", pair, pair, golden={"data": [[1.0], [2.0]]}, unpack=True)
    publish("text", "text", {"type": "string"}, {"type": "string"}, golden={"data": "a"})
    publish("document", "document", {"type": "dict", "properties": {}}, {"type": "dict", "properties": {}}, golden={"data": {}})
    publish("names", "names", {"type": "integer"}, {"type": "ndarray", "shape": [None], "item_type": "string"}, golden={"data": 1})
    return shared_hub


def pack(how, data):
    return {"gzip": lambda: gzip.compress(data, 1), "deflate": lambda: zlib.compress(data, 1),
            "bare": lambda: zlib.compress(data)[2:-4]}[how]()


def tensors(values):
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": "FP32", "data": values}]}


# --- compressed bodies ---
@pytest.mark.parametrize("how", ["gzip", "deflate", "bare"])
def test_a_compressed_request(hub, how):
    headers = {"Content-Encoding": "gzip" if how == "gzip" else "deflate"}
    values = list(range(20000))
    for path, body in ((MODEL, tensors(values)), (RUN, {"data": values})):
        reply = hub.post(path.format("same"), data=pack(how, json.dumps(body).encode()), headers=headers)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        assert (answer["outputs"][0]["data"] if "outputs" in answer else answer[0]) == values


def test_a_compressed_body_with_binary_tensors(hub):
    values = numpy.arange(200_000, dtype=numpy.float32)
    head = json.dumps({"inputs": [{"name": "x", "shape": [values.size], "datatype": "FP32",
                                   "parameters": {"binary_data_size": values.nbytes}}]}).encode()
    reply = hub.post(MODEL.format("same"), data=gzip.compress(head + values.tobytes()),
                     headers={"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(head)), "Accept": NPY})
    numpy.testing.assert_array_equal(from_npy(reply), values)


def test_a_chunked_compressed_body_in_small_turns(tmp_path, identity_onnx):
    """With the smallest turn a body is unpacked and read in many; its last piece comes when the socket is silent."""
    hub = HubProcess(tmp_path / "hub", "--limits.loop_turn_us", "10")
    try:
        assert hub.publish(document("same"), identity_onnx)["status"] == "succeeded"
        values = numpy.random.default_rng(7).random(30_000, dtype=numpy.float32).tolist()
        text = json.dumps(tensors(values)).encode()
        for end in (0, 1, 100): # what is unpacked last is a whole piece, or nearly so, and takes more than a turn
            packed = gzip.compress(text[:1] + b" " * (-(len(text) + end) % (16 << 10)) + text[1:])
            for data in (packed, iter([packed[:100], packed[100:101], packed[101:-1], packed[-1:]])):
                reply = hub.post(MODEL.format("same"), data=data, headers={"Content-Encoding": "gzip"})
                assert reply.status_code == 200, reply.text[:300]
                assert numpy.float32(reply.json()["outputs"][0]["data"]).tolist() == values
    finally:
        assert hub.stop() == 0, hub.log_text()


def test_what_unpacks_to_too_much_is_refused(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--limits.body_bytes", "1M")
    try:
        assert hub.publish(document("same"), identity_onnx)["status"] == "succeeded"
        bomb = zlib.compress(b" " * (1 << 30 >> 4), 9)
        reply = hub.post(MODEL.format("same"), data=bomb, headers={"Content-Encoding": "deflate"})
        assert reply.status_code == 413 and "when it is uncompressed (limits.body_bytes)" in reply.json()["error"]
    finally:
        assert hub.stop() == 0, hub.log_text()


@pytest.mark.parametrize("how, data, words", [
    ("br", b"{}", "gzip or deflate only"), ("gzip", b"{}", "is not gzip"),
    ("gzip", gzip.compress(b'{"data":[1]}', mtime=0)[:-4], "cut short"),  # no time: the test has the same name in each process
    ("deflate", zlib.compress(b'{"data":[1]}') + b"x", "left over"), ("gzip, deflate", b"{}", "gzip or deflate only"),
    ("gzip", gzip.compress(b'{"data":[1]', mtime=0), "the text ends too early"), ("gzip", gzip.compress(b"", mtime=0), "the text ends too early")])
def test_a_damaged_or_unknown_coding_is_refused(hub, how, data, words):
    reply = hub.post(RUN.format("same"), data=data, headers={"Content-Encoding": how})
    assert reply.status_code == 400 and words in reply.json()["error"], reply.text


def test_only_runs_take_compressed_bodies(hub):
    reply = hub.post("/api/v1/users", data=gzip.compress(b'{"name": "zoe"}'), headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 400 and "not compressed" in reply.json()["error"]


@pytest.mark.parametrize("accept, coding", [("gzip", "gzip"), ("deflate", "deflate"), ("gzip;q=0.5, deflate", "deflate"), ("identity", None),
                                            ("br", None), (None, None)])
def test_a_large_reply_is_compressed_as_the_caller_accepts(hub, accept, coding):
    values = [1.5] * 10_000
    for path, body in ((MODEL, tensors(values)), (MODEL, {**tensors(values), "parameters": {"binary_data_output": True}}), (RUN, {"data": values})):
        with requests.Session() as session:
            session.headers.pop("Accept-Encoding")
            reply = session.post(hub.url + path.format("same"), json=body,
                                 headers={"Authorization": f"Bearer {hub.token}", "Accept-Encoding": accept}, stream=True, timeout=60)
            assert reply.headers.get("content-encoding") == coding
            raw = reply.raw.read(decode_content=False)
            content = gzip.decompress(raw) if coding == "gzip" else zlib.decompress(raw) if coding else raw
            assert (len(raw) < 5000) == bool(coding)
            header = reply.headers.get("inference-header-content-length")
            if header:
                assert numpy.frombuffer(content[int(header):], dtype=numpy.float32).tolist() == values
            else:
                answer = json.loads(content)
                assert (answer["outputs"][0]["data"] if "outputs" in answer else answer[0]) == values
    small = hub.post(RUN.format("same"), json={"data": [1]}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


def test_what_does_not_shrink_goes_as_it_is(hub):
    values = numpy.random.default_rng(7).integers(0, 2**32, 20_000, dtype=numpy.uint32).view(numpy.float32)
    reply = hub.post(MODEL.format("same"), data=npy(values), headers={"Content-Type": NPY, "Accept": NPY, "Accept-Encoding": "gzip"})
    assert "content-encoding" not in reply.headers
    assert from_npy(reply).tobytes() == values.tobytes()


# --- .npy ---
@pytest.mark.parametrize("path", [MODEL, RUN])
def test_npy_in_and_out(hub, path):
    for count in (3, 100_000):
        values = numpy.arange(count, dtype=numpy.float32)
        reply = hub.post(path.format("same"), data=npy(values), headers={"Content-Type": NPY, "Accept": NPY})
        numpy.testing.assert_array_equal(from_npy(reply), values)
    reply = hub.post(path.format("same"), data=npy(numpy.asfortranarray(values.astype(">f4"))), headers={"Content-Type": NPY})
    answer = reply.json()
    assert (answer["outputs"][0]["data"] if path == MODEL else answer[0])[:3] == [0, 1, 2]


def test_npy_of_text_and_of_scalars(hub):
    reply = hub.post(RUN.format("names"), json={"data": 20_000}, headers={"Accept": NPY})
    assert from_npy(reply).tolist() == ["a", "b\u00e9"] * 20_000
    reply = hub.post(RUN.format("text"), data=npy(numpy.array("ab\u00e9")), headers={"Content-Type": NPY, "Accept": NPY})
    assert from_npy(reply).tolist() == ["AB\u00c9"]


@pytest.mark.parametrize("array, words", [
    (numpy.zeros(2, dtype=complex), "complex numbers"), (numpy.array([{}], dtype=object), "Python objects"),
    (numpy.zeros(2), "FP64 came, but FP32 is expected"), (numpy.zeros((2, 2), dtype=numpy.float32), "shape [2,2] came")])
def test_an_npy_that_does_not_fit_is_refused(hub, array, words):
    reply = hub.post(RUN.format("same"), data=npy(array), headers={"Content-Type": NPY})
    assert reply.status_code == 400 and "input 'x'" in reply.json()["error"] and words in reply.json()["error"], reply.text


def test_one_of_several_outputs(hub):
    body = {"data": [[1.0, 2.0], [3.0, 5.0]]}
    reply = hub.post(RUN.format("two"), json=body, headers={"Accept": NPY})
    assert reply.status_code == 400 and "'a', 'b'" in reply.json()["error"] and "?output=NAME" in reply.json()["hint"]
    reply = hub.post(RUN.format("two") + "?output=b", json=body, headers={"Accept": NPY})
    assert from_npy(reply).tolist() == [-2, -3]
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in (("a", 1), ("b", 2))]
    reply = hub.post(MODEL.format("two"), json={"inputs": inputs, "outputs": [{"name": "a"}]}, headers={"Accept": NPY})
    assert from_npy(reply).tolist() == [3]
    reply = hub.post(RUN.format("two") + "?output=c", json=body, headers={"Accept": NPY})
    assert reply.status_code == 400 and "no output 'c'" in reply.json()["error"]
    reply = hub.post(RUN.format("two"), data=npy(numpy.zeros(1)), headers={"Content-Type": NPY})
    assert reply.status_code == 400 and "has 2" in reply.json()["error"]


# --- bare bytes ---
def test_bytes_in_and_out(hub):
    values = numpy.arange(5, dtype=numpy.float32)
    reply = hub.post(RUN.format("same"), data=values.tobytes(), headers={"Content-Type": BYTES, "Accept": BYTES})
    assert reply.status_code == 200 and reply.headers["content-type"] == BYTES and reply.content == values.tobytes(), reply.text
    assert hub.post(RUN.format("same"), data=values.tobytes(), headers={"Content-Type": BYTES}).json() == [values.tolist()]
    reply = hub.post(RUN.format("text"), data="h\u00e9".encode(), headers={"Content-Type": BYTES, "Accept": BYTES})
    assert reply.content == "H\u00c9".encode()
    reply = hub.post(RUN.format("document"), data=b'{"a": [1]}', headers={"Content-Type": BYTES})
    assert reply.json() == {"got": {"a": [1]}}
    reply = hub.post(RUN.format("same"), data=b"123", headers={"Content-Type": BYTES})
    assert reply.status_code == 400 and "3 bytes do not make up FP32" in reply.json()["error"]
    reply = hub.post(RUN.format("names"), json={"data": 2}, headers={"Accept": BYTES})
    assert reply.status_code == 412 and "has 4 strings" in reply.json()["error"]


# --- what a reply tells of its run ---
def test_the_time_of_a_run_is_told_on_request(hub):
    plain = hub.post(RUN.format("same"), json={"data": [1]})
    assert "server-timing" not in plain.headers
    for values in ([1], [1] * 50_000):
        reply = hub.post(RUN.format("same"), json={"data": values}, headers={"X-DLHub-Timing": "1"})
        text = reply.headers["server-timing"]
        found = re.fullmatch(r'decode;dur=([\d.]+), queue;dur=([\d.]+), batch;desc="rows=(\d+) runs=(\d+) cut=(\w+)", run;dur=([\d.]+), '
                             r'encode;dur=([\d.]+), memo;desc=(\w+)', text)
        assert found, text
        assert float(found[6]) > 0 and float(found[7]) > 0 and int(found[4]) == 1 and found[8] == "off"


# --- large replies and documents leave the loop to others ---
def test_large_documents_and_replies_are_made_beside_the_loop(hub):
    big = {"rows": [{"name": f"row {i}", "values": list(range(20))} for i in range(20_000)]}
    assert hub.post(RUN.format("document"), json={"data": big}).json() == {"got": big}
    reply = hub.post(RUN.format("document"), data=json.dumps({"data": [big]}))
    assert reply.status_code == 400 and "expected an object, got a list" in reply.json()["error"]


# --- parameters of bodies that have no place for them ---

@pytest.fixture(scope="module")
def scaled(shared_hub):
    servable = python("scaled", "scaled", {**ARRAY, "name": "x"}, {"type": "python object", "python_type": "dict"})
    servable["methods"]["run"]["parameters"] = {"factor": 1.5, "times": 1, "negative": False, "unit": "", "table": None}
    task = shared_hub.publish({**document("scaled", dependencies={"python": {"numpy": None}}), "servable": servable,
                               "golden": {"request": {"data": [1, 2]}}}, SCALED, "scaled.py")
    assert task["status"] == "succeeded", task

    def ask(query, kind, route=RUN, **headers):
        values = numpy.array([1.0, 2.0])
        return shared_hub.post(route.format("scaled") + query, data=npy(values) if kind == NPY else values.tobytes(),
                               headers={"Content-Type": kind, **headers})
    return ask


@pytest.mark.parametrize("kind", [NPY, BYTES])
def test_parameters_of_bare_bodies_come_in_the_query(scaled, kind):
    plain = scaled("", kind)
    assert plain.status_code == 200 and plain.json() == {"values": [1.5, 3], "unit": "", "table": None}, plain.text
    query = "?factor=2&times=3&negative=true&unit=12%20km&table=%5B1,%22a%22%5D&method=run"
    given = scaled(query, kind)
    assert given.status_code == 200, given.text
    assert given.json() == {"values": [-6, -12], "unit": "12 km", "table": [1, "a"]}


@pytest.mark.parametrize("kind, headers", [(NPY, {}), (BYTES, {"Inference-Header-Content-Length": "0"})])
def test_parameters_in_the_query_of_an_inference(scaled, kind, headers):
    answer = scaled("?factor=2", kind, MODEL, **headers)
    assert answer.status_code == 200, answer.text
    assert re.search(rb'"values": ?\[2(\.0)?, ?4(\.0)?\]', answer.content.replace(b"\\", b"")), answer.content


@pytest.mark.parametrize("query, why", [
    ("?faktor=2", "has no parameter 'faktor'; those of its description are: 'factor', 'negative', 'table', 'times', 'unit'"),
    ("?factor=two", "'factor' is 'two', but must be a number"), ("?times=2.5", "'times' is '2.5', but must be a whole number"),
    ("?negative=maybe", "must be true or false"), ("?times=", "must be a whole number"), ("?times", "must be a whole number"),
    ("?times=2&times=3", "'times' is in the query twice")])
@pytest.mark.parametrize("kind", [NPY, BYTES])
def test_a_query_that_is_no_parameter_is_refused(scaled, kind, query, why):
    answer = scaled(query, kind)
    assert answer.status_code == 400 and why in answer.json()["error"], answer.text
