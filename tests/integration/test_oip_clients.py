"""Clients of the Open Inference Protocol, as their own documentation uses them: tritonclient over HTTP, perf_analyzer."""
import csv

import numpy
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import perf_analyzer
from support import document, wait_for

NAME = "admin/double"
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


@pytest.fixture(scope="module")
def double_onnx():
    """y = x + x; FP32 [n, 4]."""
    from onnx import TensorProto, helper
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.fixture(scope="module")
def hub(shared_hub, double_onnx):
    metadata = document("double", serving={"batch": {"max": 16, "preferred": [4, 8], "delay_ms": 0}, "replicas": {"max": 2}})
    assert shared_hub.publish(metadata, double_onnx)["status"] == "succeeded"
    assert shared_hub.publish(document("plain", serving={"batch": False}), double_onnx)["status"] == "succeeded"
    assert shared_hub.publish(document("secret"), double_onnx)["status"] == "succeeded"
    assert shared_hub.request("PUT", "/api/v1/servables/admin/secret/access", json={"visible_to": [], "run_by": []}).status_code == 200
    return shared_hub


@pytest.fixture
def client(hub):
    with triton.InferenceServerClient(hub.url.removeprefix("http://")) as one:
        yield one


@pytest.fixture
def headers(hub):
    return {"Authorization": f"Bearer {hub.token}"}


def tensor(rows, binary=True):
    values = numpy.asarray(rows, dtype=numpy.float32)
    one = triton.InferInput("x", values.shape, "FP32")
    one.set_data_from_numpy(values, binary_data=binary)
    return values, one


def test_the_server_tells_what_it_is(client, headers):
    assert client.is_server_live(headers=headers) and client.is_server_ready(headers=headers)
    metadata = client.get_server_metadata(headers=headers)
    assert metadata["name"] == "dlhub"
    assert {"binary_tensor_data", "model_configuration", "model_repository", "statistics"} <= set(metadata["extensions"])


def test_metadata_and_configuration_agree_on_the_batch_axis(client, headers):
    assert client.is_model_ready(NAME, headers=headers)
    metadata = client.get_model_metadata(NAME, headers=headers)
    config = client.get_model_config(NAME, headers=headers)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}] and metadata["versions"] == ["1"]
    assert (config["max_batch_size"], config["input"][0]["dims"], config["input"][0]["data_type"]) == (16, [4], "TYPE_FP32")
    assert config["dynamic_batching"]["preferred_batch_size"] == [4, 8] and config["instance_group"][0]["count"] == 2
    plain = client.get_model_config("admin/plain", headers=headers)
    assert (plain["max_batch_size"], plain["output"][0]["dims"]) == (0, [-1, 4]) and "dynamic_batching" not in plain


def test_metadata_names_every_version(hub, client, headers):
    from onnx import TensorProto, helper
    for number, operator in (("1", "Neg"), ("2", "Abs")):
        value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])
        model = helper.make_model(helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [value("x")], [value("y")]),
                                  opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        assert hub.publish(document("grows"), model.SerializeToString())["status"] == "succeeded"
        assert client.get_model_metadata("admin/grows", headers=headers)["versions"][-1] == number
    values, one = tensor([[-1, 2, 3, 4]])
    answers = [client.infer("admin/grows", [one], model_version=version, headers=headers).as_numpy("y")[0, 1] for version in ("1", "2", "")]
    assert answers == [-2, 2, 2]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_inference(client, headers, binary_in, binary_out):
    values, one = tensor([[1, 2, 3, 4], [5, 6, 7, 8]], binary_in)
    wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    answer = client.infer(NAME, [one], outputs=wanted, request_id="seven", headers=headers, priority=1, timeout=5_000_000)
    assert answer.get_response()["id"] == "seven"
    numpy.testing.assert_array_equal(answer.as_numpy("y"), 2 * values)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compressed_bodies(client, headers, coding, binary):
    values, one = tensor(numpy.arange(40_000).reshape(-1, 4) % 7, binary)
    wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
    answer = client.infer(NAME, [one], outputs=wanted, headers=headers, request_compression_algorithm=coding, response_compression_algorithm=coding)
    numpy.testing.assert_array_equal(answer.as_numpy("y"), 2 * values)


def test_asynchronous_inference(hub, headers):
    with triton.InferenceServerClient(hub.url.removeprefix("http://"), concurrency=4) as client:
        rows = [tensor([[i, i, i, i]]) for i in range(16)]
        asked = [client.async_infer(NAME, [one], headers=headers) for _, one in rows]
        for (values, _), request in zip(rows, asked):
            numpy.testing.assert_array_equal(request.get_result().as_numpy("y"), 2 * values)


