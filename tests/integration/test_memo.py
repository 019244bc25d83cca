"""A servable that its publisher calls deterministic answers the same call from memory: to those who may have that answer."""
import concurrent.futures
import json
import socket
import urllib.parse

import pytest

from support import HubProcess, document, wait_for

CODE = '''
import time

runs = 0

def count(what: str) -> str:
    """How often it was run: a function that is not deterministic."""
    global runs
    runs += 1
    if what.startswith("slow"):
        time.sleep(1)
    if what == "fail":
        raise ValueError("number %d" % runs)
    return "%s %d" % (what, runs)

def upper(what: str) -> str:
    return what.upper()
'''


def servable(function):
    return {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                "method_details": {"module": "functions", "method_name": function}}}}


def publish(hub, name, function="count", memo=True, **dlhub):
    task = hub.publish({**document(name, serving={"memo": memo, "replicas": {"max": 1}}, **dlhub), "servable": servable(function)},
                       CODE, "functions.py")
    assert task["status"] == "succeeded", task
    return f"/api/v1/servables/admin/{name}/run"


@pytest.fixture(scope="module")
def quiet_hub(tmp_path_factory):
    """Nothing is verified: each test decides what is run."""
    process = HubProcess(tmp_path_factory.mktemp("memo") / "hub", "--memo.verify", "0")
    yield process
    assert process.stop() == 0, process.log_text()


def run(hub, path, what, token=True, **headers):
    answer = hub.post(path, json={"data": what}, token=token, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()[0], answer.headers.get("X-DLHub-Memo")


def statistics(hub, name):
    model = hub.get(f"/v2/models/admin/{name}/stats").json()["model_stats"][0]
    return model["inference_stats"]


def test_the_same_call_is_answered_from_memory(quiet_hub):
    path = publish(quiet_hub, "same")
    first, mark = run(quiet_hub, path, "a")
    assert mark is None
    assert run(quiet_hub, path, "a") == (first, "hit")
    assert run(quiet_hub, path, "b")[1] is None
    assert run(quiet_hub, path, "a") == (first, "hit")
    fresh, mark = run(quiet_hub, path, "a", **{"Cache-Control": "no-cache"})
    assert fresh != first and mark is None
    infer = quiet_hub.post("/v2/models/admin/same/infer", json={
        "inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": ["a"]}]})
    assert infer.json()["outputs"][0]["data"] == [first]
    assert infer.headers["X-DLHub-Memo"] == "hit"
    stats = statistics(quiet_hub, "same")
    assert stats["cache_hit"]["count"] == 3 and stats["cache_miss"]["count"] == 2
    assert stats["success"]["count"] == 6  # from memory or not
    metrics = quiet_hub.get("/metrics").text
    assert "dlhub_memo_hits_total 3" in metrics and "dlhub_memo_misses_total 2" in metrics, metrics


def test_only_servables_that_ask_for_it_have_one(quiet_hub):
    path = publish(quiet_hub, "without", memo=False)
    assert run(quiet_hub, path, "a")[0] != run(quiet_hub, path, "a")[0]
    described = quiet_hub.get("/api/v1/servables/admin/without").json()
    changed = {**described["dlhub"], "serving": {"memo": {"lifetime_s": 3600}}}
    assert quiet_hub.request("PATCH", "/api/v1/servables/admin/without", json={"dlhub": changed}).status_code == 200
    first, _ = run(quiet_hub, path, "a")
    assert run(quiet_hub, path, "a") == (first, "hit")


def test_a_task_is_answered_from_memory_too(quiet_hub):
    path = publish(quiet_hub, "later")
    first, _ = run(quiet_hub, path, "a")
    accepted = quiet_hub.post(path, json={"each": ["a", "b", "a"], "asynchronous": True})
    assert accepted.status_code == 202, accepted.text
    task = f"/api/v1/tasks/{accepted.json()['task_id']}"
    state = {"status": "queued"}
    while state["status"] in ("queued", "running"):
        state = quiet_hub.get(f"{task}?wait_s=10").json()
    assert state["status"] == "succeeded", state
    result = quiet_hub.get(f"{task}/result").json()
    assert len(result) == 3 and result[0] == result[2] and first in json.dumps(result), result


