"""Inputs that a run names instead of holding them: parts of a form, blobs sent before, and addresses that the operator allows."""
import hashlib
import http.server
import io
import json
import threading

import numpy as np
import pytest

from support import HubProcess, document, wait_for

RUN, SIZE = "/api/v1/servables/admin/identity/run", "/api/v1/servables/admin/size/run"
CODE = '''
def size(given):
    file, factor = given
    return len(open(file, "rb").read()) * factor
'''
SERVABLE = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "tuple", "element_types": [{"name": "file", "type": "file"}, {"name": "factor", "type": "integer"}]},
                                "output": {"type": "integer"}, "method_details": {"module": "size", "method_name": "size"}}}}


def npy(*values, dtype=np.float32):
    out = io.BytesIO()
    np.save(out, np.array(values, dtype))
    return out.getvalue()


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        found = self.server.pages.get(self.path)
        self.send_response(200 if isinstance(found, bytes) else found or 404)
        body = found if isinstance(found, bytes) else b""
        if found == 302:
            self.send_header("Location", "/array.npy")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # the hub has seen enough

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.pages, server.asked = {"/array.npy": npy(1, 2.5), "/large": bytes(3 << 20), "/moved": 302, "/broken": 500}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, identity_onnx):
    hub = HubProcess(tmp_path_factory.mktemp("references") / "hub", "--fetch.allow", "127.0.0.1 127.0.0.0/8 localhost",
                     "--limits.body_bytes", "2M", "--limits.user_blob_bytes", "1M")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    made = hub.publish({**document("size"), "servable": SERVABLE, "golden": {"request": {"data": [{"content": "YQ=="}, 3]}}}, CODE, "size.py")
    assert made["status"] == "succeeded", made
    yield hub
    assert hub.stop() == 0, hub.log_text()


def send(hub, data, token=True, **query):
    reply = hub.request("PUT", "/api/v1/blobs", data=data, token=token, params=query, headers={"Content-Type": "image/png"})
    assert reply.status_code == 201, reply.text
    return reply.json()


# --- blobs ---
def test_a_blob_is_sent_once_and_named_often(hub):
    blob = send(hub, npy(1, 2, 3))
    assert blob["ref"] == "blob:sha256:" + hashlib.sha256(npy(1, 2, 3)).hexdigest() and blob["bytes"] == len(npy(1, 2, 3))
    assert blob["created"] < blob["expires"]
    for _ in range(2):
        assert hub.post(RUN, json={"data": {"ref": blob["ref"]}}).json() == [[1, 2, 3]]
    task = hub.post(RUN, json={"each": [[7], {"ref": blob["ref"]}], "asynchronous": True}).json()["task_id"]
    assert hub.get(f"/api/v1/tasks/{task}/result?wait_s=30").json() == [[[7]], [[1, 2, 3]]]
    assert hub.post(SIZE, json={"data": {"file": {"ref": blob["ref"]}, "factor": 2}}).json() == [2 * blob["bytes"]]
    assert [one["ref"] for one in hub.get("/api/v1/blobs").json()["blobs"]] == [blob["ref"]]
    assert send(hub, npy(1, 2, 3))["ref"] == blob["ref"] and len(list((hub.data / "uploads").iterdir())) == 1
    assert hub.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 204
    assert not list((hub.data / "uploads").iterdir())
    gone = hub.post(RUN, json={"data": {"ref": blob["ref"]}})
    assert gone.status_code == 404 and gone.json()["error"].startswith("input 'x': you have no blob sha256:")
    assert hub.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 404


