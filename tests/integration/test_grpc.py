"""The gRPC front door, by the clients that speak to it: tritonclient and plain grpcio."""
import asyncio
import csv
import queue
import re

import grpc
import numpy
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2 as messages, service_pb2_grpc as services
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

import perf_analyzer
from support import HubProcess, ROOT, document, wait_for

NAME = "admin/double"
CODE = '''
import time

def same(x):
    return x

def upper(text: str) -> str:
    return text.upper()

def fail(text: str) -> str:
    raise ValueError("no " + text)

def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
'''


def python_servable(function, kind):
    argument = {"type": kind, "shape": "Any"} if kind == "ndarray" else {"type": kind}
    return {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": argument, "output": argument, "method_details": {"module": "functions", "method_name": function}}}}


def publish_function(hub, function, kind, request, **dlhub):
    metadata = {**document(function, **dlhub), "servable": python_servable(function, kind), "golden": {"request": {"inputs": [request]}}}
    task = hub.publish(metadata, CODE, "functions.py")
    assert task["status"] == "succeeded", task


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
    for name in ("double", "secret", "readable"):
        assert shared_hub.publish(document(name), double_onnx)["status"] == "succeeded"
    put_access = lambda name, **lists: shared_hub.request("PUT", f"/api/v1/servables/admin/{name}/access", json=lists).status_code
    assert put_access("secret", visible_to=[], run_by=[]) == 200
    assert put_access("readable", visible_to=["public"], run_by=[]) == 200
    text = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    publish_function(shared_hub, "same", "ndarray", {"name": "input", "shape": [1], "datatype": "FP32", "data": [1]})
    publish_function(shared_hub, "upper", "string", text)
    publish_function(shared_hub, "wait", "float", {"name": "input", "shape": [], "datatype": "FP64", "data": [0]},
                     serving={"batch": False, "replicas": {"max": 1}})
    return shared_hub


@pytest.fixture
def client(hub):
    with triton.InferenceServerClient(hub.grpc) as one:
        yield one


@pytest.fixture
def stub(hub):
    with grpc.insecure_channel(hub.grpc, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield services.GRPCInferenceServiceStub(channel)


@pytest.fixture
def headers(hub):
    return {"authorization": f"Bearer {hub.token}"}


def tensor(rows):
    values = numpy.asarray(rows, numpy.float32)
    one = triton.InferInput("x", values.shape, "FP32")
    one.set_data_from_numpy(values)
    return values, one


# --- the hub ---
def test_the_server_tells_what_it_is(client, headers):
    assert client.is_server_live() and client.is_server_ready(headers=headers)
    metadata = client.get_server_metadata()
    assert metadata.name == "dlhub" and {"statistics", "model_configuration", "model_repository"} <= set(metadata.extensions)


def test_settings_are_told_and_not_changed(client, headers):
    assert client.get_log_settings().settings["log_info"].bool_param and not client.get_log_settings().settings["log_verbose_level"].uint32_param
    assert client.get_trace_settings().settings["trace_level"].value == ["OFF"]
    with pytest.raises(InferenceServerException, match="for administrators") as refused:
        client.update_log_settings({"log_verbose_level": 1})
    assert refused.value.status() == "StatusCode.PERMISSION_DENIED"
    with pytest.raises(InferenceServerException, match="dlhubd.conf") as refused:
        client.update_trace_settings(settings={"trace_level": "TIMESTAMPS"}, headers=headers)
    assert refused.value.status() == "StatusCode.FAILED_PRECONDITION"


def test_health(hub):
    with grpc.insecure_channel(hub.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"") == b"\x08\x01" and check(b"\x0a\x1e" + b"inference.GRPCInferenceService") == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as unknown:
            check(b"\x0a\x05other")
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        for service, status in ((b"", 1), (b"\x0a\x05other", 3)):
            call = watch(service)
            assert next(call) == bytes([8, status])
            call.cancel()


# --- models ---
def test_metadata_and_configuration(client, headers):
    assert client.is_model_ready(NAME) and not client.is_model_ready("admin/none") and not client.is_model_ready(NAME, "7")
    assert not client.is_model_ready("admin/secret") and client.is_model_ready("admin/secret", headers=headers)
    metadata = client.get_model_metadata(NAME)
    assert (metadata.name, list(metadata.versions), metadata.platform) == (NAME, ["1"], "dlhub_openvino")
    assert [(one.name, one.datatype, list(one.shape)) for one in (*metadata.inputs, *metadata.outputs)] == [("x", "FP32", [-1, 4]), ("y", "FP32", [-1, 4])]
    config = client.get_model_config(NAME, "1", as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_FP32" and config["backend"] == "openvino" and config["version_policy"] == {"all": {}}


def test_every_part_of_a_configuration_is_what_rest_says(hub, client):
    metadata = document("served", serving={"batch": {"max": 16, "preferred": [4, 8], "delay_ms": 2}, "replicas": {"max": 3}, "memo": True})
    assert hub.publish(metadata, hub.get("/api/v1/servables/admin/double/files/model.onnx").content)["status"] == "succeeded"
    rest = hub.get("/v2/models/admin/served/config").json()

    def plain(value):  # JSON of protobuf leaves out what is empty or 0, and writes 64-bit numbers as text
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if plain(one) not in ("", "0", "False", [], {}) or key in ("all", "decoupled")}
        return [plain(one) for one in value] if isinstance(value, list) else str(value)

    config = client.get_model_config("admin/served", as_json=True)["config"]
    rest["dynamic_batching"]["default_queue_policy"].pop("timeout_action")  # REJECT is 0
    assert plain(config) == plain({key: value for key, value in rest.items() if key != "model_transaction_policy"} | {"version_policy": {"all": {}}})


def test_index_and_statistics_show_what_the_caller_may_see(client, headers):
    _, one = tensor([[1, 2, 3, 4]])
    client.infer("admin/secret", [one], headers=headers)
    names = lambda headers: {row.name for row in client.get_model_repository_index(headers=headers).models}
    seen = lambda headers: {row.name for row in client.get_inference_statistics(headers=headers).model_stats}
    assert {NAME, "admin/secret"} <= names(headers) and "admin/secret" in seen(headers)
    assert NAME in names({}) and "admin/secret" not in names({}) | seen({})
    assert {(row.version, row.state) for row in client.get_model_repository_index().models if row.name == NAME} == {("1", "READY")}
    before = client.get_inference_statistics(NAME).model_stats[0]
    client.infer(NAME, [one])
    after = client.get_inference_statistics(NAME).model_stats[0]
    stats = after.inference_stats
    assert after.inference_count == before.inference_count + 1 and stats.success.count == before.inference_stats.success.count + 1
    assert stats.success.count == stats.compute_input.count == stats.compute_infer.count == stats.compute_output.count
    assert stats.compute_infer.ns > 0 and after.last_inference > 1_700_000_000_000


def test_loading_needs_the_right_to_manage(client, headers):
    for call in (client.load_model, client.unload_model, client.load_model):
        with pytest.raises(InferenceServerException, match="its owner does not let you") as refused:
            call(NAME)
        assert refused.value.status() == "StatusCode.PERMISSION_DENIED"
        call(NAME, headers=headers)
    with pytest.raises(InferenceServerException, match="publish a version"):
        client.load_model(NAME, headers=headers, config="{}")
    _, one = tensor([[1, 2, 3, 4]])
    client.unload_model(NAME, headers=headers)
    client.infer(NAME, [one])


def test_loading_a_version_that_is_not_the_newest(tmp_path, identity_onnx, double_onnx):
    hub = HubProcess(tmp_path / "hub")
    for model in (identity_onnx, double_onnx):
        assert hub.publish(document("versioned"), model)["status"] == "succeeded"
    workers = lambda: hub.get("/api/v1/hub").json()["workers"]

    def over_rest(kind, version):
        reply = hub.post(f"/v2/repository/models/admin/versioned/versions/{version}/{kind}")
        assert reply.status_code == 200, reply.text
        assert reply.json() == {"name": "admin/versioned", "version": version, "state": "READY" if kind == "load" else "UNAVAILABLE"}

    with grpc.insecure_channel(hub.grpc) as channel:
        calls = services.GRPCInferenceServiceStub(channel)

        def over_grpc(kind, version=None, **choice):
            request = getattr(messages, f"RepositoryModel{kind.title()}Request")(model_name="admin/versioned")
            request.parameters["version"].CopyFrom(messages.ModelRepositoryParameter(**choice or {"string_param": version}))
            getattr(calls, f"RepositoryModel{kind.title()}")(request, timeout=30, metadata=[("authorization", f"Bearer {hub.token}")])

        for ask in (over_rest, over_grpc):
            for version in ("1", "2"):
                ask("unload", version)
            wait_for(lambda: workers() == 0, what="the end of all workers")
            ask("load", "1")
            assert workers() == 1
            ask("load", "2")
            assert workers() == 2
            ask("unload", "1")
            wait_for(lambda: workers() == 1, what="the end of one worker")
            ask("load", "2")
            assert workers() == 1  # it was the other one's
        for kind in ("load", "unload"):
            for choice, code in (({"string_param": "9"}, grpc.StatusCode.NOT_FOUND), ({"int64_param": 1}, grpc.StatusCode.INVALID_ARGUMENT)):
                with pytest.raises(grpc.RpcError) as refused:
                    over_grpc(kind, **choice)
                assert refused.value.code() == code, refused.value
            assert hub.post(f"/v2/repository/models/admin/versioned/versions/9/{kind}").status_code == 404
            reply = hub.post(f"/v2/repository/models/admin/versioned/{kind}", json={"parameters": {"version": "1"}})
            assert reply.status_code == 400 and "the path says it" in reply.json()["error"]
    assert hub.stop() == 0


def test_shared_memory_says_what_to_use_instead(client):
    assert not client.get_system_shared_memory_status().regions and not client.get_cuda_shared_memory_status().regions
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory("any")
    with pytest.raises(InferenceServerException, match="lends memory by descriptor") as refused:
        client.register_system_shared_memory("region", "/key", 64)
    assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
    with pytest.raises(InferenceServerException, match="CUDA shared memory is not offered"):
        client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64)
    one = triton.InferInput("x", [1, 4], "FP32")
    one.set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException, match="no region"):  # with one that was lent: test_shared_memory.py
        client.infer(NAME, [one])