def test_errors_are_not_kept(quiet_hub):
    path = publish(quiet_hub, "failing")
    first = quiet_hub.post(path, json={"data": "fail"})
    second = quiet_hub.post(path, json={"data": "fail"})
    assert first.status_code == second.status_code == 500
    assert first.json()["error"] != second.json()["error"] and "X-DLHub-Memo" not in second.headers


def test_answers_of_a_private_servable_are_not_shared(quiet_hub):
    ann, bob = quiet_hub.user("ann"), quiet_hub.user("bob")
    path = publish(quiet_hub, "private", visible_to=["public"], run_by=["user:ann", "user:bob"])
    of_ann, _ = run(quiet_hub, path, "a", token=ann)
    of_bob, mark = run(quiet_hub, path, "a", token=bob)
    assert of_ann != of_bob and mark is None
    assert run(quiet_hub, path, "a", token=ann) == (of_ann, "hit")
    shared = publish(quiet_hub, "lent", visible_to=["public"], run_by=["user:ann", "user:bob"], memo={"shared": True})
    of_ann, _ = run(quiet_hub, shared, "a", token=ann)
    assert run(quiet_hub, shared, "a", token=bob) == (of_ann, "hit")
    refused = quiet_hub.post(shared, json={"data": "a"}, token=quiet_hub.user("eve"))
    assert refused.status_code == 403


def test_identical_calls_under_way_are_one_run(quiet_hub):
    path = publish(quiet_hub, "joined")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: run(quiet_hub, path, "slow"), range(8)))
    assert len({text for text, _ in answers}) == 1, answers
    assert [mark for _, mark in answers].count(None) == 1, answers
    assert run(quiet_hub, path, "b")[0] == "b " + str(int(answers[0][0].split()[1]) + 1)


def test_a_leader_whose_client_leaves_goes_on_for_the_others(quiet_hub):
    path = publish(quiet_hub, "left")
    before = int(run(quiet_hub, path, "first")[0].split()[1])
    misses = statistics(quiet_hub, "left")["cache_miss"]["count"]
    address = urllib.parse.urlparse(quiet_hub.url)
    leader = socket.create_connection((address.hostname, address.port))
    body = json.dumps({"data": "slow"})
    leader.sendall((f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                    f"Authorization: Bearer {quiet_hub.token}\r\n\r\n{body}").encode())
    wait_for(lambda: statistics(quiet_hub, "left")["cache_miss"]["count"] > misses, what="the leader")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        follower = pool.submit(run, quiet_hub, path, "slow")
        wait_for(lambda: statistics(quiet_hub, "left")["cache_hit"]["count"], what="the follower")
        leader.close()
        assert follower.result() == (f"slow {before + 1}", "joined")


def test_a_servable_that_is_not_deterministic_loses_its_memo(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--memo.verify", "1")
    path = publish(hub, "liar")
    upper = publish(hub, "upper", "upper")
    assert run(hub, upper, "a") == ("A", None) and run(hub, upper, "a") == ("A", "hit")
    first, _ = run(hub, path, "a")
    assert run(hub, path, "a") == (first, "hit")

    def why(name="liar"):
        return hub.get(f"/api/v1/servables/admin/{name}").json()["serving"].get("memo_off")
    assert wait_for(why, what="the note that its memo is off")["output"] == "output"
    for _ in range(2):
        (second, mark), (third, again) = run(hub, path, "a"), run(hub, path, "a")
        assert second != third and mark is None and again is None
        assert hub.stop() == 0
        hub.start()  # remembers
    assert run(hub, upper, "a")[1] is None and run(hub, upper, "a")[1] == "hit" and why("upper") is None
    assert "its memo is off" in hub.log_text()

    # The very same again is no other servable: its memo stays off. What is published in its place has one.
    assert publish(hub, "liar") == path and why()
    assert run(hub, path, "a")[1] is None and run(hub, path, "a")[1] is None
    assert publish(hub, "liar", "upper") == path and why() is None
    assert run(hub, path, "a") == ("A", None) and run(hub, path, "a") == ("A", "hit")
    assert hub.stop() == 0