def test_a_blob_is_its_senders(hub):
    ann, bob = hub.user("ann"), hub.user("bob")
    blob = send(hub, npy(4), token=ann)
    assert hub.post(RUN, json={"data": {"ref": blob["ref"]}}, token=ann).json() == [[4]]
    other = hub.post(RUN, json={"data": {"ref": blob["ref"]}}, token=bob)
    absent = hub.post(RUN, json={"data": {"ref": "blob:sha256:" + "0" * 64}}, token=bob)
    assert other.status_code == absent.status_code == 404
    assert other.json()["error"].replace(blob["ref"][5:], "") == absent.json()["error"].replace("sha256:" + "0" * 64, "")
    assert hub.post(RUN, json={"data": {"ref": blob["ref"]}}, token=None).status_code == 401
    assert hub.request("PUT", "/api/v1/blobs", data=b"x", token=None).status_code == 401
    assert hub.get("/api/v1/blobs", token=bob).json() == {"blobs": []}
    assert hub.request("DELETE", "/api/v1/users/ann").status_code == 204
    assert hub.post(RUN, json={"data": {"ref": blob["ref"]}}, token=hub.user("ann")).status_code == 404


def test_blobs_have_limits(hub):
    big = hub.request("PUT", "/api/v1/blobs", data=bytes(700 << 10))
    assert big.status_code == 201
    more = hub.request("PUT", "/api/v1/blobs", data=bytes(500 << 10))
    assert more.status_code == 429 and "limits.user_blob_bytes" in more.json()["error"]
    assert hub.request("PUT", "/api/v1/blobs", data=bytes(3 << 20)).status_code == 413
    assert hub.request("DELETE", f"/api/v1/blobs/{big.json()['ref']}").status_code == 204
    short = send(hub, npy(5), expires_s=1)
    wait_for(lambda: hub.post(RUN, json={"data": {"ref": short["ref"]}}).status_code == 404, what="the blob's end")
    assert hub.request("PUT", "/api/v1/blobs?expires_s=0", data=b"x").status_code == 400