# --- inference ---
def test_inference(client):
    values, one = tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    answer = client.infer(NAME, [one], outputs=[triton.InferRequestedOutput("y")], request_id="seven", priority=1, timeout=5_000_000,
                          client_timeout=20, parameters={"triton_enable_empty_final_response": True})
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("seven", NAME, "1")
    numpy.testing.assert_array_equal(answer.as_numpy("y"), 2 * values)


@pytest.mark.parametrize("version", ["", "1", "latest"])
def test_versions(client, version):
    values, one = tensor([[1, 2, 3, 4]])
    assert client.infer(NAME, [one], model_version=version).get_response().model_version == "1"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_messages(client, coding):
    values, one = tensor(numpy.arange(400_000).reshape(-1, 4) % 7)
    numpy.testing.assert_array_equal(client.infer(NAME, [one], compression_algorithm=coding).as_numpy("y"), 2 * values)


def test_a_large_tensor_both_ways(client):
    values, one = tensor(numpy.arange(4 << 20).reshape(-1, 4))
    for _ in range(3):
        numpy.testing.assert_array_equal(client.infer(NAME, [one]).as_numpy("y"), 2 * values)


def test_many_at_once(client):
    done = queue.Queue()
    for i in range(200):
        _, one = tensor([[i, i, i, i]])
        client.async_infer(NAME, [one], callback=lambda result, error: done.put((result, error)), request_id=str(i))
    for _ in range(200):
        result, error = done.get(timeout=60)
        assert error is None and result.as_numpy("y")[0, 0] == 2 * int(result.get_response().id)


