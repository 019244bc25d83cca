"""Whatever a request carries, it gets a clear error at once, and the hub goes on serving."""
import contextlib
import json
import os
import re
import socket

import pytest

from raw_http import Connection
from support import HubProcess, document, wait_for

INFER = "/v2/models/admin/many/infer"
RUN = "/api/v1/servables/admin/many/run"
VALUES = {"x": ([3], "FP32", [1, 2, 3]), "m": ([2, 3], "FP32", [[1, 2, 3], [4, 5, 6]]), "i": ([2], "INT8", [1, 2]),
          "b": ([2], "BOOL", [True, False])}
DATA = {name: data for name, (_, _, data) in VALUES.items()}
LIMITS = ["--limits.body_bytes", "64K", "--limits.metadata_bytes", "16K", "--limits.archive_bytes", "64K",
          "--limits.header_bytes", "16K", "--limits.idle_s", "2"]


def infer(drop=(), **change):
    """A good request of all inputs, but for what is changed: x={"data": [1]}; None leaves a member out."""
    inputs = []
    for name, (shape, datatype, data) in VALUES.items():
        entry = {"name": name, "shape": shape, "datatype": datatype, "data": data, **change.get(name, {})}
        if name not in drop:
            inputs.append({member: value for member, value in entry.items() if value is not None})
    return json.dumps({"inputs": inputs})


def with_text(text, **change):
    """The same with `text` in the place of the value "@", which need not be JSON."""
    return infer(**change).replace('"@"', text)


def with_member(text):
    return "{" + text + "," + infer()[1:]


