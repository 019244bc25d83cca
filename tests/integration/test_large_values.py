"""Large bodies and outputs: they pass, and others do not wait for them."""
import threading

import numpy
import pytest
import requests

from support import HubProcess, document

GROW = """
import numpy

def grow(count: int) -> "numpy.ndarray":
    return numpy.full(count, 7.0, dtype=numpy.float32)
"""
GROWER = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
          "methods": {"run": {"input": {"type": "integer"},
                              "output": {"type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "FP32"}},
                              "method_details": {"module": "grow", "method_name": "grow"}}}}


def test_a_large_json_body_lets_small_requests_pass(shared_hub, identity_onnx):
    assert shared_hub.publish(document("wide"), identity_onnx)["status"] == "succeeded"
    count = 16 << 20
    body = b'{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","data":[%s]}],"outputs":[{"name":"y",' \
           b'"parameters":{"binary_data":true}}]}' % (count, b",".join([b"1.5"] * count))
    assert len(body) >= 64 << 20
    done = threading.Event()
    replies = []

    def send():
        replies.append(shared_hub.post("/v2/models/admin/wide/infer", data=body))
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    small = 0
    with requests.Session() as session:
        while not done.is_set():
            assert session.get(shared_hub.url + "/v2/health/live", timeout=60).status_code == 200
            small += 1
    thread.join()
    assert replies[0].status_code == 200, replies[0].text[:500]
    header = int(replies[0].headers["Inference-Header-Content-Length"])
    values = numpy.frombuffer(replies[0].content[header:], dtype=numpy.float32)
    assert values.shape == (count,) and (values == 1.5).all()
    assert small > 100, small


@pytest.mark.parametrize("tail", [b"", b" " * 100_000, b"!"], ids=["whole", "spaces", "wrong"])
def test_the_end_of_a_body_that_was_paused_is_read(tmp_path, identity_onnx, tail):
    """With the smallest turn each piece is read in many; the last of them comes when the socket is silent."""
    hub = HubProcess(tmp_path / "hub", "--limits.loop_turn_us", "10")
    try:
        assert hub.publish(document("wide"), identity_onnx)["status"] == "succeeded"
        count = 200_000
        body = b'{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","data":[%s]}]}' % (
            count, b",".join([b"0.12345678901234567"] * count)) + tail
        for _ in range(3):
            answer = hub.post("/v2/models/admin/wide/infer", data=body)
            if tail == b"!":
                assert answer.status_code == 400, answer.text[:500]
            else:
                assert len(answer.json()["outputs"][0]["data"]) == count
    finally:
        assert hub.stop() == 0


def test_a_large_output(shared_hub):
    golden = {"request": {"data": 3}}
    task = shared_hub.publish({**document("grow", dependencies={"python": {"numpy": None}}), "servable": GROWER, "golden": golden},
                              GROW, "grow.py")
    assert task["status"] == "succeeded", task
    count = 25_000_000
    answer = shared_hub.post("/v2/models/admin/grow/infer", json={
        "inputs": [{"name": "input", "shape": [], "datatype": "INT64", "data": [count]}], "parameters": {"binary_data_output": True}})
    assert answer.status_code == 200, answer.text[:500]
    values = numpy.frombuffer(answer.content[int(answer.headers["Inference-Header-Content-Length"]):], dtype=numpy.float32)
    assert values.shape == (count,) and (values == 7).all()


def test_many_large_inputs_in_one_run(shared_hub):
    """Each lies in shared memory of its own, that has to be announced first."""
    count, items = 60, 5000
    array = {"type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "FP64"}}
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "tuple", "element_types": [{**array, "name": f"a{i}"} for i in range(count)]},
                                    "output": {"type": "float"},
                                    "method_details": {"module": "total", "method_name": "total", "unpack": True}}}}
    golden = {"request": {"inputs": [{"name": f"a{i}", "shape": [1], "datatype": "FP64", "data": [i]} for i in range(count)]}}
    task = shared_hub.publish({**document("total", dependencies={"python": {"numpy": None}}), "servable": servable, "golden": golden},
                              "def total(*arrays):\n    return float(sum(a.sum() for a in arrays))\n", "total.py")
    assert task["status"] == "succeeded", task
    values = [numpy.full(items, i, dtype=numpy.float64) for i in range(count)]
    head = b'{"inputs":[%s]}' % b",".join(
        b'{"name":"a%d","shape":[%d],"datatype":"FP64","parameters":{"binary_data_size":%d}}' % (i, items, 8 * items) for i in range(count))
    for _ in range(3):
        answer = shared_hub.post("/v2/models/admin/total/infer", data=head + b"".join(v.tobytes() for v in values),
                                 headers={"Inference-Header-Content-Length": str(len(head))})
        assert answer.status_code == 200, answer.text[:500]
        assert answer.json()["outputs"][0]["data"] == [sum(range(count)) * items]
