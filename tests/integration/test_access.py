"""Who may discover, read, download, run and manage what; and that nothing else tells that something is there."""
import json
import re
import threading

import pytest
import requests

from raw_http import Connection
from support import document

INFER = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}).encode()
# Olga's servables: what their publisher said. The last is the group's.
SERVABLES = {
    "public": {"visible_to": ["public"]}, "members": {"visible_to": ["signed-in"]}, "for-nina": {"visible_to": ["user:nina"]},
    "for-lab": {"visible_to": ["group:lab"]}, "private": {"visible_to": []},
    "run-nina": {"visible_to": ["public"], "run_by": ["user:nina"]}, "run-none": {"visible_to": ["signed-in"], "run_by": []},
    "keep": {"visible_to": ["public"], "download_by": []}, "keep-lab": {"visible_to": ["public"], "download_by": ["group:lab"]},
    "of-lab": {"visible_to": [], "owner": "lab"},
}
PEOPLE = ["anonymous", "eve", "nina", "mia", "olga", "admin"]


class World:
    def __init__(self, hub, model):
        self.hub = hub
        self.tokens = {"anonymous": None, "admin": hub.token}
        for name in ("eve", "nina", "mia", "olga"):
            self.tokens[name] = hub.user(name)
        assert hub.post("/api/v1/groups", json={"name": "lab"}, token=self.tokens["olga"]).status_code == 201
        assert self.send("olga", "PUT", "/api/v1/groups/lab/members/mia").status_code == 204
        self.owner, self.tasks = {}, {}
        for name, access in SERVABLES.items():
            task = hub.publish(document(name, f"Findable {name}", **access), model, token=self.tokens["olga"])
            assert task["status"] == "succeeded", task
            self.owner[name], self.tasks[name] = access.get("owner", "olga"), task["task_id"]

    def send(self, who, method, path, **arguments):
        return self.hub.request(method, path, token=self.tokens[who], **arguments)

    def path(self, name, rest="", root="/api/v1/servables"):
        return f"{root}/{self.owner.get(name, 'olga')}/{name}{rest}"


@pytest.fixture(scope="module")
def world(shared_hub, identity_onnx):
    return World(shared_hub, identity_onnx)


def admits(who, entries):
    return ("public" in entries or (who != "anonymous" and "signed-in" in entries) or f"user:{who}" in entries
            or (who in ("mia", "olga") and "group:lab" in entries))


def expected(who, name, right):
    """The rules once more, as the documents say them: True, 403 or 404."""
    access = SERVABLES[name]
    if who in ("admin", "olga") or (access.get("owner") == "lab" and who == "mia"):
        return True
    if not admits(who, access["visible_to"]):
        return 404
    list_of = {"run": "run_by", "download": "download_by"}.get(right)
    if right == "manage" or (list_of in access and not admits(who, access[list_of])):
        return 403
    return True


ACTIONS = [
    ("read", "GET", "/api/v1/servables", "", None), ("read", "GET", "/api/v1/servables", "/versions", None),
    ("read", "GET", "/api/v1/servables", "/versions/1", None), ("read", "GET", "/api/v1/servables", "/versions/latest", None),
    ("read", "GET", "/v2/models", "", None), ("read", "GET", "/v2/models", "/ready", None), ("read", "GET", "/v2/models", "/versions/1/ready", None),
    ("download", "GET", "/api/v1/servables", "/files/model.onnx", None), ("download", "GET", "/api/v1/servables", "/versions/1/files/model.onnx", None),
    ("run", "POST", "/v2/models", "/infer", INFER), ("run", "POST", "/v2/models", "/versions/1/infer", INFER),
    ("run", "POST", "/api/v1/servables", "/run", b'{"data": [1]}'), ("run", "POST", "/api/v1/servables", "/versions/1/run", b'{"data": [1]}'),
    ("manage", "GET", "/api/v1/servables", "/access", None), ("manage", "PUT", "/api/v1/servables", "/aliases/stable", b'{"version": 1}'),
    ("manage", "PATCH", "/api/v1/servables", "", b"{}"), ("manage", "PATCH", "/api/v1/servables", "/versions/1", b"{}"),
]


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("name", SERVABLES)
def test_each_right(world, who, name):
    for right, method, root, rest, body in ACTIONS:
        reply = world.send(who, method, world.path(name, rest, root), data=body)
        wanted = expected(who, name, right)
        assert (reply.status_code < 300 if wanted is True else reply.status_code == wanted), (right, method, rest, reply.text)
        if wanted == 404:
            assert reply.json()["error"].endswith(", or sign in") == (who == "anonymous")
        if wanted == 403:
            assert reply.json()["code"] == "PERMISSION_DENIED" and name in reply.json()["error"]