GOOD = infer().encode()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    import onnx
    from onnx import TensorProto, helper
    kinds = {"x": (TensorProto.FLOAT, ["n"]), "m": (TensorProto.FLOAT, [2, 3]), "i": (TensorProto.INT8, [2]),
             "b": (TensorProto.BOOL, [2])}
    values = lambda prefix: [helper.make_tensor_value_info(prefix + name, *kind) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [name], ["o_" + name]) for name in kinds]
    model = helper.make_model(helper.make_graph(nodes, "many", values(""), values("o_")),
                              opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    process = HubProcess(tmp_path_factory.mktemp("bad") / "hub", *LIMITS)
    assert process.publish(document("many"), model.SerializeToString())["status"] == "succeeded"
    yield process
    assert process.stop() == 0, process.log_text()


@pytest.fixture
def line(hub):
    with Connection(hub) as connection:
        yield connection


def still_serves(hub, line, reply):
    """A good request is answered: on the same connection where the reply left it open."""
    if reply.stays:
        assert line.request("POST", INFER, GOOD).status == 200
        return
    assert line.at_end()
    with Connection(hub) as fresh:
        assert fresh.request("POST", INFER, GOOD).status == 200


def check_error(reply, status, code, words):
    assert reply.status == status, reply.body
    error = reply.json()
    assert error["code"] == code and re.search(words, error["error"]), error
    assert reply.headers["content-type"] == "application/json"
    assert error["request_id"] == reply.headers["x-request-id"]


def test_the_good_request_is_good(hub, line):
    assert line.request("POST", INFER, GOOD).status == 200
    assert line.request("POST", RUN, json.dumps({"data": DATA}).encode()).status == 200


# --- JSON and tensors of Open Inference Protocol requests: body, what the error says ---
NUMBERS = [
    ("NaN", r"input 'x', element 0, byte \d+: .*NaN"), ("Infinity", "input 'x', element 0"), ("-Infinity", "input 'x', element 0"),
    ("nan", "input 'x', element 0"), ("1e999", "input 'x', element 0: 1e999 does not fit FP32"),
    ("-1e999", "input 'x', element 0: -1e999"), ("1e39", "input 'x', element 0: 1e39 does not fit FP32"),
    ("9" * 500, "input 'x', element 0"), ("01", "input 'x', element 0"), ("+1", "input 'x', element 0"),
    (".5", "input 'x', element 0"), ("1.", "input 'x', element 0"), ("1e", "input 'x', element 0"),
    ("--1", "input 'x', element 0"), ("0x1", "input 'x', element"), ('"1"', "input 'x', element 0: a number is expected, but a string"),
    ("true", "input 'x', element 0: a number is expected, but true"), ("null", "input 'x', element 0: null"),
    ("{}", "input 'x', element 0: an object"), ("[1]", "input 'x', element .1.: the nesting is uneven"),
]
INTEGERS = [("128", "128 does not fit INT8"), ("-129", "-129 does not fit INT8"), ("1.5", "1.5 is not a whole number"),
            ("1e-1", "1e-1 is not a whole number"), ("99999999999999999999", "does not fit INT8"),
            ("9223372036854775808", "does not fit INT8"), ("1e400", "INT8"), ("true", "a number is expected")]
SHAPES = [
    ([4], [1, 2, 3], r"shape \[4\] has 4 elements, but 3 came"), ([2], [1, 2, 3], "the shape has only 2 elements"),
    ([], [1], r"shape \[\] came, but \[-1\] is expected"), ([3, 1], [1, 2, 3], r"shape \[3,1\] came"),
    ([-1], [1], "-1 is no length of an axis"), ([1.5], [1], "1.5 is no length of an axis"), (["3"], [1], "a string came"),
    ("3", [1], "a list of whole numbers"), ([None], [1], "null came"), ([2**62, 4], [1], r"multiplies past 2\^63"),
    ([2**32, 2**32], [1], r"multiplies past 2\^63"), ([2**63], [1], "9223372036854775808 is no length"),
    ([2**64], [1], "18446744073709551616 is no length"), ([1] * 50, [1], "more than 32 axes"),
    ([10**12], [1, 2], "has 1000000000000 elements, but 2 came"),
]
BODIES = [
    *[(f"x={text[:20]}", with_text(text, x={"data": ["@", 2, 3]}), words) for text, words in NUMBERS],
    *[(f"i={text}", with_text(text, i={"data": ["@", 2]}), "input 'i', element 0: .*" + words) for text, words in INTEGERS],
    ("b=2", with_text("2", b={"data": ["@", True]}), "input 'b', element 0: 2 does not fit BOOL"),
    *[(f"shape={str(shape)[:20]}", infer(x={"shape": shape, "data": data}), "input 'x'.*" + words) for shape, data, words in SHAPES],
    ("ragged", infer(m={"data": [[1, 2], [3, 4, 5, 6]]}), "input 'm', element .1.: the nesting is uneven: a list of 4 came after one of 2"),
    ("nesting", infer(m={"data": [[1, 2, 3]]}), r"input 'm'.*shape \[2,3\] does not agree with the data, which is nested as \[1,3\]"),
    ("fixed shape", infer(m={"shape": [6], "data": [1] * 6}), r"input 'm': shape \[6\] came, but \[2,3\] is expected"),
    ("deep request", "[" * 10000, "byte 0"),
    ("deep data", with_text("[" * 10000 + "]" * 10000, x={"data": "@"}), "input 'x', .*more than 32 axes"),
    ("deep parameters", with_member('"parameters":{"a":' + "[" * 10000 + "]" * 10000 + "}"), r"byte \d+: nested deeper than 64 .limits.json_depth"),
    ("deep member", with_member('"zzz":' + '{"a":' * 10000 + "1" + "}" * 10000), "unknown member 'zzz'"),
    *[(f"no {member}", infer(x={member: None}), f"input .*'{member}' is missing") for member in ("name", "shape", "datatype", "data")],
    ("unknown input", infer(x={"name": "zzz"}), "method 'run' has no input 'zzz'; it has: 'x', 'm', 'i', 'b'"),
    ("input twice", infer(x={"name": "m"}), "input 'm' comes twice"),
    ("missing input", infer(drop=["m"]), "input 'm' is missing"),
    ("unknown datatype", infer(x={"datatype": "FLOAT"}), "input 'x'.*unknown datatype 'FLOAT'"),
    ("datatype of no text", infer(x={"datatype": 1}), "input 'x'.*a string is expected"),
    ("other datatype", infer(x={"datatype": "FP64"}), "input 'x': FP64 came, but FP32 is expected"),
    ("strings", infer(x={"datatype": "BYTES", "data": ["a", "b", "c"]}), "input 'x': BYTES came, but FP32 is expected"),
    ("unknown output", with_member('"outputs":[{"name":"zzz"}]'), "no output 'zzz'; it has: 'o_x'"),
    ("unknown member", with_member('"zzz":1'), r"byte 1: unknown member 'zzz'; a request has: id,"),
    ("unknown member of an input", infer(x={"zzz": 1}), "input 'x'.*unknown member 'zzz'"),
    ("member twice", with_member('"id":"1","id":"2"'), "'id' comes twice"),
    ("id of no text", with_member('"id":7'), "the id, a string, is expected, but a number came"),
    ("inputs of no list", '{"inputs":{}}', "the inputs, a list"), ("no inputs", '{"inputs":[]}', "input 'x' is missing"),
    ("nothing", "{}", "'inputs' is missing"), ("a list", "[]", "an object, is expected"), ("null", "null", "null came"),
    ("text", "hello", "byte 0: a value is expected"), ("more behind", infer() + "{}", "the end of the text is expected"),
    *[(f"cut at {at}", infer()[:at], f"byte {at}: the text ends too early") for at in (0, 1, 10, 60, len(GOOD) // 2, len(GOOD) - 1)],
    ("no UTF-8", b'{"id":"\xff\xfe",' + GOOD[1:], "byte 7: the text is not UTF-8"),
    ("half a character", b'{"id":"\xe2\x82",' + GOOD[1:], "byte 7: the text is not UTF-8"),
    ("overlong", b'{"id":"\xc0\xaf",' + GOOD[1:], "byte 7: the text is not UTF-8"),
    ("half a surrogate", with_member('"id":"\\ud800"'), "surrogate"), ("control character", with_member('"id":"a\nb"'), "0x0a"),
    ("byte 0", with_member('"id":"a\0b"'), "control character 0x00"), ("UTF-16", infer().encode("utf-16"), "byte 0"),
    ("byte order mark", b"\xef\xbb\xbf" + GOOD, "byte 0"),
    ("timeout below 0", with_member('"parameters":{"timeout":-1}'), "timeout: -1 is no number of microseconds"),
    ("timeout too long", with_member('"parameters":{"timeout":1e30}'), "timeout: 1e30"),
    ("binary without its header", infer(x={"data": None, "parameters": {"binary_data_size": 12}}), "Inference-Header-Content-Length"),
]


@pytest.mark.parametrize("body, words", [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_bad_inference(hub, line, body, words):
    reply = line.request("POST", INFER, body if isinstance(body, bytes) else body.encode())
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    assert reply.stays
    still_serves(hub, line, reply)


BINARY = [
    ("too few", 12, b"\0" * 11, "input 'x': the body ended after 11 of its 12 binary bytes"),
    ("none", 12, b"", "input 'x': the body ended after 0 of its 12"),
    ("too many", 12, b"\0" * 13, "bytes are left over behind the binary tensors"),
    ("not the shape's", 8, b"\0" * 8, r"input 'x': binary_data_size is 8, but FP32 \[3\] has 12 bytes"),
    ("below 0", -8, b"", "input 'x'.*-8 is no number of bytes"), ("past 2^63", 2**63, b"", "input 'x'.*9223372036854775808"),
]


@pytest.mark.parametrize("size, tail, words", [row[1:] for row in BINARY], ids=[row[0] for row in BINARY])
def test_bad_binary_tensors(hub, line, size, tail, words):
    head = infer(x={"data": None, "parameters": {"binary_data_size": size}}).encode()
    reply = line.request("POST", INFER, head + tail, Inference_Header_Content_Length=len(head))
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)


@pytest.mark.parametrize("value, words", [
    ("x", "'x', but must be a number"), ("-1", "'-1', but must be a number"), ("99999", "larger than the body"),
    ("5", "not complete in the 5 bytes"), ("99999999999999999999", "must be a number")])
def test_bad_length_of_the_json_part(hub, line, value, words):
    reply = line.request("POST", INFER, GOOD, Inference_Header_Content_Length=value)
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)


RUNS = [
    ("missing input", {"data": {k: v for k, v in DATA.items() if k != "m"}}, "input 'm' is missing"),
    ("surplus input", {"data": {**DATA, "zzz": 1}}, "method 'run' has no input 'zzz'"),
    ("ragged", {"data": {**DATA, "m": [[1, 2], [3]]}}, "input 'm', element .1.: the nesting is uneven"),
    ("text", {"data": {**DATA, "x": "abc"}}, "input 'x'.*a string came"),
    ("overflow", {"data": {**DATA, "i": [1, 300]}}, "input 'i', element 1: 300 does not fit INT8"),
    ("a number", {"data": 1}, "a list of the arguments, or an object with their names, is expected"),
    ("no data", {}, "'data', the input of method 'run', is missing"),
    ("unknown member", {"data": DATA, "zzz": 1}, "unknown member 'zzz'"),
    ("timeout", {"data": DATA, "timeout_s": -1}, "timeout_s: -1"), ("debug", {"data": DATA, "debug": 1}, "debug: true or false"),
    ("parameters", {"data": DATA, "parameters": []}, "parameters: an object"),
]


@pytest.mark.parametrize("body, words", [row[1:] for row in RUNS], ids=[row[0] for row in RUNS])
def test_bad_run(hub, line, body, words):
    reply = line.request("POST", RUN, json.dumps(body).encode())
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)


# --- names that there are not ---
@pytest.mark.parametrize("path", [
    "/v2/models/admin/zzz/infer", "/v2/models/zzz/many/infer", "/v2/models/ADMIN/many/infer", "/v2/models/admin/%00/infer",
    "/v2/models/admin/many%00/infer", "/v2/models/admin/" + "a" * 300 + "/infer", "/v2/models/admin/many/infer?method=zzz",
    "/v2/models/admin/many/infer?method=", *[f"/v2/models/admin/many/versions/{version}/infer" for version in
                                             ("9", "0", "-1", "9" * 30, "x", "sha256:zz", "sha256:" + "0" * 64, "%201")],
    "/nothing", "/v2/nothing", "/api/v1/servables/admin/many/nothing", "//v2", "/api//v1/hub", "/v2/models/admin/many/infer/more"])
def test_unknown_names_are_404(hub, line, path):
    reply = line.request("POST", path, GOOD)
    check_error(reply, 404, "NOT_FOUND", "no ")
    still_serves(hub, line, reply)


def test_a_path_that_is_not_utf8(hub, line):
    reply = line.request("GET", "/api/v1/servables/%ff/%fe")
    check_error(reply, 400, "INVALID_ARGUMENT", "path is not UTF-8")
    still_serves(hub, line, reply)


def test_what_has_no_meaning_in_a_path_stays_as_it_is(hub, line):
    assert line.request("GET", "/api/v1/servables/admin/many%zz").status == 404
    assert line.request("GET", f"{hub.url}/api/v1/servables/admin/m%61ny").status == 200


@pytest.mark.parametrize("method, path, allowed", [
    ("DELETE", "/v2", "GET, HEAD"), ("GET", INFER, "POST"), ("PATCH", RUN, "POST"), ("BREW", "/api/v1/hub", "GET, HEAD"),
    ("OPTIONS", "/api/v1/servables/admin/many", "GET, HEAD, DELETE, PATCH"), ("POST", "/api/v1/servables/admin/zzz", "GET, HEAD, DELETE, PATCH"),
    ("DELETE", "/api/v1/users", "GET, HEAD, POST")])
def test_a_wrong_verb_is_405_with_what_is_allowed(hub, line, method, path, allowed):
    reply = line.request(method, path, b"")
    check_error(reply, 405, "UNIMPLEMENTED", f"{method} is not possible on {re.escape(path)}")
    assert reply.headers["allow"] == allowed
    still_serves(hub, line, reply)


def test_head_is_get_without_its_body(hub, line):
    got, head = line.request("GET", "/v2"), line.request("HEAD", "/v2")
    assert head.status == 200 and head.headers["content-length"] == got.headers["content-length"]
    still_serves(hub, line, head)


# --- bodies of the wrong kind, and too large ones ---
@pytest.mark.parametrize("headers, words", [
    ({"Content_Type": "application/xml"}, "Content-Type is 'application/xml'"), ({"Content_Type": "image/png"}, "Content-Type"),
    ({"Content_Encoding": "br"}, "Content-Encoding is 'br'")])
@pytest.mark.parametrize("method, path", [("POST", INFER), ("POST", RUN), ("PATCH", "/api/v1/servables/admin/many")])
def test_bodies_of_the_wrong_kind(hub, line, method, path, headers, words):
    reply = line.request(method, path, GOOD, **headers)
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)

@pytest.mark.parametrize("method, path, content_type, words", [
    ("POST", INFER, "multipart/form-data; boundary=xx", "Content-Type is 'multipart/form-data; boundary=xx', but this takes JSON"),
    ("PATCH", "/api/v1/servables/admin/many", "multipart/form-data; boundary=xx", "boundary=xx', but this takes JSON"),
    ("POST", RUN, "multipart/form-data", "names no boundary of at least two characters"),
    ("POST", RUN, "multipart/form-data; boundary=x", "names no boundary of at least two characters"),
    ("POST", RUN, "multipart/form-data; boundary=xx", "'data', the input of method 'run', is missing")])
def test_forms_where_none_is_taken_and_forms_that_are_none(hub, line, method, path, content_type, words):
    reply = line.request(method, path, GOOD, Content_Type=content_type)
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.api+json", "text/plain",
                                  "application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_types_that_say_json_or_nothing_are_taken(line, kind):
    assert line.request("POST", INFER, GOOD, Content_Type=kind).status == 200


@pytest.mark.parametrize("type, body, words", [
    ("application/json", b"{}", "multipart/form-data"), ("multipart/form-data", b"x", "multipart/form-data"),
    ("multipart/form-data; boundary=bound", b"nonsense", "multipart|missing|early"),
    ("multipart/form-data; boundary=bound", b'--bound\r\nContent-Disposition: form-data; name="json"\r\n\r\n{"datacite":{"titles":[{"title":"x"}]},"dlhub":{"name":"x"}}\r\n--bound--\r\n', "part 'file'"),
    ("multipart/form-data; boundary=bound", b'--bound\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n{}\r\n--bound--\r\n', "part 'json'"),
    ("multipart/form-data; boundary=bound", b'--bound\r\nContent-Disposition: form-data; name="zzz"\r\n\r\n{}\r\n--bound--\r\n', "part 'zzz'"),
    ("multipart/form-data; boundary=bound", b'--bound\r\nContent-Disposition: form-data; name="json"\r\n\r\n{"datacite', "too early|missing"),
], ids=["json", "no boundary", "no parts", "no file", "no metadata", "unknown part", "cut"])
def test_a_publish_that_is_none(hub, line, type, body, words):
    reply = line.request("POST", "/api/v1/publish", body, token=hub.token, Content_Type=type)
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    still_serves(hub, line, reply)
    assert not list((hub.data / "publish").iterdir()), "an upload was left behind"


def part(name, data):
    return f'--bound\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode() + data + b"\r\n"


@pytest.mark.parametrize("body, limit", [
    (part("json", b" " * 20000) + part("file", b"x") + b"--bound--\r\n", "limits.metadata_bytes"),
    (part("json", b"{}") + part("file", b"x" * 70000) + b"--bound--\r\n", "limits.archive_bytes")], ids=["metadata", "archive"])
def test_a_publish_that_is_too_large(hub, line, body, limit):
    reply = line.request("POST", "/api/v1/publish", body, token=hub.token, Content_Type="multipart/form-data; boundary=bound")
    check_error(reply, 413, "OUT_OF_RANGE", re.escape(limit))
    still_serves(hub, line, reply)
    wait_for(lambda: not list((hub.data / "publish").iterdir()), what="the upload's removal")


@pytest.mark.parametrize("path, method, limit", [(INFER, "POST", "limits.body_bytes"), (RUN, "POST", "limits.body_bytes"),
                                                 ("/api/v1/servables/admin/many/access", "PUT", "limits.metadata_bytes")])
@pytest.mark.parametrize("size", [65537, 3 << 20])
def test_a_body_that_is_too_large(hub, line, path, method, limit, size):
    reply = line.request(method, path, b" " * size, token=hub.token)
    check_error(reply, 413, "OUT_OF_RANGE", rf"more than \d+ bytes .{re.escape(limit)}")
    assert reply.stays == (size < 1 << 20)
    still_serves(hub, line, reply)


def test_it_is_refused_before_it_is_sent(hub, line):
    line.send(f"POST {INFER} HTTP/1.1\r\nHost: {line.host}\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n")
    reply = line.read()
    check_error(reply, 413, "OUT_OF_RANGE", "limits.body_bytes")
    still_serves(hub, line, reply)


def chunked(data, pieces=1):
    size = max(1, len(data) // pieces)
    cuts = [data[at:at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(cut), cut) for cut in cuts) + b"0\r\n\r\n"


def send_chunked(line, path, body):
    line.send(f"POST {path} HTTP/1.1\r\nHost: {line.host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
    return line.read()


def test_chunked_bodies(hub, line):
    assert send_chunked(line, INFER, chunked(GOOD, len(GOOD))).status == 200
    reply = send_chunked(line, INFER, chunked(b" " * 300000, 9))
    check_error(reply, 413, "OUT_OF_RANGE", "limits.body_bytes")
    still_serves(hub, line, reply)
    check_error(send_chunked(line, INFER, chunked(GOOD[:-1])), 400, "INVALID_ARGUMENT", "ends too early")
    assert line.request("POST", INFER, GOOD).status == 200


# --- framing: what two parsers could read differently is refused, and the connection ends ---
N = len(GOOD)
AS_CHUNKS = chunked(GOOD).decode()
FRAMING = [
    ("length twice", f"Content-Length: {N}\r\nContent-Length: {N}", "more than one Content-Length"),
    ("two lengths", f"Content-Length: {N}\r\nContent-Length: 3", "more than one Content-Length"),
    ("length and coding", f"Content-Length: {N}\r\nTransfer-Encoding: chunked", "Transfer-Encoding with Content-Length"),
    ("coding and length", f"Transfer-Encoding: chunked\r\nContent-Length: {N}", "Transfer-Encoding with Content-Length"),
    ("space before the colon", f"Content-Length : {N}", "header's name"), ("tab before the colon", f"Content-Length\t: {N}", "header's name"),
    ("a coding with a space", "Transfer-Encoding : chunked", "header's name"),
    ("unknown coding", "Transfer-Encoding: gzip", "other than chunked"), ("two codings", "Transfer-Encoding: gzip, chunked", "other than chunked"),
    ("identity", "Transfer-Encoding: identity", "other than chunked"), ("nearly chunked", "Transfer-Encoding: xchunked", "other than chunked"),
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "more than one of it"),
    ("folded length", f"Content-Length:\r\n {N}", "one line"), ("folded coding", "Transfer-Encoding:\r\n chunked", "one line"),
    ("length past 2^63", "Content-Length: 9223372036854775808", "Content-Length is not a number"),
    ("two hosts", f"Host: other\r\nContent-Length: {N}", "more than one Host"),
    ("two tokens", f"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: {N}", "more than one Authorization"),
]


@pytest.mark.parametrize("headers, words", [row[1:] for row in FRAMING], ids=[row[0] for row in FRAMING])
def test_framing_that_could_be_read_twice(hub, line, headers, words):
    body = AS_CHUNKS if "hunked" in headers else GOOD.decode()
    line.send(f"POST {INFER} HTTP/1.1\r\nHost: {line.host}\r\n{headers}\r\n\r\n{body}")
    reply = line.read()
    check_error(reply, 400, "INVALID_ARGUMENT", words)
    assert not reply.stays
    still_serves(hub, line, reply)


def test_no_host(hub, line):
    line.send(f"POST {INFER} HTTP/1.1\r\nContent-Length: {N}\r\n\r\n{GOOD.decode()}")
    reply = line.read()
    check_error(reply, 400, "INVALID_ARGUMENT", "no Host header")
    still_serves(hub, line, reply)


def test_chunks_are_not_for_http_1_0(hub, line):
    line.send(f"POST {INFER} HTTP/1.0\r\nHost: {line.host}\r\nTransfer-Encoding: chunked\r\n\r\n{AS_CHUNKS}")
    reply = line.read()
    check_error(reply, 400, "INVALID_ARGUMENT", "HTTP/1.0")
    still_serves(hub, line, reply)


# What is not even HTTP never reaches the hub's own code: the transport says so in words of its own, and closes.
@pytest.mark.parametrize("text, status", [
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400), (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", 400), (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", 400),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: {'9' * 30}\r\n\r\n", 413),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1{'f' * 16}\r\n", 413),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", 400),
    (f"POST {INFER} HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400), ("GET /v2 HTTP/2.0\r\nHost: h\r\n\r\n", 505), ("\x16\x03\x01 \x02\r\n\r\n", 400),
    ("GET /v2 HTTP/1.1\r\nHost: h\r\nX: " + "a" * 40000, 431), ("GET /" + "a" * 40000, 414)],
    ids=lambda value: re.sub(r"[^ -~]+", " ", value)[-30:] if isinstance(value, str) else str(value))
def test_what_is_no_http(hub, line, text, status):
    line.send(text.encode("latin-1"))
    reply = line.read()
    assert reply.status == status and not reply.stays
    with Connection(hub) as fresh:
        assert fresh.request("POST", INFER, GOOD).status == 200


def test_requests_one_behind_the_other(line):
    head = f"POST {INFER} HTTP/1.1\r\nHost: {line.host}\r\nContent-Length: {N}\r\n\r\n".encode()
    bad = f"POST {INFER} HTTP/1.1\r\nHost: {line.host}\r\nContent-Length: 3\r\n\r\nabc".encode()
    line.send(head + GOOD + bad + head + GOOD + bad)
    assert [line.read().status for _ in range(4)] == [200, 400, 200, 400]


# --- clients that leave, or never finish ---
def open_files(hub):
    return len(os.listdir(f"/proc/{hub.process.pid}/fd"))


def quiet(hub):
    """How many descriptors the hub has once nothing is under way."""
    with Connection(hub) as line:
        assert line.request("POST", INFER, GOOD).status == 200
    before = open_files(hub)
    return wait_for(lambda: open_files(hub) <= before and open_files(hub), what="the end of the connections")


def test_clients_that_leave_in_the_middle(hub):
    before = quiet(hub)
    head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: {N}\r\n\r\n".encode()
    upload = (f"POST /api/v1/publish HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {hub.token}\r\nContent-Length: 60000\r\n"
              "Content-Type: multipart/form-data; boundary=bound\r\n\r\n").encode() + part("json", b"{}") + part("file", b"x" * 30000)
    for whole in (b"", head[:1], head[:30], head, head + GOOD[:50], head + GOOD, upload[:250], upload):
        for reset in (False, True):
            line = Connection(hub)
            line.send(whole)
            if reset:  # the client's machine says so at once
                line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            line.socket.close()
    wait_for(lambda: open_files(hub) <= before, what="the end of the connections")
    wait_for(lambda: not list((hub.data / "publish").iterdir()), what="the uploads' removal")
    with Connection(hub) as line:
        assert line.request("POST", INFER, GOOD).status == 200


def test_a_client_that_says_nothing_more_is_sent_away(hub):
    before = quiet(hub)
    slow = []
    for start in (b"", b"POST ", b"POST /v2 HTTP/1.1\r\nHost: h\r\nContent-Le",
                  f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: {N}\r\n\r\n{{".encode()):
        slow.append(Connection(hub))
        slow[-1].send(start)
    with Connection(hub) as line:  # they hold nobody up
        assert line.request("POST", INFER, GOOD).status == 200
    assert all(line.at_end() or line.buffer for line in slow)
    wait_for(lambda: open_files(hub) <= before, what="the end of the connections")


# --- clients that leave while their run is going, or waits for its turn ---
WAIT = """
import time

def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""


@pytest.fixture(scope="module")
def slow_hub(tmp_path_factory):
    process = HubProcess(tmp_path_factory.mktemp("slow") / "hub", "--limits.queue_runs", "1", "--worker.replicas", "1")
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                                    "method_details": {"module": "slow", "method_name": "wait"}}}}
    golden = {"request": {"inputs": [{"name": "input", "shape": [], "datatype": "FP64", "data": [0]}]}}
    task = process.publish({**document("slow"), "servable": servable, "golden": golden}, WAIT, "slow.py")
    assert task["status"] == "succeeded", task
    yield process
    assert process.stop() == 0, process.log_text()


def start_run(hub, seconds, timeout_s=30):
    line = Connection(hub)
    body = json.dumps({"data": seconds, "timeout_s": timeout_s})
    line.send(f"POST /api/v1/servables/admin/slow/run HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    return contextlib.closing(line.socket), line


def run_once(hub, seconds=0, timeout_s=30):
    return hub.post("/api/v1/servables/admin/slow/run", token=None, json={"data": seconds, "timeout_s": timeout_s})


def test_clients_that_leave_during_their_run(slow_hub):
    assert run_once(slow_hub, 0.2).json() == [0.2]  # a slow servable: its runs are given out one by one
    with Connection(slow_hub) as line:
        line.request("GET", "/v2")
        before = open_files(slow_hub)
    running, _ = start_run(slow_hub, 1.5)
    with running:
        # It is with the worker once the next one is not refused, but waits; then the queue is full.
        wait_for(lambda: run_once(slow_hub, timeout_s=0.05).status_code == 504, what="the run to begin")
        waiting, _ = start_run(slow_hub, 0)
        with waiting:
            full = wait_for(lambda: (reply := run_once(slow_hub, timeout_s=0.05)).status_code == 429 and [reply], what="a full queue")[0]
            assert full.json()["code"] == "RESOURCE_EXHAUSTED" and "limits.queue_runs" in full.json()["error"]
            assert int(full.headers["Retry-After"]) >= 1
        # Who waited has left, and has made room.
        wait_for(lambda: run_once(slow_hub, timeout_s=0.05).status_code == 504, what="room in the queue")
    wait_for(lambda: open_files(slow_hub) <= before, what="the end of the connections")
    assert run_once(slow_hub).json() == [0]


def test_a_run_that_nobody_waits_for_does_not_hold_the_end_up(slow_hub):
    running, _ = start_run(slow_hub, 25)
    with Connection(slow_hub) as line:
        line.request("GET", "/v2")
        before = open_files(slow_hub)
    with running:
        wait_for(lambda: run_once(slow_hub, timeout_s=0.05).status_code == 504, what="the run to begin")
    wait_for(lambda: open_files(slow_hub) < before, what="the end of the connection")
    assert slow_hub.stop() == 0
