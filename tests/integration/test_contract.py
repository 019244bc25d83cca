"""What the hub answers is what api/openapi.yaml and api/errors.json say, route by route."""
import json
import re

import jsonschema
import pytest
import yaml

from raw_http import Connection
from support import ROOT, HubProcess, document, wait_for

SPEC = yaml.safe_load((ROOT / "api" / "openapi.yaml").read_text())
ERRORS = {row["name"]: row for row in json.loads((ROOT / "api" / "errors.json").read_text())["errors"]}
METHODS = ("get", "put", "post", "delete", "patch")


def table():
    """The rows of src/http/route.c: {(METHOD, "/path/{with}/{names}")}."""
    text = (ROOT / "src" / "http" / "route.c").read_text()
    names = dict(re.findall(r'^#define (SERVABLE|VERSION|MODEL|MODEL_VERSION|REPOSITORY) (.+)$', text, re.M))
    rows = set()
    for methods, words in re.findall(r"^\t\{ (METHOD_[A-Z_ |]+), ([^,]+), ROUTE_", text, re.M):
        path = "".join(re.findall(r'"([^"]*)"', re.sub(
            r"\b(MODEL_VERSION|MODEL|VERSION|SERVABLE|REPOSITORY)\b", lambda match: expand(match.group(1), names), words)))
        rows |= {(method.removeprefix("METHOD_"), path.replace("...}", "}")) for method in methods.split(" | ")}
    return rows


def expand(name, names):
    return re.sub(r"\b(MODEL_VERSION|MODEL|VERSION|SERVABLE|REPOSITORY)\b", lambda match: expand(match.group(1), names), names[name])


def documented():
    return {(method.upper(), path) for path, operations in SPEC["paths"].items() for method in METHODS if method in operations}


def shape(path):
    """Names of parameters are for people; their places count."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_route_is_documented_and_every_documented_path_is_a_route():
    routes = {(method, shape(path)) for method, path in table()}
    assert len(routes) > 40
    assert routes == {(method, shape(path)) for method, path in documented()}


def test_the_documents_references_and_parameters_hold():
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                target = SPEC
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
    walk(SPEC)
    for path, operations in SPEC["paths"].items():
        named = {resolve(one)["name"] for one in operations.get("parameters", [])}
        for method in METHODS:
            if method in operations:
                own = {resolve(one)["name"] for one in operations[method].get("parameters", []) if resolve(one)["in"] == "path"}
                assert set(re.findall(r"\{([^}]*)\}", path)) == named | own, path


# --- schemas: OpenAPI 3.0's `nullable` is the only thing that JSON Schema says otherwise ---
def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        target = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def as_json_schema(node):
    node = resolve(node)
    if isinstance(node, list):
        return [as_json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: as_json_schema(value) for key, value in node.items() if key not in ("nullable", "readOnly", "example", "description")}
    if node.get("nullable"):
        made["type"] = [made["type"], "null"]
    return made


def documented_path(path):
    """Which documented path a request's is: the most literal one that fits."""
    path = path.split("?")[0]
    fitting = [known for known in SPEC["paths"]
               if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", known.replace("{path}", ".+")), path)]
    assert fitting, path
    return min(fitting, key=lambda known: known.count("{"))


def check(method, path, status, headers, body):
    """A reply against the document: status, type and schema."""
    answers = SPEC["paths"][documented_path(path)][method.lower()]["responses"]
    answer = resolve(answers.get(str(status)) or answers.get("default"))
    assert answer, f"{method} {path}: {status} is not documented"
    assert str(status) in answers or status >= 400, f"{method} {path}: {status} is not documented"
    if "content" not in answer:
        assert body == b"", (method, path)
        return
    kind = headers["content-type"].split(";")[0]
    assert kind in answer["content"], f"{method} {path} {status}: {kind}"
    schema = as_json_schema(answer["content"][kind]["schema"])
    if kind == "application/json":
        jsonschema.validate(json.loads(body), schema, format_checker=jsonschema.FormatChecker())
    if status >= 400:
        error = json.loads(body)
        assert error["code"] in ERRORS and error["request_id"] == headers["x-request-id"]
        assert ERRORS[error["code"]]["http"] == status or (status, error["code"]) == (405, "UNIMPLEMENTED")
        assert (status in (429, 503)) == ("retry-after" in headers)
        assert (status == 401) == ("www-authenticate" in headers)


class Checked:
    """Sends requests, and holds each reply against the document."""

    def __init__(self, hub):
        self.hub, self.line, self.seen = hub, Connection(hub, timeout=60), set()

    def __call__(self, method, path, body=None, token=True, **headers):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        reply = self.line.request(method, path, body, self.hub.token if token is True else token, **headers)
        check(method, path, reply.status, reply.headers, reply.body)
        self.seen.add((method, documented_path(path)))
        if not reply.stays:
            self.line = Connection(self.hub, timeout=60)
        return reply


@pytest.fixture(scope="module")
def send(shared_hub):
    return Checked(shared_hub)


def upload(metadata, data, filename="model.onnx"):
    body = (f'--bound\r\nContent-Disposition: form-data; name="json"\r\n\r\n{json.dumps(metadata)}\r\n'
            f'--bound\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n').encode() + data + b"\r\n--bound--\r\n"
    return {"body": body, "Content_Type": "multipart/form-data; boundary=bound"}


MODEL, SERVABLE = "/v2/models/admin/identity", "/api/v1/servables/admin/identity"
TENSORS = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}