def test_asyncio(hub):
    async def run():
        async with triton_aio.InferenceServerClient(hub.grpc) as client:
            rows = [tensor([[i, 0, 0, 0]]) for i in range(8)]
            answers = await asyncio.gather(*(client.infer(NAME, [one]) for _, one in rows))
            assert [answer.as_numpy("y")[0, 0] for answer in answers] == [2 * i for i in range(8)]

            async def requests():
                for i, (_, one) in enumerate(rows):
                    yield {"model_name": NAME, "inputs": [one], "request_id": str(i)}
            seen = set()
            async for result, error in client.stream_infer(requests()):
                assert error is None
                seen.add(result.get_response().id)
            assert seen == {str(i) for i in range(8)}
    asyncio.run(run())


CONTENTS = [("BOOL", "bool_contents", [True, False, True]), ("INT8", "int_contents", [-128, 0, 127]), ("INT16", "int_contents", [-32768, 1, 32767]),
            ("INT32", "int_contents", [-2**31, 5, 2**31 - 1]), ("INT64", "int64_contents", [-2**63, 6, 2**63 - 1]),
            ("UINT8", "uint_contents", [0, 7, 255]), ("UINT16", "uint_contents", [0, 8, 65535]), ("UINT32", "uint_contents", [0, 9, 2**32 - 1]),
            ("UINT64", "uint64_contents", [0, 10, 2**64 - 1]), ("FP32", "fp32_contents", [-1.5, 0, 3e38]), ("FP64", "fp64_contents", [-1.5, 0, 1e300])]


