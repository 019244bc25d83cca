"""Metadata that is not as it should be is refused when it comes, with the member's place; what is right is kept as it was."""
import copy
import json
import re

import pytest

from support import ROOT, document

GOOD = {"datacite": {"titles": [{"title": "A title"}]}, "dlhub": {"name": "good"}}


@pytest.fixture(scope="module")
def hub(shared_hub):
    shared_hub.tokens = {"alice": shared_hub.user("alice")}
    assert shared_hub.post("/api/v1/groups", json={"name": "lab"}).status_code == 201
    return shared_hub


def send(hub, text, model, token=True, filename="model.onnx"):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return hub.post("/api/v1/publish", token=token, files={"json": ("dlhub.json", text, "application/json"), "file": (filename, model)})


def changed(path, value):
    """GOOD with `value` at a dotted path; a value of None removes the member."""
    made = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    at = made
    for parent in parents:
        at = at.setdefault(parent, {})
    if value is None:
        at.pop(last)
    else:
        at[last] = value
    return made


METHOD = {"input": {"type": "float"}, "output": {"type": "float"}}
BLOCK = {"type": "Python static method", "shim": "python.PythonStaticMethodServable", "methods": {"run": METHOD}}
WRONG = [
    # missing
    ("datacite", None, "datacite"), ("dlhub", None, "dlhub"), ("dlhub.name", None, "name"), ("datacite.titles", None, "titles"),
    ("datacite.titles", [], "titles"), ("datacite.titles", [{}], "title"), ("servable", {**BLOCK, "methods": {}}, "run"),
    ("servable", {**BLOCK, "type": None}, "type"), ("servable", {"methods": BLOCK["methods"]}, "type"), ("golden", {}, "request"),
    # surplus
    ("zzz", 1, "zzz"), ("dlhub.zzz", 1, "zzz"), ("servable", {**BLOCK, "zzz": 1}, "zzz"), ("golden", {"request": {"inputs": []}, "zzz": 1}, "zzz"),
    ("dlhub.dependencies", {"npm": {}}, "npm"),
    # of another type
    ("datacite", [], "datacite"), ("dlhub", "good", "dlhub"), ("dlhub.name", 7, "name"), ("dlhub.name", ["good"], "name"), ("dlhub.domains", "physics", "domains"),
    ("dlhub.domains", [1], "domains"), ("dlhub.visible_to", "public", "visible_to"), ("dlhub.network", "yes", "network"), ("dlhub.system_packages", 1, "system_packages"),
    ("dlhub.dependencies", {"python": {"numpy": 1.26}}, "numpy"), ("dlhub.dependencies", {"python": ["numpy"]}, "python"),
    ("datacite.titles", [{"title": 7}], "title"), ("datacite.titles", "A title", "titles"), ("datacite.publicationYear", "soon", "publicationYear"),
    ("datacite.creators", {"name": "x"}, "creators"), ("servable", {**BLOCK, "type": "Magic"}, "type"), ("servable", {**BLOCK, "shim": "evil.Shim"}, "shim"),
    ("servable", {**BLOCK, "methods": {"run": {"input": {"type": "floaty"}, "output": {"type": "float"}}}}, "input"),
    ("servable", {**BLOCK, "methods": {"run": METHOD, "no-name": METHOD}}, "no-name"),
    ("golden", {"request": {"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": []}]}}, "shape"),
    ("golden", {"request": {"inputs": [{"name": "x", "shape": [1], "datatype": "FLOAT", "data": [1]}]}}, "datatype"), ("golden", {"request": {"inputs": []}, "rtol": -1}, "rtol"),
    # names
    *[("dlhub.name", name, "name") for name in ("", "-x", ".x", "a b", "a/b", "../x", "é", "a" * 128, "x\n", "a\tb")],
    *[("dlhub.owner", name, "owner") for name in ("", "Alice", "a.b", "-x", "a" * 64, "a/b", 7)],
    ("dlhub.visible_to", ["everybody"], "everybody"), ("dlhub.visible_to", ["user:"], "user:"), ("dlhub.visible_to", ["group:A B"], "group:A B"),
    ("dlhub.run_by", ["user:x", ""], "run_by"), ("dlhub.visible_to", [1], "visible_to"),
]