def test_every_route_answers_as_documented(send, identity_onnx):
    kept = send("POST", "/api/v1/publish", **upload(document("identity"), identity_onnx))
    assert kept.status == 202 and kept.headers["location"] == f"/api/v1/tasks/{kept.json()['task_id']}"
    task = kept.json()["task_id"]
    wait_for(lambda: send("GET", f"/api/v1/tasks/{task}?wait_s=5").json()["status"] == "succeeded", what="the publish")
    bad = send("POST", "/api/v1/publish", **upload(document("broken"), b"nonsense")).json()["task_id"]
    wait_for(lambda: send("GET", f"/api/v1/tasks/{bad}?wait_s=5").json()["status"] == "failed", what="the failure")
    for one in (task, bad):
        assert send("GET", f"/api/v1/tasks/{one}/log").body
        send("GET", f"/api/v1/{one}/status")
    assert len(send("GET", "/api/v1/tasks").json()["tasks"]) == 2 and len(send("GET", "/api/v1/tasks?status=failed").json()["tasks"]) == 1

    for path in ("/", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/metrics", "/api/v1/hub", "/api/v1/whoami", "/api/v1/namespaces",
                 "/api/v1/servables", "/api/v1/search?q=title&limit=5", "/api/v1/users", "/api/v1/groups", "/api/v1/schemas/document.json"):
        assert send("GET", path).status == 200, path
    assert send("GET", "/api/v1/whoami", token=None).json()["user"] is None

    for at in ("", "/versions/1"):
        for what in ("", "/ready", "/config", "/stats"):
            assert send("GET", MODEL + at + what).status == 200, what
        assert send("POST", MODEL + at + "/infer", {"id": "7", **TENSORS}).json()["outputs"][0]["data"] == [1, 2]
        binary = send("POST", MODEL + at + "/infer", {**TENSORS, "parameters": {"binary_data_output": True}})
        assert binary.headers["content-type"] == "application/octet-stream" and binary.headers["inference-header-content-length"]
        assert send("POST", SERVABLE + at + "/run", {"data": [1, 2]}).json() == [[1, 2]]
        for run in (send("POST", SERVABLE + at + "/run", {"data": [1, 2], "asynchronous": True}),
                    send("POST", MODEL + at + "/infer?asynchronous=true", TENSORS)):
            assert run.status == 202 and run.headers["location"] == f"/api/v1/tasks/{run.json()['task_id']}"
            assert send("GET", run.headers["location"] + "/result?wait_s=30").status == 200
            assert send("GET", run.headers["location"] + "/events").body.startswith(b"event: status\n")
            assert send("GET", run.headers["location"]).json()["status"] == "succeeded"
            assert send("DELETE", run.headers["location"]).status == 204
        envelope = send("POST", SERVABLE + at + "/run", {"data": [1, 2], "debug": True}).json()
        jsonschema.validate(envelope, as_json_schema(SPEC["components"]["schemas"]["RunEnvelope"]))
        assert send("GET", SERVABLE + at).json()["access"]["visible_to"] == ["public"]
        assert send("GET", SERVABLE + at + "/files/model.onnx").body == identity_onnx
        assert send("PATCH", SERVABLE + at, {"datacite": {"titles": [{"title": "Other"}]}}).status == 200
    blob = send("PUT", "/api/v1/blobs", b"bytes")
    assert blob.status == 201 and send("GET", "/api/v1/blobs").json()["blobs"] == [blob.json()]
    assert send("DELETE", f"/api/v1/blobs/{blob.json()['ref']}").status == 204
    assert send("POST", "/v2/repository/index").json()[0]["name"] == "admin/identity"
    for kind in ("system", "cuda"):
        for at in ("", "/region/r"):
            assert send("GET", f"/v2/{kind}sharedmemory{at}/status").json() == []
            assert send("POST", f"/v2/{kind}sharedmemory{at}/unregister").json() == {}
        assert send("POST", f"/v2/{kind}sharedmemory/region/r/register", {"key": "/r", "offset": 0, "byte_size": 4}).status == 501
    for what, state in (("load", "READY"), ("unload", "UNAVAILABLE")):
        for at in ("", "/versions/1"):
            assert send("POST", f"/v2/repository/models/admin/identity{at}/{what}").json()["state"] == state
    assert send("GET", SERVABLE + "/versions").status == send("GET", SERVABLE + "/access").status == 200
    assert send("PUT", SERVABLE + "/access", {"visible_to": ["public"], "run_by": ["signed-in"]}).status == 200
    assert send("PUT", SERVABLE + "/aliases/stable", {"version": 1}).status == 204
    assert send("DELETE", SERVABLE + "/aliases/stable").status == 204

    assert send("POST", "/api/v1/users", {"name": "alice", "display_name": "Alice"}).status == 201
    made = send("POST", "/api/v1/users/alice/tokens", {"label": "laptop", "expires_days": 3}).json()
    assert send("GET", "/api/v1/users/alice/tokens").status == 200
    assert send("POST", "/api/v1/sites", {"name": "cluster"}).status == 412  # this hub does not listen for sites
    assert send("GET", "/api/v1/sites").status == 200 and send("DELETE", "/api/v1/sites/cluster").status == 404
    assert send("POST", "/api/v1/groups", {"name": "lab"}).status == 201
    assert send("PUT", "/api/v1/groups/lab/members/alice").status == send("DELETE", "/api/v1/groups/lab/members/alice").status == 204
    for path in (f"/api/v1/users/alice/tokens/{made['id']}", "/api/v1/users/alice", "/api/v1/groups/lab", SERVABLE + "/versions/1"):
        assert send("DELETE", path).status == 204, path
    assert send("DELETE", SERVABLE).status == 404
    missing = documented() - send.seen
    assert not missing, "never asked for: " + str(sorted(missing))