@pytest.mark.parametrize("datatype, field, values", CONTENTS, ids=[row[0] for row in CONTENTS])
def test_typed_contents(stub, datatype, field, values):
    request = messages.ModelInferRequest(model_name="admin/same")
    one = request.inputs.add(name="input", datatype=datatype, shape=[len(values)])
    getattr(one.contents, field).extend(values)
    answer = stub.ModelInfer(request)
    assert answer.outputs[0].datatype == datatype and list(answer.outputs[0].shape) == [3]
    kinds = {"BOOL": numpy.bool_, "FP32": numpy.float32, "FP64": numpy.float64}
    kind = kinds.get(datatype) or getattr(numpy, datatype.lower())
    numpy.testing.assert_array_equal(numpy.frombuffer(answer.raw_output_contents[0], kind), numpy.array(values, kind))


def test_long_typed_contents(stub):
    values = numpy.arange(1_000_000, dtype=numpy.int64) * 7
    request = messages.ModelInferRequest(model_name="admin/same")
    request.inputs.add(name="input", datatype="INT64", shape=[len(values)]).contents.int64_contents.extend(values.tolist())
    answer = stub.ModelInfer(request)
    numpy.testing.assert_array_equal(numpy.frombuffer(answer.raw_output_contents[0], numpy.int64), values)


def test_text(client, stub):
    one = triton.InferInput("input", [1], "BYTES")
    one.set_data_from_numpy(numpy.array(["grüße"], dtype=object))
    assert client.infer("admin/upper", [one]).as_numpy("output")[0].decode() == "GRÜSSE"
    request = messages.ModelInferRequest(model_name="admin/upper")
    request.inputs.add(name="input", datatype="BYTES", shape=[1]).contents.bytes_contents.append("typed".encode())
    assert stub.ModelInfer(request).raw_output_contents[0] == serialize_byte_tensor(numpy.array([b"TYPED"], dtype=object)).item()


def test_long_text(client):
    """What takes long to look at does not hold the hub up; it comes back whole."""
    one = triton.InferInput("input", [1], "BYTES")
    one.set_data_from_numpy(numpy.array(["grün " * 200_000], dtype=object))
    assert client.infer("admin/upper", [one]).as_numpy("output")[0].decode() == "GRÜN " * 200_000
    one.set_data_from_numpy(numpy.array([b"\xff" * 100_000], dtype=object))
    with pytest.raises(InferenceServerException, match="input 'input': the string is not UTF-8"):
        client.infer("admin/upper", [one])


# --- streams ---
def test_a_stream_goes_on_after_an_error(client, headers):
    done = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)), headers=headers)
    names = ["admin/secret", "admin/none", NAME, "bad name", NAME]
    for i, name in enumerate(names):
        _, one = tensor([[i, 0, 0, 0]])
        client.async_stream_infer(name, [one], request_id=str(i))
    answers, errors = {}, []
    for _ in names:
        result, error = done.get(timeout=60)
        if error:
            errors.append(error.message())
        else:
            answers[result.get_response().id] = result.as_numpy("y")[0, 0]
    client.stop_stream()
    assert answers == {"0": 0, "2": 4, "4": 8}
    assert sorted(errors) == ["INVALID_ARGUMENT: 'bad name' is no name of a servable; the model's name is OWNER/NAME, as in 'dlhub search'",
                              "NOT_FOUND: no servable admin/none that you may see"]