@pytest.mark.parametrize("path, value, words", WRONG, ids=[f"{path}={json.dumps(value)[:40]}" for path, value, _ in WRONG])
def test_wrong_members_are_named(hub, identity_onnx, path, value, words):
    reply = send(hub, changed(path, value), identity_onnx)
    assert reply.status_code == 400, reply.text
    error = reply.json()
    assert error["code"] == "INVALID_ARGUMENT" and words in error["error"], error
    assert path.split(".")[0] in error["error"], "the place"


def test_reserved_names(hub, identity_onnx):
    listed = (ROOT / "api" / "names.md").read_text().split("## Reserved")[1].split("## ")[0]
    names = " ".join(line for line in listed.splitlines() if line.startswith("    ")).split()
    assert len(names) > 10
    for name in names:
        reply = send(hub, document(name), identity_onnx)
        assert reply.status_code == 400 and f"'{name}' is a reserved name" in reply.json()["error"], reply.text


TEXTS = [
    ("no UTF-8", b'{"datacite": {"titles": [{"title": "\xff"}]}, "dlhub": {"name": "good"}}', "UTF-8"),
    ("Latin-1", json.dumps(document("good", "Zürich"), ensure_ascii=False).encode("latin-1"), "UTF-8"),
    ("half a character", b'{"dlhub": {"name": "good\xc3"}}', "UTF-8"), ("UTF-16", json.dumps(GOOD).encode("utf-16"), "not UTF-8 at byte 0"),
    ("byte 0", b'{"dlhub": {"name": "go\\u0000od"}}', "metadata"), ("half a surrogate", b'{"dlhub": {"name": "\\ud800"}}', "metadata"),
    ("nothing", b"", "part 'json'|metadata"), ("text", b"hello", "metadata: not valid JSON at line 1"), ("cut", json.dumps(GOOD).encode()[:-1], "metadata: not valid JSON"),
    ("more behind", json.dumps(GOOD).encode() + b"{}", "end of file expected"), ("a list", b"[]", "metadata|document"), ("null", b"null", "metadata|document"),
    ("a member twice", b'{"datacite": {"titles": [{"title": "T"}]}, "dlhub": {"name": "a", "name": "b"}}', "duplicate"),
    ("NaN", b'{"datacite": {"titles": [{"title": "T"}]}, "dlhub": {"name": "a", "publication_date": NaN}}', "not valid JSON"),
    ("1e999", b'{"datacite": {"titles": [{"title": "T"}]}, "dlhub": {"name": "a", "publication_date": 1e999}}', "not valid JSON"),
    ("past 2^63", b'{"datacite": {"titles": [{"title": "T"}]}, "dlhub": {"name": "a", "publication_date": 9223372036854775808}}', "not valid JSON"),
    ("deep", b'{"datacite": ' + b"[" * 10000 + b"]" * 10000 + b"}", "nested deeper than 64 .limits.json_depth. at byte"),
]


