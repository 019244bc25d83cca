"""The gRPC front door's connections: what a peer may not do, who leaves, and the hub's end."""
import concurrent.futures
import gzip
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import grpc
import pytest
from tritonclient.grpc import service_pb2 as messages, service_pb2_grpc as services

import http2
from support import BIN, HubProcess, document, wait_for

LIVE = "/inference.GRPCInferenceService/ServerLive"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
WAIT = """
import time

def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""


def publish_wait(hub):
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                                    "method_details": {"module": "slow", "method_name": "wait"}}}}
    golden = {"request": {"inputs": [{"name": "input", "shape": [], "datatype": "FP64", "data": [0]}]}}
    task = hub.publish({**document("slow", serving={"batch": False}), "servable": servable, "golden": golden}, WAIT, "slow.py")
    assert task["status"] == "succeeded", task


def wait_request(seconds, **fields):
    request = messages.ModelInferRequest(model_name="admin/slow", raw_input_contents=[struct.pack("<d", seconds)], **fields)
    request.inputs.add(name="input", datatype="FP64", shape=[1])
    return request


@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory):
    process = HubProcess(tmp_path_factory.mktemp("slow") / "hub", "--limits.queue_runs", "1", "--worker.replicas", "1")
    publish_wait(process)
    process.stop()
    return process


@pytest.fixture
def slow_hub(slow_folder):
    slow_folder.start()
    yield slow_folder
    assert slow_folder.stop() == 0, slow_folder.log_text()


@pytest.fixture
def stub(slow_hub):
    with grpc.insecure_channel(slow_hub.grpc) as channel:
        yield services.GRPCInferenceServiceStub(channel)


def code_of(call):
    try:
        call()
    except grpc.RpcError as failed:
        return failed.code().name
    return "OK"


def is_live(address):
    with grpc.insecure_channel(address) as channel:
        return services.GRPCInferenceServiceStub(channel).ServerLive(messages.ServerLiveRequest(), timeout=30).live


def open_files(hub):
    return len(os.listdir(f"/proc/{hub.process.pid}/fd"))


# --- who speaks something else ---
def test_http1_is_told_where_it_is(shared_hub):
    with socket.create_connection(shared_hub.grpc.split(":")) as line:
        line.sendall(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
        reply = b"".join(iter(lambda: line.recv(4096), b""))
    assert reply.startswith(b"HTTP/1.1 400 ") and b"this port speaks gRPC" in reply
    assert is_live(shared_hub.grpc)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nXX", b"\x80" + os.urandom(64), b""],
                         ids=["TLS", "half a preface", "noise", "nothing"])
def test_junk_ends_the_connection(shared_hub, junk):
    with socket.create_connection(shared_hub.grpc.split(":"), timeout=30) as line:
        line.sendall(junk)
        line.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1" not in b"".join(iter(lambda: line.recv(4096), b""))
    assert is_live(shared_hub.grpc)


@pytest.mark.parametrize("pairs, status", [({"content_type": "application/json"}, "415"), ({":method": "GET"}, "405")])
def test_http2_that_is_no_grpc(shared_hub, pairs, status):
    with http2.Line(shared_hub.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, http2.headers(LIVE, **pairs)))
        kind, flags, stream, fields = line.until(http2.HEADERS)
        assert flags & http2.END_STREAM and fields[":status"] == status


# --- framing ---
@pytest.mark.parametrize("path, data, end, words", [
    (LIVE, b"", True, "the call has no message"), (LIVE, b"\x00\x00", True, "the call ended inside a message"),
    (LIVE, http2.message(b"ab")[:-1], True, "the call ended inside a message"), (LIVE, http2.message() * 2, True, "0"),
    (LIVE, b"\x02\x00\x00\x00\x00", False, "must begin with 0 or 1"), (LIVE, http2.message(b"", 1), False, "there is no grpc-encoding"),
    (LIVE, b"\x00\xff\xff\xff\xff", False, "is larger than 1048576 (limits.metadata_bytes)"),
    (INFER, b"\x00\xff\xff\xff\xff", False, "is larger than 268435456 (limits.body_bytes)"),
])
def test_broken_messages(shared_hub, path, data, end, words):
    with http2.Line(shared_hub.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(path)))
        for i in range(len(data)):  # each byte in a frame of its own
            line.send(http2.frame(http2.DATA, 0, 1, data[i:i + 1]))
        if end:
            line.send(http2.frame(http2.DATA, http2.END_STREAM, 1))
        assert words in line.status(1)
        line.ping()
    assert is_live(shared_hub.grpc)


def test_a_message_that_expands_without_end(hub_with):
    with hub_with("--limits.body_bytes", "1M") as process, http2.Line(process.grpc) as line:
        bomb = gzip.compress(bytes(64 << 20), 9)
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER, grpc_encoding="gzip")))
        data = http2.message(bomb, 1)
        for at in range(0, len(data), 16384):
            line.send(http2.frame(http2.DATA, 0, 1, data[at:at + 16384]))
        assert "expands to more than 1048576 bytes (limits.body_bytes)" in line.status(1)


@pytest.mark.parametrize("coding, data, words", [("gzip", b"no gzip", "damaged"), ("deflate", b"", "cut short"), ("br", b"", "grpc-encoding 'br' is not taken")])
def test_broken_compression(shared_hub, coding, data, words):
    with http2.Line(shared_hub.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER, grpc_encoding=coding)),
                  http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(data, 1)))
        assert words in line.status(1)


# --- floods ---
@pytest.mark.parametrize("what", [
    http2.frame(http2.PING, payload=b"8 bytes!"), http2.frame(http2.SETTINGS), http2.frame(http2.PRIORITY, stream=1, payload=bytes(5)),
    http2.frame(http2.DATA, stream=1)], ids=["ping", "settings", "priority", "empty data"])
def test_a_flood_ends_the_connection(shared_hub, what):
    with http2.Line(shared_hub.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(LIVE)))
        try:
            for _ in range(60):
                line.send(what * 1000)
        except (ConnectionResetError, BrokenPipeError):
            pass
        line.rest()
    assert is_live(shared_hub.grpc)


def test_rapid_resets_end_the_connection(shared_hub):
    """Calls that are reset as soon as they begin (CVE-2023-44487)."""
    with http2.Line(shared_hub.grpc) as line:
        head = http2.headers(LIVE)
        try:
            for first in range(1, 40001, 2000):
                line.send(*(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, head) + http2.frame(http2.RST_STREAM, 0, stream, bytes(4))
                            for stream in range(first, first + 2000, 2)))
        except (ConnectionResetError, BrokenPipeError):
            pass
        line.rest()
    assert is_live(shared_hub.grpc)


def test_headers_without_end(shared_hub):
    """CONTINUATION frames that never end the head (VU#421644)."""
    with http2.Line(shared_hub.grpc) as line:
        line.send(http2.frame(http2.HEADERS, 0, 1, http2.headers(LIVE)))
        try:
            for _ in range(2000):
                line.send(http2.frame(http2.CONTINUATION, 0, 1, b"\x00" + http2.text("a") + http2.text("b" * 100)))
        except (ConnectionResetError, BrokenPipeError):
            pass
        line.rest()
    assert is_live(shared_hub.grpc)


def test_too_much_metadata(shared_hub):
    with http2.Line(shared_hub.grpc) as line:
        limit = line.settings[6]
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(LIVE, big="x" * limit)))
        assert f"more than {limit} bytes (limits.header_bytes)" in line.status(1)
        line.ping()  # and the connection goes on
        # One entry of the table, named so often that it expands to far more: the connection ends.
        block = b"\x40" + http2.text("a") + http2.text("b" * 3000) + b"\xbe" * 200
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 3, http2.headers(LIVE) + block))
        line.rest()
    assert is_live(shared_hub.grpc)