@pytest.mark.parametrize("who", PEOPLE)
def test_lists_and_searches_follow_the_same_rules(world, who):
    visible = {world.path(name, root="")[1:] for name in SERVABLES if expected(who, name, "read") is True}
    assert set(world.send(who, "GET", "/api/v1/servables").json()) == visible
    for query in ("", "?q=findable", "?q=findable&limit=100&all_versions=true"):
        found = world.send(who, "GET", "/api/v1/search" + query).json()
        assert {item["name"] for item in found["items"]} == visible and found["total"] == len(visible)
    one = world.send(who, "GET", "/api/v1/search?limit=1").json()
    assert one["total"] == len(visible) and len(one["items"]) == 1
    assert world.send(who, "GET", "/api/v1/search?owner=lab").json()["total"] == len([name for name in visible if name.startswith("lab/")])


@pytest.mark.parametrize("who", PEOPLE)
def test_only_who_manages_is_told_who_may(world, who):
    for name in SERVABLES:
        if expected(who, name, "read") is True:
            described = world.send(who, "GET", world.path(name)).json()
            assert ("access" in described) == (expected(who, name, "manage") is True)
            assert not {"visible_to", "run_by", "download_by"} & set(described["dlhub"])


# --- what may not be seen is not there ---
def traces(reply):
    """All that a caller gets, but for what differs from request to request."""
    headers = {name: value for name, value in reply.headers.items() if name not in ("date", "x-request-id")}
    return reply.status, headers, re.sub(rb'"request_id":"[^"]*"', b"", reply.body)


@pytest.mark.parametrize("who", ["anonymous", "eve"])
def test_invisible_and_absent_answer_the_same_bytes(world, who):
    bodies = (None, b"", INFER, b"nonsense", b'{"version": 1}', b'{"visible_to": ["public"]}')
    paths = ["", "/versions", "/versions/1", "/versions/9", "/versions/latest", "/versions/stable", "/versions/sha256:" + "0" * 64, "/run",
             "/versions/1/run", "/access", "/aliases/stable", "/files/model.onnx", "/files/none", "/versions/1/files/model.onnx"]
    models = ["", "/ready", "/infer", "/infer?method=none", "/versions/1", "/versions/1/ready", "/versions/1/infer"]
    with Connection(world.hub) as line:
        for root, rests in (("/api/v1/servables", paths), ("/v2/models", models)):
            for rest in rests:
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                    for body in bodies if method != "GET" else (None,):
                        seen = [traces(line.request(method, f"{root}/olga/{name}{rest}", body, world.tokens[who]))
                                for name in ("private", "absence")]
                        seen[0] = (*seen[0][:2], seen[0][2].replace(b"private", b"absence"))
                        assert seen[0] == seen[1], (method, root, rest, body)
                        assert seen[0][0] in (404, 405)
    assert world.send("olga", "GET", world.path("private")).status_code == 200


def test_a_removed_one_is_absent_too(world, identity_onnx):
    world.hub.publish(document("gone", visible_to=["public"]), identity_onnx, token=world.tokens["olga"])
    assert world.send("eve", "GET", world.path("gone")).status_code == 200
    assert world.send("olga", "DELETE", world.path("gone")).status_code == 204
    with Connection(world.hub) as line:
        for rest in ("", "/versions", "/versions/1", "/files/model.onnx"):
            for who in ("anonymous", "eve", "olga", "admin"):
                gone, none = (traces(line.request("GET", f"/api/v1/servables/olga/{name}{rest}", token=world.tokens[who]))
                              for name in ("gone", "none"))
                assert (*gone[:2], gone[2].replace(b"gone", b"none")) == none and gone[0] == 404