@pytest.mark.parametrize("text, words", [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_texts_that_are_no_document(hub, identity_onnx, text, words):
    reply = send(hub, text, identity_onnx)
    assert reply.status_code == 400 and re.search(words, reply.json()["error"]), reply.text
    assert not list((hub.data / "publish").iterdir())


def test_somebody_elses_name(hub, identity_onnx):
    alice = hub.tokens["alice"]
    for owner in ("admin", "lab", "nobody"):
        reply = send(hub, document("theirs", owner=owner), identity_onnx, alice)
        assert reply.status_code == 403 and f"dlhub.owner: you may not publish under the name '{owner}'" in reply.json()["error"]
        assert "leave dlhub.owner out" in reply.json()["hint"]
    assert hub.request("PUT", "/api/v1/groups/lab/members/alice").status_code == 204
    reply = send(hub, document("theirs", owner="lab"), identity_onnx, alice)
    assert reply.status_code == 202 and reply.json()["servable"] == "lab/theirs"
    assert hub.wait_task(reply.json()["task_id"], alice)["status"] == "succeeded"


def test_the_same_name_has_room_for_every_owner(hub, identity_onnx):
    for token, owner in ((True, "admin"), (hub.tokens["alice"], "alice")):
        task = hub.publish(document("same"), identity_onnx, token=token)
        assert task["result"]["name"] == f"{owner}/same" and task["result"]["version"] == 1


@pytest.mark.parametrize("filename", ["../../../etc/passwd.onnx", "/etc/x.onnx", "..", ".", "", "a" * 300 + ".onnx", "zürich.onnx", "a b.onnx", "x\\y.onnx", "model.ONNX"])
def test_names_of_uploads_are_names_alone(hub, identity_onnx, filename):
    boundary = b"bound"
    body = (b'--bound\r\nContent-Disposition: form-data; name="json"\r\n\r\n' + json.dumps(document("named")).encode() +
            b'\r\n--bound\r\nContent-Disposition: form-data; name="file"; filename="' + filename.encode() + b'"\r\n\r\n' + identity_onnx +
            b"\r\n--bound--\r\n")
    reply = hub.post("/api/v1/publish", data=body, headers={"Content-Type": "multipart/form-data; boundary=" + boundary.decode()})
    assert reply.status_code == 202, reply.text
    task = hub.wait_task(reply.json()["task_id"])
    if task["status"] == "succeeded":
        files = hub.get("/api/v1/servables/admin/named").json()["files"]
        assert all("/" not in file["path"] and file["path"] not in (".", "..") for file in files), files
    else:
        assert task["error"]["message"] and task["error"]["code"] != "INTERNAL", task


FULL = {
    "datacite": {
        "titles": [{"title": "Ünïcode 漢字 🧪"}, {"title": "Alternative", "titleType": "AlternativeTitle"}],
        "creators": [{"givenName": "Ada", "familyName": "Lovelace", "affiliations": ["Analytical Engines"]}],
        "publicationYear": "1843", "publisher": "DLHub", "resourceType": {"resourceTypeGeneral": "InteractiveResource"},
        "descriptions": [{"description": "First\nsecond line \\ \"quoted\" </script>", "descriptionType": "Abstract"}],
        "subjects": [{"subject": "algebra"}]},
    "dlhub": {"name": "full.Name_1-2", "domains": ["mathematics", "数学"], "type": "servable", "version": "0.1", "visible_to": ["public"], "publication_date": 1700000000}}


def test_what_is_right_is_kept_as_it_was(hub, identity_onnx):
    task = hub.publish(FULL, identity_onnx)
    assert task["status"] == "succeeded", task
    got = hub.get("/api/v1/servables/admin/full.Name_1-2", token=None).json()
    assert got["datacite"] == FULL["datacite"]
    assert got["dlhub"].items() >= {name: value for name, value in FULL["dlhub"].items() if name != "visible_to"}.items()
    for query in ("漢字", "lovelace", "domain:数学", "algebra", '"second line"'):
        assert "admin/full.Name_1-2" in [item["name"] for item in hub.get("/api/v1/search", params={"q": query}).json()["items"]], query


def test_a_revision_is_checked_as_the_first_was(hub, identity_onnx):
    hub.publish(document("revised"), identity_onnx)
    where = "/api/v1/servables/admin/revised"
    for body, words in (({"datacite": {}}, "titles"), ({"datacite": {"titles": [{"title": "T"}]}, "files": []}, "files"), ({"dlhub": {"name": 7}}, "name"),
                        ({"servable": {}}, "'servable' cannot be changed"), ({"dlhub": {}}, "name"), ({"dlhub": {"name": "revised", "zzz": 1}}, "zzz"),
                        ({"dlhub": {"name": "other"}}, "dlhub.name is 'other', but must stay 'revised'"), ({"dlhub": {"name": "revised", "owner": "alice"}}, "must stay 'admin'"), ({"dlhub": {"name": "revised", "visible_to": []}}, "visible_to")):
        reply = hub.request("PATCH", where, json=body)
        assert reply.status_code == 400 and words in reply.json()["error"], (body, reply.text)
    assert hub.get(where).json()["datacite"]["titles"] == [{"title": "A title"}]
    reply = hub.request("PATCH", where, json={"datacite": {"titles": [{"title": "Revised"}]}, "dlhub": {"name": "revised", "domains": ["physics"]}})
    assert reply.status_code == 200 and reply.json()["datacite"]["titles"] == [{"title": "Revised"}]
    found = hub.get("/api/v1/search?q=domain:physics title:revised").json()
    assert [item["name"] for item in found["items"]] == ["admin/revised"] and found["items"][0]["version"] == 1
    assert hub.get("/api/v1/search?q=title:title name:revised").json()["total"] == 0