# --- limits ---
def test_limits_of_a_connection(hub_with):
    with hub_with("--limits.connections", "8", "--limits.grpc_calls", "3", "--limits.grpc_bytes", "2M", "--limits.idle_s", "1") as process:
        with http2.Line(process.grpc) as line:
            assert line.settings[3] == 3
            # More bytes under way than there may be: that call is refused, and the others and the connection go on.
            head = http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER)) + http2.frame(http2.HEADERS, http2.END_HEADERS, 3, http2.headers(LIVE))
            line.send(head, http2.frame(http2.DATA, 0, 1, struct.pack(">BI", 0, 100 << 20)))
            for _ in range(200):
                line.send(http2.frame(http2.DATA, 0, 1, bytes(16384)))
            assert "limits.grpc_bytes" in line.status(1)
            line.send(http2.frame(http2.DATA, http2.END_STREAM, 3, http2.message()))
            assert line.status(3) == "0"
            # With no call left it is sent away after limits.idle_s.
            kinds = [kind for kind, *_ in line.rest()]
            assert http2.GOAWAY in kinds


def test_where_connections_run_short_those_without_a_call_give_way(hub_with):
    with hub_with("--limits.connections", "8") as process:
        lines = [http2.Line(process.grpc) for _ in range(6)] + [http2.Line(process.grpc, greet=False) for _ in range(2)]
        for stream in lines[:6]:
            stream.ping()
        with http2.Line(process.grpc) as ninth:  # takes the place of one that has not spoken
            ninth.ping()
            assert lines[6].rest() == []
            lines[0].ping()
        for line in lines[:6]:
            line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(STREAM)))
            line.ping()
        busy = [http2.Line(process.grpc) for _ in range(2)]
        for line in busy:
            line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(STREAM)))
            line.ping()
        turned_away = http2.Line(process.grpc, greet=False)
        assert turned_away.rest() == []
        for line in lines[:6] + busy:  # they have calls
            line.ping()
            line.socket.close()
        wait_for(lambda: is_live(process.grpc), what="room for a connection")
        assert "limits.connections" in process.log_text()


