"""The first story: a model file is published, found, described and run."""
import numpy

from support import document


def test_onnx_from_file_to_answer(hub, identity_onnx):
    task = hub.publish(document("identity", "Gives back what it gets"), identity_onnx)
    assert task["status"] == "succeeded", task
    assert task["result"]["version"] == 1 and task["result"]["engine"] == "openvino"

    found = hub.get("/api/v1/search?q=gives", token=None).json()
    assert found["total"] == 1 and found["items"][0]["name"] == "admin/identity"

    described = hub.get("/api/v1/servables/admin/identity", token=None).json()
    method = described["servable"]["methods"]["run"]
    assert method["input"]["type"] == "ndarray" and method["input"]["shape"] == [None]
    assert described["files"][0]["path"] == "model.onnx"

    meta = hub.get("/v2/models/admin/identity", token=None).json()
    assert meta["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]

    answer = hub.post("/v2/models/admin/identity/infer", token=None, json={
        "id": "7", "inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1.5, -2, 3e-3]}]})
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][0]
    assert output["name"] == "y" and output["shape"] == [3]
    numpy.testing.assert_array_equal(numpy.float32(output["data"]), numpy.float32([1.5, -2, 3e-3]))
    assert answer.json()["id"] == "7" and answer.json()["model_version"] == "1"

    answer = hub.post("/api/v1/servables/admin/identity/run", token=None, json={"data": [1, 2]})
    assert answer.json() == [[1.0, 2.0]]
    answer = hub.post("/api/v1/servables/admin/identity/run", token=None, json={"data": [1, 2], "envelope": True})
    assert answer.json()["output"] == [1.0, 2.0] and answer.json()["version"] == 1


def test_the_same_content_is_the_same_version(hub, identity_onnx):
    first = hub.publish(document("identity"), identity_onnx)["result"]
    second = hub.publish(document("identity"), identity_onnx)["result"]
    assert first["version"] == second["version"] == 1


def test_binary_tensors_both_ways(hub, identity_onnx):
    hub.publish(document("identity"), identity_onnx)
    import json
    for count in (1, 100, 5000, 1_000_000):  # inside the frame, and in shared memory
        values = numpy.random.default_rng(0).random(count, numpy.float32)
        head = json.dumps({"inputs": [{"name": "x", "shape": [count], "datatype": "FP32",
                                       "parameters": {"binary_data_size": 4 * count}}],
                           "parameters": {"binary_data_output": True}}).encode()
        answer = hub.post("/v2/models/admin/identity/infer", data=head + values.tobytes(), headers={
            "Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
        assert answer.status_code == 200, answer.text
        split = int(answer.headers["Inference-Header-Content-Length"])
        assert json.loads(answer.content[:split])["outputs"][0]["parameters"]["binary_data_size"] == 4 * count
        numpy.testing.assert_array_equal(numpy.frombuffer(answer.content[split:], numpy.float32), values)


def test_a_graph_that_openvino_cannot_read_runs_in_its_framework(hub):
    """ai.onnx.ml is seen at inspection; an operator that OpenVINO lacks only when it loads the model. Both end in ONNX Runtime."""
    from onnx import TensorProto, helper
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    scaler = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[2.0, 0.5])
    model = helper.make_model(helper.make_graph([scaler], "scaler", [x], [y]), opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 8
    task = hub.publish(document("scaler"), model.SerializeToString())
    assert task["status"] == "succeeded" and task["result"]["engine"] == "onnxruntime", task
    answer = hub.post("/v2/models/admin/scaler/infer", json={
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[3, 4]]}]})
    assert answer.json()["outputs"][0]["data"] == [4.0, 1.0], answer.text

    values = helper.make_tensor_value_info("v", TensorProto.STRING, [None])
    upper = helper.make_tensor_value_info("u", TensorProto.STRING, [None])
    node = helper.make_node("StringConcat", ["v", "v"], ["u"])
    model = helper.make_model(helper.make_graph([node], "twice", [values], [upper]), opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    golden = {"request": {"inputs": [{"name": "v", "shape": [1], "datatype": "BYTES", "data": ["ab"]}]}}
    task = hub.publish({**document("twice"), "golden": golden}, model.SerializeToString())
    assert task["status"] == "succeeded" and task["result"]["engine"] == "onnxruntime", task
    answer = hub.post("/api/v1/servables/admin/twice/run", json={"data": ["a", "b"]})
    assert answer.json() == [["aa", "bb"]], answer.text
