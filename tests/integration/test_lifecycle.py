"""The hub's own life: start, settings, end, a second start, backup and restore."""
import json
import os
import re
import signal
import stat
import subprocess
import threading

import pytest

from raw_http import Connection
from support import BIN, HubProcess, document, wait_for

WAIT = """
import time

def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""
SLOW = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
        "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                            "method_details": {"module": "slow", "method_name": "wait"}}}}
GOLDEN = {"request": {"inputs": [{"name": "input", "shape": [], "datatype": "FP64", "data": [0]}]}}


def dlhubd(*flags, **environment):
    """A dlhubd that is expected to end by itself."""
    return subprocess.run([BIN / "dlhubd", *flags], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})


def run_identity(hub, name="admin/identity", version=None):
    where = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
    answer = hub.post(where + "/infer", token=None, json={
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"]


# --- start ---
def test_the_first_start(hub):
    token = hub.data / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert hub.get("/api/v1/whoami").json() == {"user": "admin", "groups": [], "admin": True}
    assert hub.url.startswith("http://127.0.0.1:") and "ready" in hub.ready_line
    assert token.read_text().startswith("dlh_") and len(token.read_text().strip()) == 68
    for name in ("catalog.sqlite", "format"):
        assert stat.S_IMODE((hub.data / name).stat().st_mode) & 0o077 == 0, name
    first = token.read_text()
    hub.stop()
    hub.start()
    assert token.read_text() == first and hub.get("/api/v1/whoami").json()["admin"]


def test_a_second_hub_on_the_same_folder_is_refused(hub):
    second = dlhubd("--data", hub.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert second.returncode == 8 and "another dlhubd is using" in second.stderr and str(hub.data) in second.stderr
    assert "what to do" in second.stderr
    assert hub.get("/api/v1/whoami").status_code == 200


def test_the_address_is_taken(hub, tmp_path):
    second = dlhubd("--data", tmp_path / "other", "--http", hub.url.removeprefix("http://"))
    assert second.returncode != 0 and "cannot listen on" in second.stderr and "--http ADDR:PORT" in second.stderr


def test_a_newer_format_is_refused(hub):
    hub.stop()
    (hub.data / "format").write_text("999\n")
    newer = dlhubd("--data", hub.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert newer.returncode == 8 and "newer DLHub (format 999" in newer.stderr
    (hub.data / "format").write_text("damaged\n")
    damaged = dlhubd("--data", hub.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert damaged.returncode == 15 and "format is damaged" in damaged.stderr
    (hub.data / "format").write_text("1\n")
    hub.start()


@pytest.mark.parametrize("flags, words", [
    (["--http", "127.0.0.1:0"], "no data folder was given"), (["--data"], "--data needs a value"), (["serve"], "unexpected argument 'serve'"),
    (["D", "--http", "here"], "must be ADDR:PORT"), (["D", "--http", "localhost:0"], "no IP address"),
    (["D", "--http", "127.0.0.1:99999"], "must be ADDR:PORT"),
    (["D", "--limits.body_bites", "1M"], "no setting 'limits.body_bites'.*\n.*did you mean limits.body_bytes"),
    (["D", "--limits.body_bytes", "1"], "flag --limits.body_bytes: limits.body_bytes is '1', but must be a size from 1024"),
    (["D", "--limits.run_s=soon"], "limits.run_s is 'soon', but must be a whole number from 1 to 86400"),
    (["D", "--worker.network", "--access.signup=perhaps"], "access.signup is 'perhaps', but must be true or false"),
    (["D", "--log.level", "loud"], "log.level is 'loud', but must be error, warning, info or debug"),
    (["D", "--access.default_visibility", "all"], "access.default_visibility is 'all', but must be"),
    (["D", "--worker.sandbox", "no"], "worker.sandbox is 'no', but must be"),
    (["D", "--backup"], "--backup needs a file"), (["D", "--config", "none.conf"], "settings file none.conf"),
], ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "")
def test_bad_flags(tmp_path, flags, words):
    data = ["--http", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    flags = [word for flag in flags for word in (data if flag == "D" else [flag])]
    ended = dlhubd(*flags)
    assert ended.returncode != 0 and ended.stdout == "" and re.search(words, ended.stderr), ended


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    ended = dlhubd("--data", tmp_path, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert ended.returncode == 8 and "not empty and is no data folder" in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


# --- settings ---
def body_limit(hub):
    """What the hub says its limits.body_bytes is."""
    hub_limit = hub.post("/v2/models/a/b/infer", data=b" " * (1 << 20)).json()["error"]
    return int(hub_limit.split("more than ")[1].split()[0])


def test_settings_from_file_environment_and_flags(tmp_path):
    data = tmp_path / "hub"
    data.mkdir()
    (data / "dlhubd.conf").write_text("# a comment\n\n  limits.body_bytes = 10K  \nlimits.metadata_bytes=11K\n")
    # An empty folder but for its settings is one to begin in.
    hub = HubProcess(data)
    assert body_limit(hub) == 10240
    hub.stop()
    hub = HubProcess(data, environment={"DLHUBD_LIMITS_BODY_BYTES": "20K"})
    assert body_limit(hub) == 20480
    hub.stop()
    hub = HubProcess(data, "--limits.body-bytes=30K", environment={"DLHUBD_LIMITS_BODY_BYTES": "20K"})
    assert body_limit(hub) == 30720
    assert hub.stop() == 0
    other = tmp_path / "other.conf"
    other.write_text("limits.body_bytes = 40K\n")
    hub = HubProcess(data, "--config", str(other))
    assert body_limit(hub) == 40960
    assert hub.stop() == 0


@pytest.mark.parametrize("text, words", [
    ("limits.body_bytes 10K\n", "dlhubd.conf:1: expected 'name = value'"), ("\nlimit.run_s = 1\n", "dlhubd.conf:2: there is no setting 'limit.run_s'"),
    ("limits.run_s = 0\n", "dlhubd.conf:1: limits.run_s is '0', but must be a whole number from 1"), ("limits.run_s =\n", "limits.run_s is ''")])
def test_a_bad_settings_file(tmp_path, text, words):
    (tmp_path / "dlhubd.conf").write_text(text)
    ended = dlhubd("--data", tmp_path, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr


def test_a_bad_environment(tmp_path):
    ended = dlhubd("--data", tmp_path / "hub", DLHUBD_LIMITS_NONSENSE="1")
    assert ended.returncode == 2 and "environment DLHUBD_LIMITS_NONSENSE: there is no such setting" in ended.stderr
    ended = dlhubd("--data", tmp_path / "hub", DLHUBD_LIMITS_RUN_S="x")
    assert ended.returncode == 2 and "environment DLHUBD_LIMITS_RUN_S: limits.run_s is 'x'" in ended.stderr


def test_help_and_version():
    help = dlhubd("--help")
    assert help.returncode == 0 and "--limits.body_bytes" in help.stdout and "Example" in help.stdout
    assert dlhubd("--version").stdout.startswith("dlhubd ")


def test_sighup_starts_anew_with_the_settings_read_again(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    before = hub.url
    with Connection(hub) as idle:
        idle.request("GET", "/v2")
        (hub.data / "dlhubd.conf").write_text("limits.body_bytes = 12K\n")
        hub.process.send_signal(signal.SIGHUP)
        hub.wait_ready()
        assert hub.url == before and body_limit(hub) == 12288
        assert run_identity(hub) == [1, 2]
    assert hub.stop() == 0


# --- end ---
@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory):
    """A data folder with a published function that takes the time that it is told."""
    hub = HubProcess(tmp_path_factory.mktemp("slow") / "hub")
    task = hub.publish({**document("slow"), "servable": SLOW, "golden": GOLDEN}, WAIT, "slow.py")
    assert task["status"] == "succeeded", task
    assert hub.stop() == 0
    return hub.data


def begin_run(hub, seconds):
    """A thread with one run under way; its list gets the answer."""
    answers = []
    body = {"data": seconds, "timeout_s": 60}
    thread = threading.Thread(target=lambda: answers.append(hub.post("/api/v1/servables/admin/slow/run", token=None, json=body)))
    hub.post("/api/v1/servables/admin/slow/run", token=None, json={"data": 0})
    thread.start()
    short = lambda: hub.post("/api/v1/servables/admin/slow/run", token=None, json={"data": 0, "timeout_s": 0.05}).status_code
    wait_for(lambda: short() == 504, what="the run to begin")
    return thread, answers


def test_sigterm_lets_the_runs_under_way_end(slow_folder):
    hub = HubProcess(slow_folder)
    thread, answers = begin_run(hub, 1)
    assert hub.stop() == 0
    thread.join()
    assert answers[0].status_code == 200 and answers[0].json() == [1]


def test_a_second_sigterm_ends_it_at_once(slow_folder):
    hub = HubProcess(slow_folder)
    thread, answers = begin_run(hub, 20)
    hub.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "ending" in hub.log_text().split("ended")[-1], what="the end to begin")
    assert hub.stop() == 0
    thread.join()
    assert answers[0].status_code == 503 and answers[0].json()["code"] == "UNAVAILABLE" and "Retry-After" in answers[0].headers


@pytest.mark.parametrize("second, lives", [(signal.SIGHUP, True), (signal.SIGTERM, False)])
def test_a_signal_while_it_starts_anew(slow_folder, second, lives):
    """Asked twice to start anew it does so once; asked to end it ends."""
    hub = HubProcess(slow_folder)
    thread, answers = begin_run(hub, 1)
    seen = len(hub.log_text())
    hub.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "ending: waiting" in hub.log_text()[seen:], what="the end to begin")
    hub.process.send_signal(second)
    if lives:
        hub.wait_ready()
        assert hub.stop() == 0
    else:
        assert hub.process.wait(30) == 0 and hub.process.stdout.read() == ""
        hub.stop()
    thread.join()
    assert answers[0].status_code == (200 if lives else 503)


def test_sigterm_with_everything_under_way(tmp_path, identity_onnx):
    """Idle connections, half a head, half a body, half an upload, a long poll: nothing keeps it, nothing breaks."""
    hub = HubProcess(tmp_path / "hub", "--worker.programs", str(tmp_path / "programs"))
    (tmp_path / "programs").mkdir()
    hold = tmp_path / "programs" / "dlhub-build"
    os.mkfifo(tmp_path / "hold")
    hold.write_text(f"#!/bin/sh\nexec 3<{tmp_path}/hold\nread x <&3\n")
    hold.chmod(0o755)
    reply = hub.post("/api/v1/publish", files={"json": ("j", json.dumps(document("identity")), "application/json"),
                                               "file": ("model.onnx", identity_onnx)})
    task = reply.json().get("task_id")
    assert task, reply.text
    wait_for(lambda: hub.get(f"/api/v1/tasks/{task}").json()["stage"] == "unpacking", what="the publish to begin")
    lines = [Connection(hub) for _ in range(6)]
    lines[0].request("GET", "/v2")
    lines[1].send("GET /v2 HT")
    lines[2].send("POST /v2/models/a/b/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
    lines[3].send(f"POST /api/v1/publish HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {hub.token}\r\nContent-Length: 9000000\r\n"
                  "Content-Type: multipart/form-data; boundary=bound\r\n\r\n"
                  '--bound\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + "x" * 3000000)
    for line in lines[4:]:
        line.send(f"GET /api/v1/tasks/{task}?wait_s=30 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {hub.token}\r\n\r\n")
    hub.get("/api/v1/users")
    assert hub.stop() == 0, hub.log_text()
    for line in lines[4:]:
        reply = line.read()
        assert reply.status == 200 and reply.json()["status"] == "running"
    # What was accepted is kept: the next start goes on with it.
    hub = HubProcess(hub.data)
    assert hub.wait_task(task)["status"] == "succeeded" and run_identity(hub) == [1, 2]
    assert not list((hub.data / "publish").glob("*/upload"))
    assert hub.stop() == 0


# --- a second start, backup and restore ---
def fill(hub, identity_onnx):
    """One of everything that a hub keeps; returns what must be the same afterwards."""
    alice = hub.user("alice")
    assert hub.post("/api/v1/groups", json={"name": "lab"}).status_code == 201
    assert hub.request("PUT", "/api/v1/groups/lab/members/alice").status_code == 204
    task = hub.publish(document("identity"), identity_onnx)
    hub.publish(document("identity", visible_to=["group:lab"], owner="lab"), identity_onnx)
    hub.publish(document("private", visible_to=[]), identity_onnx)
    assert hub.request("PUT", "/api/v1/servables/admin/identity/aliases/stable", json={"version": 1}).status_code == 204
    assert hub.request("PATCH", "/api/v1/servables/admin/identity", json={
        "datacite": {"titles": [{"title": "Another title"}]}}).status_code == 200
    return alice, task["task_id"]


def state(hub, alice, task):
    return [hub.get(path, token=token).text for token in (True, alice, None) for path in (
        "/api/v1/whoami", "/api/v1/servables", "/api/v1/servables/admin/identity", "/api/v1/servables/admin/identity/versions/stable",
        "/api/v1/servables/lab/identity", "/api/v1/servables/admin/private", "/api/v1/search?q=another", "/api/v1/groups", "/api/v1/users",
        f"/api/v1/tasks/{task}", f"/api/v1/tasks/{task}/log", "/api/v1/servables/admin/identity/files/model.onnx")
        if token or "group" not in path and "user" not in path and "task" not in path]


def without_ids(texts):
    return [re.sub(r'"request_id":"[^"]*"', "", text) for text in texts]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_start_finds_everything(hub, identity_onnx, how):
    kept = fill(hub, identity_onnx)
    before = without_ids(state(hub, *kept))
    hub.stop(how)
    hub.start()
    assert without_ids(state(hub, *kept)) == before
    assert run_identity(hub) == [1, 2] and run_identity(hub, version="stable") == [1, 2]


def test_check(hub, identity_onnx, tmp_path):
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    sound = dlhubd("--check", "--data", hub.data)  # beside the running hub
    assert sound.returncode == 0 and "sound" in sound.stdout
    hub.stop()
    assert dlhubd("--check", "--data", hub.data).returncode == 0
    missing = dlhubd("--check", "--data", tmp_path / "nowhere")
    assert missing.returncode == 4 and "no data folder of DLHub" in missing.stderr and not (tmp_path / "nowhere").exists()
    catalog = hub.data / "catalog.sqlite"
    whole = catalog.read_bytes()
    catalog.write_bytes(whole[:8192] + b"\xaa" * 4096 + whole[12288:])
    damaged = dlhubd("--check", "--data", hub.data)
    assert damaged.returncode not in (0, 1) and damaged.stderr
    catalog.write_bytes(whole)
    hub.start()


@pytest.mark.parametrize("running", [True, False])
def test_backup_and_restore(tmp_path, identity_onnx, running):
    hub = HubProcess(tmp_path / "hub")
    kept = fill(hub, identity_onnx)
    before = without_ids(state(hub, *kept))
    written = dlhubd("--backup", tmp_path / "backup.tar", "--data", hub.data)  # beside the running hub
    assert written.returncode == 0, written.stderr
    assert stat.S_IMODE((tmp_path / "backup.tar").stat().st_mode) == 0o600
    again = dlhubd("--backup", tmp_path / "backup.tar", "--data", hub.data)
    assert again.returncode == 5 and "exists already" in again.stderr

    # What comes after the backup is gone after the restore; what was there is there again.
    assert hub.request("DELETE", "/api/v1/servables/admin/identity").status_code == 204
    assert hub.request("DELETE", "/api/v1/users/alice").status_code == 204
    bob = hub.user("bob")
    assert hub.publish(document("later"), identity_onnx)["status"] == "succeeded"
    if not running:
        hub.stop()
    restored = dlhubd("--restore", tmp_path / "backup.tar", "--data", hub.data)
    assert restored.returncode == 0, restored.stderr
    if running:
        assert "takes it over now" in restored.stdout
        hub.wait_ready()
    else:
        assert "next start" in restored.stdout
        hub.start()
    assert without_ids(state(hub, *kept)) == before
    assert run_identity(hub) == [1, 2]
    assert hub.get("/api/v1/whoami", token=bob).status_code == 401
    assert hub.get("/api/v1/servables/admin/later").status_code == 404
    assert hub.stop() == 0
    assert not [path.name for path in hub.data.iterdir() if path.name.startswith(("restore", "replaced"))]


def test_restore_into_a_new_folder(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub")
    kept = fill(hub, identity_onnx)
    before = without_ids(state(hub, *kept))
    assert dlhubd("--backup", tmp_path / "backup.tar", "--data", hub.data).returncode == 0
    assert hub.stop() == 0
    restored = dlhubd("--restore", tmp_path / "backup.tar", "--data", tmp_path / "new")
    assert restored.returncode == 0, restored.stderr
    moved = HubProcess(tmp_path / "new")
    assert moved.token == hub.token and without_ids(state(moved, *kept)) == before and run_identity(moved) == [1, 2]
    assert moved.stop() == 0


@pytest.mark.parametrize("content, words", [(b"", "no backup of DLHub"), (b"nonsense" * 1000, "no backup of DLHub"), (None, "no backup .*bad.tar")],
                         ids=["empty", "nonsense", "absent"])
def test_a_bad_backup_changes_nothing(hub, identity_onnx, tmp_path, content, words):
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    if content is not None:
        (tmp_path / "bad.tar").write_bytes(content)
    ended = dlhubd("--restore", tmp_path / "bad.tar", "--data", hub.data)
    assert ended.returncode != 0 and re.search(words, ended.stderr), ended.stderr
    assert run_identity(hub) == [1, 2]
    hub.stop()
    hub.start()
    assert run_identity(hub) == [1, 2] and not (hub.data / "restore.part").exists()