def test_who_does_not_speak_is_not_waited_for(hub_with):
    with hub_with("--limits.head_s", "1") as process:
        lines = [http2.Line(process.grpc, greet=False) for _ in range(3)]
        lines[1].send(http2.PREFACE[:10])
        lines[2].send(http2.PREFACE + http2.frame(http2.SETTINGS) + http2.frame(http2.HEADERS, 0, 1, http2.headers(LIVE)))  # and no end of it
        assert lines[0].rest() == [] and lines[1].rest() == []
        lines[2].rest()
        assert is_live(process.grpc)


def test_a_message_that_drips(hub_with):
    """It is never silent, but comes slower than limits.body_rate."""
    with hub_with("--limits.head_s", "1", "--limits.body_rate", "1M") as process, http2.Line(process.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER)), http2.frame(http2.DATA, 0, 1, struct.pack(">BI", 0, 1 << 20)))
        line.socket.settimeout(0.1)
        ended = None
        while not ended:
            line.send(http2.frame(http2.DATA, 0, 1, b"x"))
            try:
                ended = line.status(1)
            except TimeoutError:
                pass
        assert ended == "the message comes slower than limits.body_rate"


def test_a_call_whose_message_does_not_come(hub_with):
    with hub_with("--limits.idle_s", "1") as process, http2.Line(process.grpc) as line:
        line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER)), http2.frame(http2.DATA, 0, 1, b"\x00\x00"),
                  http2.frame(http2.HEADERS, http2.END_HEADERS, 3, http2.headers(STREAM)))
        assert "nothing more of the call came for limits.idle_s" in line.status(1)
        line.ping()
        line.send(http2.frame(http2.DATA, http2.END_STREAM, 3))  # a stream may be silent
        assert line.until(http2.HEADERS, 3)[1] & http2.END_STREAM


def test_a_client_that_takes_no_answer(hub_with, identity_onnx):
    """Its window stays shut: the call is given up after limits.idle_s, and its memory is free."""
    with hub_with("--limits.idle_s", "1") as process:
        assert process.publish(document("identity"), identity_onnx)["status"] == "succeeded"
        request = messages.ModelInferRequest(model_name="admin/identity", raw_input_contents=[bytes(40000)])
        request.inputs.add(name="x", datatype="FP32", shape=[10000])
        with http2.Line(process.grpc, window=0) as line:
            data = http2.message(request.SerializeToString())
            line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER)))
            for at in range(0, len(data), 16384):
                line.send(http2.frame(http2.DATA, 0, 1, data[at:at + 16384]))
            line.send(http2.frame(http2.DATA, http2.END_STREAM, 1))
            assert int.from_bytes(line.until(http2.RST_STREAM, 1)[3], "big") == 8  # CANCEL


# --- deadlines, and callers that leave ---
def run_once(stub, seconds=0, timeout=30):
    return stub.ModelInfer(wait_request(seconds), timeout=timeout)


def short_run(stub):
    """The code of a run that may take, and wait for, 50 ms."""
    return code_of(lambda: stub.ModelInfer(wait_request(0, parameters={"timeout": messages.InferParameter(int64_param=50000)})))


def begin_run(stub, seconds):
    """A run that is with the worker: the next one is not refused, but waits until its own deadline."""
    running = stub.ModelInfer.future(wait_request(seconds))
    wait_for(lambda: short_run(stub) == "DEADLINE_EXCEEDED", what="the run to begin")
    return running