def test_an_error_in_a_stream_names_its_request(stub):
    request = messages.ModelInferRequest(model_name="admin/none", id="which")
    answers = list(stub.ModelStreamInfer(iter([request])))
    assert len(answers) == 1 and answers[0].infer_response.id == "which" and answers[0].error_message.startswith("NOT_FOUND: ")


def test_a_stream_answers_as_it_is_ready(stub):
    """A request behind a slow one does not wait for it; the call ends after all are answered."""
    slow = messages.ModelInferRequest(model_name="admin/wait", id="slow")
    slow.inputs.add(name="input", datatype="FP64", shape=[1]).contents.fp64_contents.append(0.5)
    quick = messages.ModelInferRequest(model_name=NAME, id="quick", raw_input_contents=[bytes(16)])
    quick.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    assert [answer.infer_response.id for answer in stub.ModelStreamInfer(iter([slow, quick]))] == ["quick", "slow"]


def test_more_requests_in_a_stream_than_may_be_under_way(hub_with, double_onnx):
    with hub_with("--limits.grpc_calls", "4") as process:
        assert process.publish(document("double"), double_onnx)["status"] == "succeeded"
        request = messages.ModelInferRequest(model_name=NAME, raw_input_contents=[bytes(16)])
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        with grpc.insecure_channel(process.grpc) as channel:
            answers = services.GRPCInferenceServiceStub(channel).ModelStreamInfer(
                messages.ModelInferRequest(id=str(i), **{"model_name": NAME}) if i % 7 == 3 else request for i in range(500))
            assert sum(1 for _ in answers) == 500


# --- watching ---
def test_calls_are_counted_and_named(hub, stub, double_onnx):
    def calls(code):
        text = hub.get("/metrics").text
        found = re.search(f'dlhub_grpc_calls_total{{code="{code}"}} (\\d+)', text)
        return int(found.group(1)) if found else 0
    before = calls("OK"), calls("NOT_FOUND")
    infer(stub)
    with pytest.raises(grpc.RpcError) as refused:
        infer(stub, name="admin/none", metadata=[("x-request-id", "seven")])
    assert dict(refused.value.trailing_metadata())["x-request-id"] == "seven"
    assert (calls("OK"), calls("NOT_FOUND")) == (before[0] + 1, before[1] + 1)
    assert re.search("dlhub_grpc_connections [1-9]", hub.get("/metrics").text)


def test_a_slow_call_is_logged_with_its_id(hub_with, double_onnx):
    with hub_with("--log.slow_ms", "1") as process:
        publish_function(process, "wait", "float", {"name": "input", "shape": [], "datatype": "FP64", "data": [0]})
        with grpc.insecure_channel(process.grpc) as channel:
            infer(services.GRPCInferenceServiceStub(channel), name="admin/wait", inputs=(("input", "FP64", (1,)),), raw=(numpy.float64(0.01).tobytes(),),
                  metadata=[("x-request-id", "the-slow-one")])
        assert re.search("a slow run: .*admin/wait.*request_id=the-slow-one", process.log_text())


# --- perf_analyzer ---
@perf_analyzer.needed
@pytest.mark.parametrize("flags", [(), ("--async", "--concurrency-range", "8"), ("--async", "--streaming", "--concurrency-range", "4"), ("-b", "4")],
                         ids=["plain", "async", "stream", "batch"])