def test_somebody_elses_tasks_are_absent(world):
    task, other = world.tasks["public"], "0" * 32
    for rest in ("", "?wait_s=1", "/log", "/log?offset=0"):
        for who, status in (("anonymous", 401), ("eve", 404), ("nina", 404), ("mia", 404), ("olga", 200), ("admin", 200)):
            assert world.send(who, "GET", f"/api/v1/tasks/{task}{rest}").status_code == status, (who, rest)
    with Connection(world.hub) as line:
        for path in ("/api/v1/tasks/{}", "/api/v1/tasks/{}/log", "/api/v1/{}/status"):
            mine, none = (traces(line.request("GET", path.format(one), token=world.tokens["eve"])) for one in (task, other))
            assert (*mine[:2], mine[2].replace(task.encode(), other.encode())) == none
    assert world.send("eve", "GET", "/api/v1/tasks").json() == {"tasks": []}
    own = world.send("olga", "GET", "/api/v1/tasks").json()["tasks"]
    assert {one["task_id"] for one in own} >= set(world.tasks.values())
    assert world.send("olga", "GET", f"/api/v1/{task}/status").json()["status"] == "COMPLETED"


def test_groups_of_others_are_absent(world):
    for method, rest in (("PUT", "/members/eve"), ("DELETE", "/members/mia"), ("DELETE", "")):
        with Connection(world.hub) as line:
            theirs, none = (traces(line.request(method, f"/api/v1/groups/{group}{rest}", b"", world.tokens["eve"])) for group in ("lab", "bal"))
        assert (*theirs[:2], theirs[2].replace(b"lab", b"bal")) == none and none[0] == 404
        assert world.send("mia", method, f"/api/v1/groups/lab{rest}").status_code == 403  # a member may know of it
        assert world.send("anonymous", method, f"/api/v1/groups/lab{rest}").status_code == 401
    assert world.send("eve", "GET", "/api/v1/groups").json() == {"groups": []}
    assert world.send("mia", "GET", "/api/v1/groups").json()["groups"][0]["members"] == ["mia", "olga"]


# --- 401, 403 ---
SIGNED_IN = [("GET", "/api/v1/namespaces"), ("GET", "/api/v1/tasks"), ("GET", "/api/v1/groups"), ("POST", "/api/v1/groups"),
             ("POST", "/api/v1/publish"), ("GET", "/api/v1/users/olga/tokens"), ("POST", "/api/v1/users/olga/tokens"),
             ("DELETE", "/api/v1/users/olga/tokens/1"), ("GET", f"/api/v1/{'0' * 32}/status")]