def test_the_deadline_of_a_call_is_that_of_its_run(stub):
    assert run_once(stub).raw_output_contents
    assert code_of(lambda: run_once(stub, seconds=20, timeout=0.3)) == "DEADLINE_EXCEEDED"
    assert run_once(stub).raw_output_contents  # the worker is there again, long before 20 s


def test_a_full_queue(stub):
    assert run_once(stub).raw_output_contents
    running = begin_run(stub, 20)
    waiting = stub.ModelInfer.future(wait_request(0))
    with pytest.raises(grpc.RpcError) as full:
        wait_for(lambda: short_run(stub) == "RESOURCE_EXHAUSTED", what="a full queue")
        stub.ModelInfer(wait_request(0))
    assert full.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "limits.queue_runs" in full.value.details()
    assert int(dict(full.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    waiting.cancel()
    running.cancel()


@pytest.mark.parametrize("how", ["cancel", "connection", "stream"])
def test_a_caller_that_leaves_takes_its_run_along(slow_hub, how):
    """Of 20 s of work nobody has to wait for the rest: the worker is told, and takes the next run."""
    with grpc.insecure_channel(slow_hub.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        assert run_once(stub).raw_output_contents
        if how == "cancel":
            running = begin_run(stub, 20)
            assert running.cancel()
        elif how == "connection":
            with grpc.insecure_channel(slow_hub.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
                begin_run(services.GRPCInferenceServiceStub(other), 20)
        else:
            hold = threading.Event()

            def requests():
                yield wait_request(20)
                hold.wait(30)
            stream = stub.ModelStreamInfer(requests())
            wait_for(lambda: short_run(stub) == "DEADLINE_EXCEEDED", what="the run to begin")
            stream.cancel()
            hold.set()
        assert run_once(stub, timeout=18).raw_output_contents


def test_answers_of_runs_whose_caller_left_go_nowhere(slow_hub, stub):
    assert run_once(stub).raw_output_contents  # the worker has its own files
    before = open_files(slow_hub)
    for _ in range(20):
        with http2.Line(slow_hub.grpc) as line:
            data = http2.message(wait_request(0.01).SerializeToString())
            line.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(INFER)), http2.frame(http2.DATA, http2.END_STREAM, 1, data))
    wait_for(lambda: open_files(slow_hub) <= before + 3, what="the end of the connections")
    assert is_live(slow_hub.grpc)


# --- the hub's begin and end ---
def test_the_end_waits_for_runs_and_says_so(slow_hub):
    with grpc.insecure_channel(slow_hub.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        assert run_once(stub).raw_output_contents
        watched = []
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(watch) == b"\x08\x01"
        hold = threading.Event()

        def requests():
            yield wait_request(0)
            hold.wait(30)
        stream = stub.ModelStreamInfer(requests())
        assert not next(stream).error_message

        def follow():
            try:
                watched.extend(watch)
            except grpc.RpcError as error:
                watched.append(error.code().name)
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            following = threads.submit(follow)
            running = stub.ModelInfer.future(wait_request(1))
            wait_for(lambda: short_run(stub) == "DEADLINE_EXCEEDED", what="the run to begin")
            slow_hub.process.send_signal(signal.SIGTERM)
            assert running.result(timeout=30).raw_output_contents
            assert code_of(lambda: next(stream)) == "UNAVAILABLE"
            hold.set()
            following.result(timeout=30)
        assert watched == [b"\x08\x02", "UNAVAILABLE"]
        assert slow_hub.process.wait(30) == 0


def test_a_hub_that_starts_anew_keeps_its_address(hub_with):
    with hub_with() as process:
        before = process.grpc
        assert is_live(before)
        process.process.send_signal(signal.SIGHUP)
        process.wait_ready()
        assert process.grpc == before and is_live(before)


def test_a_hub_without_grpc(hub_with):
    with hub_with("--grpc", "") as process:
        assert process.grpc is None and re.fullmatch(r"dlhubd \S+ ready at http://\S+\n", process.ready_line)
        assert process.get("/v2").status_code == 200


def test_the_address_is_taken(shared_hub, tmp_path):
    flags = ["--data", tmp_path / "other", "--http", "127.0.0.1:0"]
    second = subprocess.run([BIN / "dlhubd", *flags, "--grpc", shared_hub.grpc], capture_output=True, text=True, timeout=60)
    assert second.returncode != 0 and f"cannot listen on {shared_hub.grpc}" in second.stderr and "--grpc ADDR:PORT" in second.stderr
    wrong = subprocess.run([BIN / "dlhubd", *flags, "--grpc", "here"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode != 0 and "grpc is 'here', but must be ADDR:PORT" in wrong.stderr
