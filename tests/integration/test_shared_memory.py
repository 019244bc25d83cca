"""Tensors in memory that the hub lends to clients on its machine, over the local socket; used by tritonclient as any region."""
import array
import json
import mmap
import os
import socket

import numpy
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from support import HubProcess, document, wait_for


class Local:
    """One client of the local socket."""

    def __init__(self, path, token):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.hello = self.ask({"token": token})

    def ask(self, message):
        return self.ask_bytes(json.dumps(message).encode())

    def ask_bytes(self, data):
        try:
            self.socket.send(data)
        except BrokenPipeError:
            pass  # refused already; why can still be read
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4))
        self.fd = array.array("i", ancillary[0][2])[0] if ancillary else None
        return json.loads(data) if data else None

    def lend(self, size):
        reply = self.ask({"lend": size})
        memory = mmap.mmap(self.fd, size) if self.fd is not None else None
        if self.fd is not None:
            os.close(self.fd)
        return reply, memory

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, identity_onnx):
    process = HubProcess(tmp_path_factory.mktemp("lend") / "hub", "--limits.local_client_bytes", "64M", "--limits.local_bytes", "96M",
                         "--limits.local_regions", "4", "--limits.local_clients", "8")
    assert process.publish(document("same"), identity_onnx)["status"] == "succeeded"
    yield process
    assert process.stop() == 0, process.log_text()
    assert not (process.data / "local.sock").exists()


@pytest.fixture
def local(hub):
    one = Local(hub.data / "local.sock", hub.token)
    yield one
    one.close()


@pytest.fixture
def client(hub):
    with triton.InferenceServerClient(hub.url.removeprefix("http://")) as one:
        yield one


@pytest.fixture
def headers(hub):
    return {"Authorization": f"Bearer {hub.token}"}