FOR_ADMINISTRATORS = [("GET", "/api/v1/users"), ("POST", "/api/v1/users"), ("DELETE", "/api/v1/users/nina")]
ANYBODY = [("GET", "/"), ("GET", "/v2"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready"), ("GET", "/api/v1/hub"),
           ("GET", "/api/v1/whoami"), ("GET", "/api/v1/search"), ("GET", "/api/v1/servables"), ("GET", "/api/v1/schemas/document.json")]


def test_what_needs_a_token(world):
    for method, path in SIGNED_IN + FOR_ADMINISTRATORS:
        reply = world.send("anonymous", method, path)
        assert reply.status_code == 401 and reply.json()["code"] == "UNAUTHENTICATED", path
        assert reply.headers["WWW-Authenticate"] == "Bearer" and "dlhub login" in reply.json()["hint"]
    for method, path in FOR_ADMINISTRATORS:
        reply = world.send("olga", method, path, json={"name": "zoe"})
        assert reply.status_code == 403 and reply.json()["code"] == "PERMISSION_DENIED", path
    for method, path in ANYBODY:
        assert world.send("anonymous", method, path).status_code == 200, path


@pytest.mark.parametrize("header", ["Bearer dlh_" + "0" * 64, "Bearer nonsense", "Bearer ", "Bearer", "Basic YTpi", "dlh_x", "bearer  x", "Bearer ä"])
def test_a_bad_token_is_never_anonymous(world, header):
    for method, path in ANYBODY + SIGNED_IN + FOR_ADMINISTRATORS + [("GET", world.path("public")), ("POST", world.path("public", "/run")),
                                                                  ("GET", world.path("absent"))]:
        reply = requests.request(method, world.hub.url + path, headers={"Authorization": header.encode()}, timeout=60)
        assert reply.status_code == 401 and reply.json()["code"] == "UNAUTHENTICATED", (path, reply.text)


def test_the_scheme_of_a_token_has_no_case(world):
    token = world.tokens["olga"]
    for header in (f"Bearer {token}", f"bearer {token}", f"BEARER  {token}"):
        assert requests.get(world.hub.url + "/api/v1/whoami", headers={"Authorization": header}, timeout=60).json()["user"] == "olga"


def test_tokens_of_others(world):
    for user in ("olga", "nobody"):
        assert world.send("eve", "GET", f"/api/v1/users/{user}/tokens").status_code == 403
        assert world.send("eve", "POST", f"/api/v1/users/{user}/tokens", json={}).status_code == 403
        assert world.send("eve", "DELETE", f"/api/v1/users/{user}/tokens/1").status_code == 403
    theirs, none = (world.send("eve", "GET", f"/api/v1/users/{user}/tokens").json() for user in ("olga", "nobody"))
    assert {**theirs, "request_id": 0} == {**none, "request_id": 0}
    mine = world.send("eve", "GET", "/api/v1/users/eve/tokens").json()["tokens"]
    assert len(mine) == 1 and "token" not in mine[0] and world.tokens["eve"] not in json.dumps(mine)
    assert world.send("eve", "DELETE", "/api/v1/users/eve/tokens/999999").status_code == 404
    assert world.send("eve", "DELETE", "/api/v1/users/eve/tokens/x").status_code == 404


def test_who_may_publish_under_which_name(world, identity_onnx):
    def publish(who, owner):
        return world.send(who, "POST", "/api/v1/publish", files={
            "json": ("j", json.dumps(document("mine", visible_to=[], owner=owner)), "application/json"), "file": ("m.onnx", identity_onnx)})
    for who, owner in (("eve", "olga"), ("eve", "lab"), ("eve", "nobody"), ("nina", "lab"), ("olga", "admin")):
        reply = publish(who, owner)
        assert reply.status_code == 403 and f"under the name '{owner}'" in reply.json()["error"]
    for who, owner in (("eve", "eve"), ("mia", "lab")):
        reply = publish(who, owner)
        assert reply.status_code == 202 and reply.json()["servable"] == f"{owner}/mine"
        assert world.hub.wait_task(reply.json()["task_id"], world.tokens[who])["status"] == "succeeded"
    assert world.send("olga", "GET", "/api/v1/servables/lab/mine").status_code == 200  # also of the group
    assert world.send("nina", "GET", "/api/v1/servables/lab/mine").status_code == 404


# --- changes take effect with the reply that acknowledges them ---
@pytest.fixture
def model(world, identity_onnx):
    """A fresh private servable of Olga's, in everybody's routing cache."""
    world.hub.publish(document("fresh", visible_to=[]), identity_onnx, token=world.tokens["olga"])
    yield "fresh"
    assert world.send("olga", "DELETE", world.path("fresh")).status_code == 204


def statuses(world, name, who):
    return [world.send(who, "GET", world.path(name)).status_code, world.send(who, "GET", world.path(name, "/versions/1")).status_code,
            world.send(who, "GET", world.path(name, "/files/model.onnx")).status_code,
            world.send(who, "POST", world.path(name, "/infer", "/v2/models"), data=INFER).status_code,
            200 if f"olga/{name}" in world.send(who, "GET", "/api/v1/servables").json() else 404]


def test_a_change_of_access_is_seen_at_once(world, model):
    grant = lambda **access: world.send("olga", "PUT", world.path(model, "/access"), json=access)
    for access, seen, run, download in (({"visible_to": ["user:nina"]}, 200, 200, 200), ({"visible_to": []}, 404, 404, 404),
                                        ({"visible_to": ["signed-in"], "run_by": []}, 200, 403, 200),
                                        ({"visible_to": ["public"], "download_by": ["user:olga"]}, 200, 200, 403),
                                        ({"visible_to": ["group:lab"]}, 404, 404, 404)):
        reply = grant(**access)
        assert reply.status_code == 200 and {key: reply.json()[key] for key in access} == access
        assert statuses(world, model, "nina") == [seen, seen, download, run, seen], access
    for bad, words in (({}, "visible_to"), ({"visible_to": "public"}, "array"), ({"visible_to": ["everybody"]}, "everybody"),
                       ({"visible_to": ["public"], "owner": "eve"}, "owner"), ({"visible_to": [], "read_by": []}, "read_by"), ([], "object")):
        reply = grant(**bad) if isinstance(bad, dict) else world.send("olga", "PUT", world.path(model, "/access"), json=bad)
        assert reply.status_code == 400 and words in reply.json()["error"], reply.text
    assert statuses(world, model, "mia") == [200] * 5


def test_a_change_of_a_group_is_seen_at_once(world, model):
    world.send("olga", "PUT", world.path(model, "/access"), json={"visible_to": ["group:crew"]})
    assert world.send("olga", "POST", "/api/v1/groups", json={"name": "crew"}).status_code == 201
    for _ in range(3):
        assert statuses(world, model, "nina") == [404] * 5
        assert world.send("olga", "PUT", "/api/v1/groups/crew/members/nina").status_code == 204
        assert statuses(world, model, "nina") == [200] * 5
        assert world.send("nina", "GET", "/api/v1/whoami").json()["groups"] == ["crew"]
        assert world.send("olga", "DELETE", "/api/v1/groups/crew/members/nina").status_code == 204
    world.send("olga", "PUT", "/api/v1/groups/crew/members/nina")
    assert world.send("olga", "DELETE", "/api/v1/groups/crew").status_code == 204
    assert statuses(world, model, "nina") == [404] * 5
    assert world.send("olga", "PUT", "/api/v1/groups/lab/members/nobody").status_code == 404


def test_a_token_that_is_taken_away_is_bad_at_once(world):
    token = world.send("nina", "POST", "/api/v1/users/nina/tokens", json={"label": "laptop", "expires_days": 1}).json()
    with Connection(world.hub) as line:
        assert line.request("GET", "/api/v1/whoami", token=token["token"]).json()["user"] == "nina"
        assert world.send("nina", "DELETE", f"/api/v1/users/nina/tokens/{token['id']}").status_code == 204
        assert line.request("GET", "/api/v1/whoami", token=token["token"]).status == 401
        zoe = world.hub.user("zoe")
        assert line.request("GET", "/api/v1/whoami", token=zoe).json()["user"] == "zoe"
        assert world.send("admin", "DELETE", "/api/v1/users/zoe").status_code == 204
        assert line.request("GET", "/api/v1/whoami", token=zoe).status == 401
    assert world.send("admin", "DELETE", "/api/v1/users/admin").status_code == 412


def test_changes_are_seen_at_once_while_others_ask(world):
    """Looking up a token while its groups change must not keep the old answer."""
    assert world.send("olga", "POST", "/api/v1/groups", json={"name": "shift"}).status_code == 201
    done = threading.Event()

    def ask():
        with Connection(world.hub) as line:
            while not done.is_set():
                line.request("GET", "/api/v1/whoami", token=world.tokens["nina"])
                line.request("GET", world.path("public"), token=world.tokens["nina"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(60):
            inside = turn % 2 == 0
            assert world.send("olga", "PUT" if inside else "DELETE", "/api/v1/groups/shift/members/nina").status_code == 204
            assert world.send("nina", "GET", "/api/v1/whoami").json()["groups"] == (["shift"] if inside else []), turn
    finally:
        done.set()
        for thread in threads:
            thread.join()