def test_blobs_outlive_kill_9(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    blob = send(hub, npy(9))
    (hub.data / "uploads" / "stray").write_bytes(b"left by a crash")
    hub.stop(9)
    hub.start()
    assert hub.post(RUN, json={"data": {"ref": blob["ref"]}}).json() == [[9]]
    wait_for(lambda: len(list((hub.data / "uploads").iterdir())) == 1, what="the stray's end")
    assert hub.stop() == 0


# --- forms ---
def test_a_form_with_files(hub):
    assert hub.post(SIZE, files={"file": ("a.png", b"12345")}, data={"factor": "3"}).json() == [15]
    assert hub.post(RUN, files={"x": ("x.npy", npy(1, 2))}).json() == [[1, 2]]
    told = hub.post(RUN, files={"json": (None, json.dumps({"envelope": True})), "x": ("x.npy", npy(1, 2))}).json()
    assert told["output"] == [1, 2]
    named = {"data": {"file": {"ref": "part:upload"}, "factor": 10}, "asynchronous": True}
    task = hub.post(SIZE, files={"json": (None, json.dumps(named)), "upload": ("a", b"123")}).json()["task_id"]
    assert hub.get(f"/api/v1/tasks/{task}/result?wait_s=30").json() == [30]
    assert hub.post(SIZE, files={"file": ("a.bin", bytes(1 << 20))}, data={"factor": "1"}).json() == [1 << 20]


@pytest.mark.parametrize("files, words", [
    ({"y": ("y.npy", npy(1))}, "there is a part 'y', but method 'run' has no such input"), ({"x": ("x.npy", b"nonsense")}, "is no .npy file"),
    ({"json": (None, "nonsense"), "x": ("x", npy(1))}, "the part 'json'"), ({"json": (None, "[]")}, "must be an object"),
    ({"json": (None, json.dumps({"data": {"ref": "part:none"}}))}, "the body has no part 'none'"), ({"json": (None, "{}")}, "'data', the input of method 'run', is missing")])
def test_forms_that_are_wrong(hub, files, words):
    reply = hub.post(RUN, files=files)
    assert reply.status_code == 400 and words in reply.json()["error"], reply.text


# --- addresses ---
def test_an_address(hub, elsewhere):
    assert hub.post(RUN, json={"data": {"ref": elsewhere.url + "/array.npy"}}).json() == [[1, 2.5]]
    local = elsewhere.url.replace("127.0.0.1", "localhost")
    assert hub.post(SIZE, json={"data": [{"ref": local + "/array.npy"}, 1]}).json() == [len(npy(1, 2.5))]


@pytest.mark.parametrize("ref, status, words", [
    ("{url}/none", 412, "127.0.0.1 answers HTTP 404"), ("{url}/broken", 412, "answers HTTP 500"), ("{url}/moved", 412, "leads elsewhere"),
    ("{url}/large", 413, "limits.body_bytes"), ("http://169.254.169.254/latest", 403, "this hub does not ask 169.254.169.254"),
    ("http://example.org/", 403, "this hub does not ask example.org"), ("http://user:secret@127.0.0.1/", 400, "with a password"),
    ("file:///etc/passwd", 400, "is no reference"), ("ftp://127.0.0.1/x", 400, "is no reference"), ("blob:sha256:xyz", 400, "hexadecimal digits"),
    ("http://127.0.0.1:1/", 503, "127.0.0.1"), ("http://", 400, "is no address")])
def test_addresses_that_are_not_followed(hub, elsewhere, ref, status, words):
    reply = hub.post(RUN, json={"data": {"ref": ref.format(url=elsewhere.url)}})
    assert reply.status_code == status and words in reply.json()["error"], reply.text


def test_nobody_is_asked_unless_the_operator_says_so(shared_hub, identity_onnx, elsewhere):
    assert shared_hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    before = len(elsewhere.asked)
    reply = shared_hub.post(RUN, json={"data": {"ref": elsewhere.url + "/array.npy"}})
    assert reply.status_code == 403 and "fetch.allow" in reply.json()["hint"]
    assert len(elsewhere.asked) == before


def test_a_name_that_leads_inside_is_not_followed(tmp_path, identity_onnx, elsewhere):
    """Every host is allowed, but no address that is not public: a name says nothing of where it leads."""
    hub = HubProcess(tmp_path / "hub", "--fetch.allow", "*")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    before = len(elsewhere.asked)
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433"):
        reply = hub.post(RUN, json={"data": {"ref": f"http://{host}:{elsewhere.server_port}/array.npy"}})
        assert reply.status_code == 403 and "not public" in reply.json()["error"], (host, reply.text)
    assert len(elsewhere.asked) == before and hub.stop() == 0


# --- references that travel ---
LARGE = 16 << 20  # numbers: 64 MB
LOOKER = '''
import json
import os
import time

import numpy

kept = []


def descriptors():
    """Of files of the hub: what was given is mapped, and closed."""
    names = []
    for name in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return [name for name in names if "/uploads/" in name or "/blobs/" in name]


def look(given) -> str:
    array, what = given
    if what == "keep":
        kept.append(array)
    if what == "wait":
        time.sleep(1)
    seen = {"sum": float(array.sum()), "shape": array.shape, "kept": [float(one[-1]) for one in kept], "descriptors": descriptors()}
    if what == "scribble":
        array[:] = -1
    return json.dumps(seen)
'''
LOOKING = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
           "methods": {"run": {"input": {"type": "tuple", "element_types": [
               {"name": "array", "type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "FP32"}}, {"name": "what", "type": "string"}]},
               "output": {"type": "string"}, "method_details": {"module": "look", "method_name": "look"}}}}
LOOK = "/api/v1/servables/admin/look/run"


def publish_look(hub):
    made = hub.publish({**document("look", dependencies={"python": {"numpy": None}}), "servable": LOOKING,
                        "golden": {"request": {"data": [[1.5, 2], "sum"]}}}, LOOKER, "look.py")
    assert made["status"] == "succeeded", made


def look(hub, data, what="sum", **more):
    reply = hub.post(LOOK, json={"data": {"array": data, "what": what}, **more})
    assert reply.status_code == 200, reply.text
    seen = reply.json()
    return json.loads(seen[0] if isinstance(seen, list) else seen)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    hub = HubProcess(tmp_path_factory.mktemp("large") / "hub", "--limits.body_bytes", "256M", "--limits.user_blob_bytes", "1G")
    publish_look(hub)
    yield hub
    assert hub.stop() == 0, hub.log_text()


def memory(hub, what):
    with open(f"/proc/{hub.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(what))


def test_the_hub_does_not_read_what_a_worker_can(large):
    data = np.ones(LARGE, np.float32)
    blob = send(large, npy_of(data))
    look(large, [1, 2])  # its worker is there
    with open(f"/proc/{large.process.pid}/clear_refs", "w") as peak:
        peak.write("5")
    before = memory(large, "VmHWM")
    for _ in range(2):
        seen = look(large, {"ref": blob["ref"]})
        assert seen["sum"] == LARGE and seen["shape"] == [LARGE] and seen["descriptors"] == []
    assert memory(large, "VmHWM") - before < data.nbytes // 8
    assert large.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 204


def npy_of(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_a_servable_may_write_into_and_keep_what_it_was_given(large):
    data = np.arange(1 << 18, dtype=np.float32)
    blob = send(large, npy_of(data))
    first = look(large, {"ref": blob["ref"]}, "scribble")
    again = look(large, {"ref": blob["ref"]}, "keep")
    assert first["sum"] == again["sum"] == look(large, {"ref": blob["ref"]})["sum"]
    assert look(large, [1])["kept"] == [float(data[-1])]
    assert hashlib.sha256(npy_of(data)).hexdigest() == blob["ref"].rsplit(":", 1)[1]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in (large.data / "uploads").iterdir()] == [blob["ref"].rsplit(":", 1)[1]]
    assert large.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 204


def test_a_blob_that_goes_in_mid_run(large):
    blob = send(large, npy_of(np.ones(1 << 20, np.float32)))
    answers = []
    caller = threading.Thread(target=lambda: answers.append(look(large, {"ref": blob["ref"]}, "wait")))
    caller.start()
    wait_for(lambda: not (large.data / "uploads").exists() or open_by_a_worker(large), what="the run")
    assert large.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 204
    assert list((large.data / "uploads").iterdir()) == []
    caller.join()
    assert answers[0]["sum"] == 1 << 20
    gone = large.post(LOOK, json={"data": {"array": {"ref": blob["ref"]}, "what": "sum"}})
    assert gone.status_code == 404 and "you have no blob" in gone.json()["error"]


def open_by_a_worker(hub):
    """Whether the hub has the run, and so the file, whoever is at it now."""
    with open(f"/proc/{hub.process.pid}/maps") as maps:
        return any("/uploads/" in line for line in maps)


def test_a_damaged_blob_is_told(large):
    blob = send(large, npy_of(np.ones(1 << 20, np.float32)))
    file, = (large.data / "uploads").iterdir()
    file.write_bytes(file.read_bytes()[:-4])
    told = large.post(LOOK, json={"data": {"array": {"ref": blob["ref"]}, "what": "sum"}})
    assert told.status_code == 500 and "is damaged" in told.json()["error"] and "PUT /api/v1/blobs" in told.text
    assert look(large, [1, 2])["sum"] == 3


def test_what_cannot_travel_is_brought(large):
    for array in (np.ones(1 << 18, ">f4"), np.asfortranarray(np.ones((4, 1 << 18), np.float32))[0]):
        blob = send(large, npy_of(array))
        assert look(large, {"ref": blob["ref"]})["sum"] == 1 << 18
    task = large.post(LOOK, json={"data": {"array": {"ref": blob["ref"]}, "what": "sum"}, "asynchronous": True}).json()["task_id"]
    assert large.request("DELETE", f"/api/v1/blobs/{blob['ref']}").status_code == 204  # the task has what it needs
    result = large.get(f"/api/v1/tasks/{task}/result?wait_s=30")
    assert str(float(1 << 18)) in result.text, result.text