def test_the_hub_tells_where(hub, client, headers):
    assert hub.get("/api/v1/hub").json()["local_socket"] == str(hub.data / "local.sock")
    assert "local_socket" not in hub.get("/api/v1/hub", token=None).json()
    assert "dlhub_shared_memory" in client.get_server_metadata(headers=headers)["extensions"]
    assert oct(os.stat(hub.data / "local.sock").st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("count", [8, 1 << 20])
def test_inputs_and_outputs_in_a_region(local, client, headers, count):
    size = 4 * count
    reply, memory = local.lend(2 * size)
    assert reply["bytes"] == 2 * size
    view = numpy.frombuffer(memory, dtype=numpy.float32)
    view[:count] = numpy.arange(count)
    tensor, output = triton.InferInput("x", [count], "FP32"), triton.InferRequestedOutput("y")
    tensor.set_shared_memory(reply["region"], size)
    output.set_shared_memory(reply["region"], size, offset=size)
    answer = client.infer("admin/same", [tensor], outputs=[output], headers=headers)
    assert answer.get_output("y")["parameters"] == {"shared_memory_region": reply["region"], "shared_memory_offset": size,
                                                    "shared_memory_byte_size": size}
    assert "data" not in answer.get_output("y")
    numpy.testing.assert_array_equal(view[count:], numpy.arange(count))
    # One of the two ways alone.
    answer = client.infer("admin/same", [tensor], headers=headers)
    numpy.testing.assert_array_equal(answer.as_numpy("y"), numpy.arange(count))
    view[count:] = 0
    sent = triton.InferInput("x", [count], "FP32")
    sent.set_data_from_numpy(numpy.ones(count, dtype=numpy.float32))
    client.infer("admin/same", [sent], outputs=[output], headers=headers)
    assert (view[count:] == 1).all()
    assert local.ask({"release": reply["region"]}) == {"released": reply["region"]}


@pytest.mark.parametrize("offset, size", [(0, 65), (61, 4), (64, 4), (2**63, 4), (2**64 - 4, 4), (0, 2**64 - 1)])
def test_what_does_not_lie_in_the_region_is_refused(hub, local, offset, size):
    region = local.lend(64)[0]["region"]
    part = {"shared_memory_region": region, "shared_memory_offset": offset, "shared_memory_byte_size": size}
    given = {"name": "x", "shape": [1], "datatype": "FP32"}
    for body in ({"inputs": [{**given, "shape": [max(size // 4, 1)], "datatype": "FP32" if size % 4 == 0 else "UINT8", "parameters": part}]},
                 {"inputs": [{**given, "data": [1]}], "outputs": [{"name": "y", "parameters": part}]}):
        reply = hub.post("/v2/models/admin/same/infer", json=body)
        assert reply.status_code in (400, 413), reply.text
    wait_for(lambda: hub.get("/v2/health/live").status_code == 200)


def test_an_output_larger_than_its_part_is_refused(hub, local):
    reply, memory = local.lend(64)
    body = {"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
            "outputs": [{"name": "y", "parameters": {"shared_memory_region": reply["region"], "shared_memory_byte_size": 12}}]}
    answer = hub.post("/v2/models/admin/same/infer", json=body)
    assert answer.status_code == 413 and "has 16 bytes, but its part" in answer.json()["error"]
    assert memory[:] == bytes(64)


def test_a_region_is_its_principals_and_ends_with_the_connection(hub, client, headers):
    local = Local(hub.data / "local.sock", hub.token)
    region = local.lend(64)[0]["region"]
    tensor = triton.InferInput("x", [4], "FP32")
    tensor.set_shared_memory(region, 16)
    eve = {"Authorization": f"Bearer {hub.user('eve')}"}
    for others in (eve, {}):
        with pytest.raises(InferenceServerException, match="no region"):
            client.infer("admin/same", [tensor], headers=others)
    assert client.infer("admin/same", [tensor], headers=headers).as_numpy("y").tolist() == [0] * 4
    local.close()

    def gone():
        try:
            client.infer("admin/same", [tensor], headers=headers)
        except InferenceServerException as error:
            return "no region" in str(error)
    wait_for(gone, what="the region's end")


# --- over gRPC ---
@pytest.fixture
def grpc_client(hub):
    with triton_grpc.InferenceServerClient(hub.grpc) as one:
        yield one


@pytest.fixture
def metadata(hub):
    return {"authorization": f"Bearer {hub.token}"}


@pytest.mark.parametrize("count", [8, 1 << 20])
def test_regions_over_grpc(hub, local, grpc_client, metadata, count):
    size = 4 * count
    reply, memory = local.lend(2 * size)
    view = numpy.frombuffer(memory, dtype=numpy.float32)
    view[:count] = numpy.arange(count)
    tensor, output = triton_grpc.InferInput("x", [count], "FP32"), triton_grpc.InferRequestedOutput("y")
    tensor.set_shared_memory(reply["region"], size)
    output.set_shared_memory(reply["region"], size, offset=size)
    answer = grpc_client.infer("admin/same", [tensor], outputs=[output], headers=metadata)
    said = {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in answer.get_output("y").parameters.items()}
    assert said == {"shared_memory_region": reply["region"], "shared_memory_offset": size, "shared_memory_byte_size": size}
    assert list(answer.get_response().raw_output_contents) == [b""]
    numpy.testing.assert_array_equal(view[count:], numpy.arange(count))
    # One of the two ways alone.
    answer = grpc_client.infer("admin/same", [tensor], headers=metadata)
    numpy.testing.assert_array_equal(answer.as_numpy("y"), numpy.arange(count))
    view[count:] = 0
    sent = triton_grpc.InferInput("x", [count], "FP32")
    sent.set_data_from_numpy(numpy.ones(count, dtype=numpy.float32))
    grpc_client.infer("admin/same", [sent], outputs=[output], headers=metadata)
    assert (view[count:] == 1).all()
    # It is its principal's.
    for others in ({"authorization": f"Bearer {hub.user(f'mallory{count}')}"}, {}):
        with pytest.raises(InferenceServerException, match="no region"):
            grpc_client.infer("admin/same", [tensor], headers=others)


@pytest.mark.parametrize("offset, size, words", [(0, 68, "has 64 bytes, but 68 from 0"), (61, 4, "has 64 bytes"), (2**63 - 4, 4, "has 64 bytes"), (0, 8, "shared_memory_byte_size is 8")])
def test_parts_over_grpc_that_are_refused(hub, local, grpc_client, metadata, offset, size, words):
    region = local.lend(64)[0]["region"]
    tensor = triton_grpc.InferInput("x", [size // 4 if size != 8 else 1], "FP32")
    tensor.set_shared_memory(region, size, offset=offset)
    with pytest.raises(InferenceServerException, match=words):
        grpc_client.infer("admin/same", [tensor], headers=metadata)


def test_an_output_over_grpc_larger_than_its_part(local, grpc_client, metadata):
    reply, memory = local.lend(64)
    tensor, output = triton_grpc.InferInput("x", [4], "FP32"), triton_grpc.InferRequestedOutput("y")
    tensor.set_data_from_numpy(numpy.ones(4, dtype=numpy.float32))
    output.set_shared_memory(reply["region"], 12)
    with pytest.raises(InferenceServerException, match="has 16 bytes, but its part") as refused:
        grpc_client.infer("admin/same", [tensor], outputs=[output], headers=metadata)
    assert refused.value.status() == "StatusCode.OUT_OF_RANGE" and memory[:] == bytes(64)


def test_the_socket_refuses_what_it_must(hub, local):
    assert local.hello == {"user": "admin"}
    path = hub.data / "local.sock"
    assert Local(path, "dlh_" + "0" * 64).hello["code"] == "UNAUTHENTICATED"
    assert Local(path, "").hello == {"user": None}
    for message, code in (({}, "INVALID_ARGUMENT"), ({"lend": 0}, "INVALID_ARGUMENT"), ({"lend": "x"}, "INVALID_ARGUMENT"),
                          ({"release": "dlhub-0"}, "NOT_FOUND"), ({"lend": 65 << 20}, "RESOURCE_EXHAUSTED"), ([], "INVALID_ARGUMENT")):
        assert local.ask(message)["code"] == code, message
    assert local.ask_bytes(b"nonsense")["code"] == "INVALID_ARGUMENT"
    assert local.ask_bytes(b" " * 5000)["code"] == "OUT_OF_RANGE"
    first = [local.lend(4096)[0] for _ in range(4)]
    assert "limits.local_regions" in local.ask({"lend": 1})["error"]
    local.ask({"release": first[0]["region"]})
    assert "region" in local.ask({"lend": 1})


def test_limits_of_all_clients(hub):
    path = hub.data / "local.sock"
    first, second = Local(path, hub.token), Local(path, hub.token)
    assert "region" in first.lend(60 << 20)[0]
    assert "limits.local_bytes" in second.lend(60 << 20)[0]["error"]
    first.close()
    wait_for(lambda: "region" in second.lend(60 << 20)[0], what="the first one's memory")
    second.close()

    def many():
        clients = []
        try:
            clients = [Local(path, "") for _ in range(9)]
            return "limits.local_clients" in (clients[-1].hello or {}).get("error", "")
        finally:
            for one in clients:
                one.close()
    assert many()
    wait_for(lambda: Local(path, "").hello == {"user": None}, what="places of clients that left")


def test_tritons_own_way_says_what_to_use(client, headers):
    client.unregister_system_shared_memory(headers=headers)
    client.unregister_cuda_shared_memory(headers=headers)
    assert client.get_system_shared_memory_status(headers=headers) == []
    with pytest.raises(InferenceServerException, match="lends memory by descriptor"):
        client.register_system_shared_memory("r", "/r", 4, headers=headers)


def test_the_socket_can_be_elsewhere_or_nowhere(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--local", str(tmp_path / "s"), "--local.mode", "666")
    assert oct(os.stat(tmp_path / "s").st_mode & 0o777) == "0o666" and Local(tmp_path / "s", "").hello == {"user": None}
    assert hub.stop() == 0 and not (tmp_path / "s").exists()
    hub = HubProcess(tmp_path / "hub", "--local", "off")
    assert "local_socket" not in hub.get("/api/v1/hub").json() and not (hub.data / "local.sock").exists()
    assert hub.stop() == 0
    deep = tmp_path / ("x" * 100)
    hub = HubProcess(deep)
    assert "no shared memory for local clients" in hub.log_text() and hub.get("/v2/health/live").status_code == 200
    assert hub.stop() == 0