def test_every_route_refuses_as_documented(send):
    """Without a token, with a bad one, as somebody without rights, for what is not there, with a body that is nonsense."""
    eve = send.hub.user("eve")
    for method, path in sorted(documented()):
        real = re.sub(r"\{[^}]*\}", "none", path)
        for token in (None, "dlh_" + "0" * 64, eve, True):
            body = None if method == "GET" else b"nonsense"
            reply = send(method, real, body, token)
            assert reply.status in (200, 201, 204, 400, 401, 403, 404, 412, 501), (method, real, reply.body)
            if token == "dlh_" + "0" * 64:
                assert reply.status == 401
    for path in ("/nothing", "/api/v1/servables/a/b/c"):
        reply = send.line.request("GET", path)
        assert reply.status == 404 and reply.json()["code"] == "NOT_FOUND"


# --- api/errors.json: a request for each code that a request can get ---
CODES = [
    ("INVALID_ARGUMENT", "POST", MODEL + "/infer", b"nonsense", True), ("NOT_FOUND", "GET", "/api/v1/servables/admin/none", None, True),
    ("ALREADY_EXISTS", "POST", "/api/v1/users", {"name": "admin"}, True), ("FAILED_PRECONDITION", "DELETE", "/api/v1/users/admin", None, True),
    ("OUT_OF_RANGE", "PUT", SERVABLE + "/access", b" " * 20000, True), ("UNAUTHENTICATED", "GET", "/api/v1/tasks", None, None),
    ("DEADLINE_EXCEEDED", "POST", "/api/v1/servables/admin/act/run", {"data": "wait", "timeout_s": 0.2}, True),
    ("UNKNOWN", "POST", "/api/v1/servables/admin/act/run", {"data": "raise"}, True),
    ("UNAVAILABLE", "POST", "/api/v1/servables/admin/act/run", {"data": "exit"}, True),
]
ACT = """
import os, time

def act(what: str) -> str:
    if what == "wait":
        time.sleep(30)
    if what == "raise":
        raise ValueError("seven")
    if what == "exit":
        os._exit(3)
    return what
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory, identity_onnx):
    hub = HubProcess(tmp_path_factory.mktemp("limited") / "hub", "--limits.metadata_bytes", "16K")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "act", "method_name": "act"}}}}
    assert hub.publish({**document("act"), "servable": servable}, ACT, "act.py")["status"] == "succeeded"
    yield Checked(hub)
    assert hub.stop() == 0, hub.log_text()


@pytest.mark.parametrize("code, method, path, body, token", CODES, ids=[row[0] for row in CODES])
def test_each_code_has_its_status(limited, code, method, path, body, token):
    reply = limited(method, path, body, token)
    assert reply.json()["code"] == code and reply.status == ERRORS[code]["http"], reply.body


def test_unimplemented(limited):
    task = limited("GET", "/api/v1/tasks?kind=publish").json()["tasks"][0]["task_id"]
    reply = limited("DELETE", f"/api/v1/tasks/{task}")
    assert reply.status == ERRORS["UNIMPLEMENTED"]["http"] and reply.json()["code"] == "UNIMPLEMENTED"


def test_permission_denied(limited):
    eve = limited.hub.user("eve")
    reply = limited("DELETE", SERVABLE, None, eve)
    assert reply.status == ERRORS["PERMISSION_DENIED"]["http"] and reply.json()["code"] == "PERMISSION_DENIED"


def test_the_tables_columns_agree_with_what_is_made_from_them():
    codes = {row["grpc"] for row in ERRORS.values()}
    assert codes == set(range(17)) and len(ERRORS) == 17
    assert ERRORS["OK"]["exit"] == 0 and all(row["exit"] > 0 for name, row in ERRORS.items() if name != "OK")
    import dlhub.errors
    for name, row in ERRORS.items():
        if row["python"]:
            assert issubclass(getattr(dlhub.errors, row["python"]), dlhub.errors.DLHubError), name