def test_perf_analyzer(hub, tmp_path, double_onnx, flags):
    hub.publish(document("batched", serving={"batch": {"max": 16}}), double_onnx)
    table = tmp_path / "table.csv"
    done = perf_analyzer.run(hub, "admin/batched", "-i", "grpc", "-u", hub.grpc, "-f", str(table), *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(csv.DictReader(table.open()))
    assert float(row["Inferences/Second"]) > 0 and int(row["Server Compute Infer"]) > 0, done.stdout


def test_an_answer_from_memory_says_so(hub, client, headers):
    hub.publish(document("kept", serving={"memo": True}), hub.get("/api/v1/servables/admin/double/files/model.onnx").content)
    marks, (values, one) = [], tensor([[1, 2, 3, 4]])
    for more in ({}, {}, {"cache-control": "no-cache"}):
        answer = client.infer("admin/kept", [one], headers={**headers, **more})
        numpy.testing.assert_array_equal(answer.as_numpy("y"), 2 * values)
        parameters = answer.get_response().parameters
        marks.append(parameters["memo"].string_param if "memo" in parameters else None)
    assert marks == [None, "hit", None]


# --- errors ---
def infer(stub, name=NAME, token=None, timeout=30, metadata=(), inputs=(("x", "FP32", (1, 4)),), raw=(bytes(16),), **fields):
    request = messages.ModelInferRequest(model_name=name, raw_input_contents=list(raw), **fields)
    for input_name, datatype, shape in inputs:
        request.inputs.add(name=input_name, datatype=datatype, shape=shape)
    metadata = [*metadata, ("authorization", token)] if token else list(metadata)
    return stub.ModelInfer(request, timeout=timeout, metadata=metadata)


@pytest.mark.parametrize("code, words, arguments", [
    ("NOT_FOUND", "no servable admin/none that you may see, or sign in", {"name": "admin/none"}),
    ("NOT_FOUND", "no servable admin/secret that you may see, or sign in", {"name": "admin/secret"}),
    ("NOT_FOUND", "version 9 that you may see", {"model_version": "9"}),
    ("INVALID_ARGUMENT", "'double' is no name of a servable; the model's name is OWNER/NAME", {"name": "double"}),
    ("INVALID_ARGUMENT", "is no name of a servable", {"name": ""}),
    ("INVALID_ARGUMENT", "is no name of a servable", {"name": "admin/../double"}),
    ("PERMISSION_DENIED", "you may see admin/readable, but its owner does not let you do this", {"name": "admin/readable"}),
    ("UNAUTHENTICATED", "unknown or has expired", {"token": "Bearer dlh_0"}),
    ("UNAUTHENTICATED", "not of the form 'Bearer TOKEN'", {"token": "Basic YTpi"}),
    ("UNAUTHENTICATED", "no token behind 'Bearer'", {"token": "Bearer"}),
    ("INVALID_ARGUMENT", "input 'x' is missing", {"inputs": (), "raw": ()}),
    ("INVALID_ARGUMENT", "input 'q' is not known", {"inputs": (("q", "FP32", (1, 4)),)}),
    ("INVALID_ARGUMENT", "input 'x' comes twice", {"inputs": (("x", "FP32", (1, 4)),) * 2, "raw": (bytes(16),) * 2}),
    ("INVALID_ARGUMENT", "there are 1 inputs, but 2 raw_input_contents", {"raw": (bytes(16),) * 2}),
    ("INVALID_ARGUMENT", "shape \\[1,4\\] of FP32 takes 16 bytes, but 15 came", {"raw": (bytes(15),)}),
    ("INVALID_ARGUMENT", "shape \\[1,5\\] came, but \\[-1,4\\] is expected", {"inputs": (("x", "FP32", (1, 5)),), "raw": (bytes(20),)}),
    ("INVALID_ARGUMENT", "FP64 came, but FP32 is expected", {"inputs": (("x", "FP64", (1, 2)),)}),
    ("INVALID_ARGUMENT", "unknown datatype 'FP31'", {"inputs": (("x", "FP31", (1, 4)),)}),
    ("INVALID_ARGUMENT", "shape: -1 is no length of an axis", {"inputs": (("x", "FP32", (-1, 4)),)}),
    ("INVALID_ARGUMENT", "shape: more than 32 axes", {"inputs": (("x", "FP32", (1,) * 33),)}),
    ("INVALID_ARGUMENT", "multiplies past 2\\^63", {"inputs": (("x", "FP32", (2**62, 4)),)}),
    ("INVALID_ARGUMENT", "the id has 1025 bytes; at most 1024", {"id": "a" * 1025}),
    ("DEADLINE_EXCEEDED", "", {"name": "admin/wait", "inputs": (("input", "FP64", (1,)),), "raw": (numpy.float64(20).tobytes(),), "timeout": 0.5}),
], ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "")
def test_errors(stub, code, words, arguments):
    with pytest.raises(grpc.RpcError, match="") as refused:
        infer(stub, **arguments)
    assert refused.value.code().name == code, refused.value
    assert re.search(words, refused.value.details()), refused.value.details()


@pytest.mark.parametrize("datatype, field, values, words", [
    ("INT8", "int_contents", [1, 128, 3], "input 'input': element 1: 128 does not fit INT8"), ("UINT8", "uint_contents", [0, 0, 256], "element 2: 256 does not fit UINT8"),
    ("FP32", "fp32_contents", [1, 2], "shape \\[3\\] has 3 elements, but 2 came"), ("FP32", "fp32_contents", [1, 2, 3, 4], "shape \\[3\\] has 3 elements, but more came"),
    ("INT64", "int_contents", [1, 2, 3], "INT64 is given in int64_contents, but its values are in int_contents"), ("FP16", "fp32_contents", [1, 2, 3], "FP16 travels in raw_input_contents only"),
])
def test_errors_of_typed_contents(stub, datatype, field, values, words):
    request = messages.ModelInferRequest(model_name="admin/same")
    getattr(request.inputs.add(name="input", datatype=datatype, shape=[3]).contents, field).extend(values)
    with pytest.raises(grpc.RpcError, match=words) as refused:
        stub.ModelInfer(request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("key, kind, value, words", [
    ("timeout", "string_param", "soon", "parameter 'timeout' must be a whole number"), ("priority", "int64_param", -1, "parameter 'priority' must be a whole number"),
    ("k", "double_param", float("nan"), "parameter 'k': NaN and Infinity are not taken")])
def test_errors_of_parameters(stub, key, kind, value, words):
    request = messages.ModelInferRequest(model_name=NAME)
    setattr(request.parameters[key], kind, value)
    with pytest.raises(grpc.RpcError, match=words):
        stub.ModelInfer(request)


def test_a_servable_that_fails_says_why(hub, stub):
    text = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    metadata = {**document("fails"), "servable": python_servable("fail", "string"), "golden": {"request": {"inputs": [text]}}}
    assert hub.publish(metadata, CODE.replace('raise ValueError("no " + text)', 'return text if text == "a" else 1 / 0'), "functions.py")["status"] == "succeeded"
    request = messages.ModelInferRequest(model_name="admin/fails")
    request.inputs.add(name="input", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"b")
    with pytest.raises(grpc.RpcError, match="division by zero") as failed:
        stub.ModelInfer(request)
    assert failed.value.code() == grpc.StatusCode.UNKNOWN


def test_messages_that_are_none(hub):
    with grpc.insecure_channel(hub.grpc) as channel:
        for call, message in (("ModelInfer", b"\xff\xff"), ("ModelMetadata", b"\x0a\x7f"), ("ModelInfer", b"\x2a\x02\x0a\x05")):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/inference.GRPCInferenceService/{call}")(message)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, refused.value
        with pytest.raises(grpc.RpcError, match="there is no call '/inference.GRPCInferenceService/Other'") as refused:
            channel.unary_unary("/inference.GRPCInferenceService/Other")(b"")
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_protocol_is_that_of_the_clients():
    """Names and numbers of api/inference.proto are those that tritonclient has."""
    text = re.sub(r"//.*", "", (ROOT / "api" / "inference.proto").read_text())
    theirs = {}

    def collect(descriptors):
        for descriptor in descriptors:
            theirs.setdefault(descriptor.name, set()).update((field.name, field.number) for field in descriptor.fields)
            collect(descriptor.nested_types)
    from tritonclient.grpc import model_config_pb2
    for module in (messages, model_config_pb2):
        collect(module.DESCRIPTOR.message_types_by_name.values())
    stack, count = [], 0
    for token in re.finditer(r"message (\w+) \{|(?:enum|service) \w+ \{|oneof \w+ \{|(?:repeated )?(?:map<[^>]*>|[\w.]+) (\w+) = (\d+);|\}", text):
        if token.group(1):
            stack.append(token.group(1))
        elif token.group().endswith("{"):
            stack.append(stack[-1] if token.group().startswith("oneof") else None)
        elif token.group() == "}":
            stack.pop()
        elif stack[-1]:
            assert (token.group(2), int(token.group(3))) in theirs[stack[-1]], (stack[-1], token.group())
            count += 1
    assert count > 120