def test_statistics_count_what_ran(client, headers):
    _, one = tensor([[1, 2, 3, 4]])
    before = client.get_inference_statistics(NAME, headers=headers)["model_stats"][0]
    for _ in range(3):
        client.infer(NAME, [one], headers=headers)
    after = client.get_inference_statistics(NAME, "1", headers=headers)["model_stats"][0]
    assert (after["name"], after["version"]) == (NAME, "1") and set(after["inference_stats"]) == set(DURATIONS)
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 3
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert NAME in {one["name"] for one in client.get_inference_statistics(headers=headers)["model_stats"]}
    never = client.get_inference_statistics("admin/secret", headers=headers)["model_stats"]
    assert [(one["version"], one["inference_count"]) for one in never] == [("1", 0)]


def test_index_and_statistics_show_what_the_caller_may_see(hub, client, headers):
    _, one = tensor([[1, 2, 3, 4]])
    client.infer("admin/secret", [one], headers=headers)
    eve = {"Authorization": f"Bearer {hub.user('eve')}"}
    listed = {(row["name"], row["version"]): row for row in client.get_model_repository_index(headers=headers)}
    assert listed[NAME, "1"]["state"] == "READY" and ("admin/secret", "1") in listed
    for others in (eve, {}):
        assert {row["name"] for row in client.get_model_repository_index(headers=others)} & {NAME, "admin/secret"} == {NAME}
        assert "admin/secret" not in {row["name"] for row in client.get_inference_statistics(headers=others)["model_stats"]}
        for ask in (client.get_model_config, client.get_inference_statistics, client.get_model_metadata):
            with pytest.raises(InferenceServerException, match="no servable admin/secret"):
                ask("admin/secret", headers=others)


def test_loading_and_unloading(hub, client, headers):
    workers = lambda: hub.get("/api/v1/hub").json()["workers"]
    eve = {"Authorization": f"Bearer {hub.user('mallory')}"}
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="does not let you do this"):
            call("admin/plain", headers=eve)
    client.unload_model("admin/plain", headers=headers)
    before = wait_for(lambda: workers() + 1, what="the number of workers") - 1
    client.load_model("admin/plain", headers=headers)
    client.load_model("admin/plain", headers=headers)
    assert workers() == before + 1
    client.unload_model("admin/plain", headers=headers)
    wait_for(lambda: workers() == before, what="the worker's end")
    values, one = tensor([[1, 2, 3, 4]])
    numpy.testing.assert_array_equal(client.infer("admin/plain", [one], headers=headers).as_numpy("y"), 2 * values)
    with pytest.raises(InferenceServerException, match="not changed by loading"):
        client.load_model("admin/plain", headers=headers, config="{}")


def test_a_version_that_cannot_be_loaded_says_why(hub, client, headers, double_onnx):
    assert hub.publish(document("frail", title="Frail", serving={"replicas": {"max": 1}}), double_onnx + b"\x72\x00")["status"] == "succeeded"
    client.unload_model("admin/frail", headers=headers)
    digest = hub.get("/api/v1/servables/admin/frail").json()["digest"].removeprefix("sha256:")
    model = hub.data / "versions" / digest / "model.onnx"
    model.rename(model.with_suffix(".away"))  # what no operator would do
    state = lambda: {row["name"]: row for row in client.get_model_repository_index(headers=headers)}["admin/frail"]

    def refused():
        try:
            client.load_model("admin/frail", headers=headers)
        except InferenceServerException as error:
            return error
        client.unload_model("admin/frail", headers=headers)  # the worker of its publish was not gone yet

    assert "model.onnx" in str(wait_for(refused, what="the refusal"))
    assert state()["state"] == "UNAVAILABLE" and "model.onnx" in state()["reason"]
    assert "admin/frail" not in {row["name"] for row in hub.post("/v2/repository/index", json={"ready": True}).json()}
    model.with_suffix(".away").rename(model)
    client.load_model("admin/frail", headers=headers)
    assert state()["state"] == "READY"


# --- perf_analyzer ---
@perf_analyzer.needed
@pytest.mark.parametrize("flags", [(), ("-b", "4"), ("--concurrency-range", "2", "--input-tensor-format", "json", "--output-tensor-format", "json")],
                         ids=["plain", "batch", "json"])
def test_perf_analyzer(hub, tmp_path, flags):
    table = tmp_path / "table.csv"
    done = perf_analyzer.run(hub, NAME, "-i", "http", "-u", hub.url.removeprefix("http://"), "-f", str(table), *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(csv.DictReader(table.open()))
    assert float(row["Inferences/Second"]) > 0 and int(row["Server Compute Infer"]) > 0, done.stdout
