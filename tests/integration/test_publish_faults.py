"""Whatever happens to a publish: what was acknowledged is there afterwards, of the rest nothing is visible."""
import concurrent.futures
import io
import json
import os
import pathlib
import random
import select
import signal
import subprocess
import tarfile
import threading
import time
import zipfile

import pytest
import requests

from support import HubProcess, document, wait_for


def tar_of(*members):
    """members: (TarInfo or name, bytes)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


BAD_ARCHIVES = {
    "dot-dot": ([("../evil", b"x"), ("model.onnx", b"y")], ".."),
    "absolute": ([("/etc/evil", b"x")], "absolute"),
    "symlink": ([special("model.onnx", tarfile.SYMTYPE, "/etc/passwd")], "link"),
    "hardlink": ([special("model.onnx", tarfile.LNKTYPE, "/etc/passwd")], "link"),
    "device": ([special("null", tarfile.CHRTYPE)], "device"),
    "fifo": ([special("pipe", tarfile.FIFOTYPE)], "pipe"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_archives_that_want_out(shared_hub, case):
    members, word = BAD_ARCHIVES[case]
    task = shared_hub.publish(document("bad"), tar_of(*members), "bad.tar")
    assert task["status"] == "failed" and task["error"]["code"] == "INVALID_ARGUMENT", task
    assert shared_hub.get("/api/v1/servables/admin/bad").status_code == 404
    assert "FAILED" in shared_hub.get(f"/api/v1/tasks/{task['task_id']}/log").text


def test_a_bomb_stops_at_its_limit(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--limits.unpacked_bytes", "8M")
    try:
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("model.onnx", "w", force_zip64=True) as member:
                for _ in range(1024):
                    member.write(bytes(1 << 20))
        task = hub.publish(document("bomb"), bomb.getvalue(), "bomb.zip")
        assert task["status"] == "failed", task
        assert "limits.unpacked_bytes" in task["error"]["message"] + task["error"].get("hint", "")
        wait_for(lambda: not list((hub.data / "publish").iterdir()), what="the upload's folder to go")
    finally:
        assert hub.stop() == 0


@pytest.mark.parametrize("filename", ["model.onnx", "model.h5", "model.keras", "model.pt", "model.joblib", "model.zip"])
def test_model_files_that_are_none(shared_hub, filename, identity_onnx):
    for data in (random.Random(7).randbytes(5000), b"", identity_onnx[:len(identity_onnx) // 2]):
        task = shared_hub.publish(document("broken"), data, filename)
        assert task["status"] == "failed", (filename, task)
        assert task["error"]["message"] and task["error"]["code"] != "INTERNAL", (filename, task)
    assert shared_hub.get("/api/v1/servables/admin/broken").status_code == 404


def blobs_of(hub):
    return sorted(path.parent.name + path.name for path in (hub.data / "blobs" / "sha256").rglob("*") if path.is_file())


def check_after_crash(hub, acknowledged):
    """Every acknowledged publish ends, and what is visible has all its files."""
    for task in acknowledged:
        state = hub.wait_task(task)
        assert state["status"] == "succeeded", state
    for name in hub.get("/api/v1/servables").json():
        described = hub.get(f"/api/v1/servables/{name}").json()
        for file in described["files"]:
            got = hub.get(f"/api/v1/servables/{name}/files/{file['path']}")
            assert got.status_code == 200 and len(got.content) == file["bytes"]
        answer = hub.post(f"/v2/models/{name}/infer", json={
            "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2.5]}]})
        assert answer.status_code == 200 and answer.json()["outputs"][0]["data"] == [2.5], answer.text


def test_kill_9_of_the_hub_at_any_point(tmp_path, identity_onnx):
    """Publishes go on in a thread while the hub is killed at times that differ from round to round."""
    hub = HubProcess(tmp_path / "hub")
    acknowledged, random_time = [], random.Random(11)
    for round_number in range(6):
        stop = threading.Event()

        def publish_on():
            for i in range(50):
                if stop.is_set():
                    return
                name = f"m{round_number}-{i}"
                data = identity_onnx + b"\x32" + bytes([len(name)]) + name.encode()  # a doc_string: other bytes, same graph
                try:
                    reply = hub.post("/api/v1/publish", files={
                        "json": ("dlhub.json", json.dumps(document(name)), "application/json"),
                        "file": ("model.onnx", data, "application/octet-stream")})
                    if reply.status_code == 202:
                        acknowledged.append(reply.json()["task_id"])
                except requests.RequestException:
                    return
        thread = threading.Thread(target=publish_on)
        before = len(acknowledged)
        thread.start()
        wait_for(lambda: len(acknowledged) > before + random_time.randrange(3), what="a publish")
        threading.Event().wait(random_time.random() * 0.2)  # not for an event: the point is that the moment is any
        hub.stop(signal.SIGKILL)
        stop.set()
        thread.join()
        hub.start()
    check_after_crash(hub, acknowledged)
    assert not [path for path in (hub.data / "publish").iterdir()]
    assert hub.stop() == 0


def test_kill_9_of_the_build(shared_hub):
    """The child is killed while it installs: the task fails with words, the hub goes on."""
    files = {"json": ("dlhub.json", json.dumps({**document("slow"), "servable": {
        "type": "Python static method", "shim": "python.PythonStaticMethodServable",
        "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                            "method_details": {"module": "slow", "method_name": "f"}}}}}), "application/json"),
        "file": ("slow.py", "import six\ndef f(x): return x\n", "text/plain")}
    metadata = json.loads(files["json"][1])
    metadata["dlhub"]["dependencies"] = {"python": {"six": "1.16.0"}}
    files["json"] = ("dlhub.json", json.dumps(metadata), "application/json")
    task = shared_hub.post("/api/v1/publish", files=files).json()["task_id"]

    def builder():
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[0].endswith(b"dlhub-build") and b"environment" in words and str(shared_hub.data).encode() in b" ".join(words):
                    return int(entry.name)
        return None
    os.kill(wait_for(builder, what="dlhub-build"), signal.SIGKILL)
    state = shared_hub.wait_task(task)
    assert state["status"] == "failed" and state["error"]["message"], state
    again = shared_hub.publish(metadata, files["file"][1], "slow.py")
    assert again["status"] == "succeeded", again


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can only be mounted by root")
def test_a_full_disk(tmp_path, identity_onnx):
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], check=True)
    hub = None
    try:
        hub = HubProcess(folder / "hub")
        assert hub.publish(document("first"), identity_onnx)["status"] == "succeeded"
        reply = hub.post("/api/v1/publish", files={
            "json": ("dlhub.json", json.dumps(document("big")), "application/json"),
            "file": ("model.onnx", bytes(64 << 20), "application/octet-stream")})
        assert reply.status_code == 429 and reply.json()["code"] == "RESOURCE_EXHAUSTED", reply.text
        assert "No space left" in reply.json()["error"]
        wait_for(lambda: not list((hub.data / "publish").iterdir()), what="the end of the leftovers")
        assert hub.post("/v2/models/admin/first/infer", json={
            "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}).status_code == 200
        assert hub.publish(document("second", "Other"), identity_onnx)["status"] == "succeeded"
        assert hub.stop() == 0
        hub.start()
        assert sorted(hub.get("/api/v1/servables").json()) == ["admin/first", "admin/second"]
    finally:
        if hub:
            hub.stop()
        subprocess.run(["umount", "-l", folder], check=False)


@pytest.mark.parametrize("head", [b"", b"Content-Type: text/plain\r\n", b"Content-Disposition: form-data\r\n"])
def test_a_part_without_a_name(shared_hub, head):
    reply = shared_hub.post("/api/v1/publish", data=b"--b\r\n" + head + b"\r\nhello\r\n--b--\r\n",
                            headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert reply.status_code == 400 and "'json'" in reply.json()["error"], reply.text


def test_what_was_just_published_keeps_its_worker(shared_hub, identity_onnx):
    """The golden test's worker is ended after it, but not one that serves by then."""
    assert shared_hub.publish(document("kept"), identity_onnx)["status"] == "succeeded"
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    for _ in range(2):
        assert shared_hub.post("/v2/models/admin/kept/infer", json=body).status_code == 200
    started = shared_hub.log_text().count("admin/kept@")
    until = time.monotonic() + 2.5  # two looks for idle workers
    while time.monotonic() < until:
        assert shared_hub.post("/v2/models/admin/kept/infer", json=body).status_code == 200
        select.select([], [], [], 0.3)
    assert shared_hub.log_text().count("admin/kept@") == started


def test_a_busy_place_is_taken_when_it_is_free(tmp_path, identity_onnx):
    """Where worker.max is reached by workers at work, who waits gets the place of the first that has nothing to do."""
    slow = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "float"}, "output": {"type": "float"},
                                "method_details": {"module": "slow", "method_name": "wait"}}}}
    hub = HubProcess(tmp_path / "hub", "--worker.max", "1")
    try:
        task = hub.publish({**document("slow"), "servable": slow, "golden": {"request": {"data": 0}}},
                           "import time\n\ndef wait(seconds: float) -> float:\n    time.sleep(seconds)\n    return seconds\n", "slow.py")
        assert task["status"] == "succeeded", task
        assert hub.publish(document("quick"), identity_onnx)["status"] == "succeeded"
        run = lambda name, body: hub.post(f"/api/v1/servables/admin/{name}/run", json=body)
        assert run("slow", {"data": 0}).status_code == 200
        with concurrent.futures.ThreadPoolExecutor() as threads:
            busy = threads.submit(run, "slow", {"data": 1})
            wait_for(lambda: run("slow", {"data": 0, "timeout_s": 0.05}).status_code == 504, what="the run to begin")
            quick = threads.submit(run, "quick", {"data": [1, 2], "timeout_s": 20})
            assert busy.result().status_code == 200
            assert quick.result().status_code == 200, quick.result().text
    finally:
        assert hub.stop() == 0


def test_trees_that_nobody_serves_go_at_the_next_start(hub, identity_onnx):
    failed = {"request": {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]},
              "response": {"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [2]}]}}
    assert hub.publish({**document("wrong"), "golden": failed}, identity_onnx + b"\x7a\x00")["status"] == "failed"
    for name in ("kept", "gone"):
        model = identity_onnx + (b"" if name == "kept" else b"\x7a\x01a")
        assert hub.publish(document(name), model)["status"] == "succeeded"
    digest = hub.get("/api/v1/servables/admin/kept").json()["digest"].removeprefix("sha256:")
    assert hub.request("DELETE", "/api/v1/servables/admin/gone").status_code == 204
    trees = lambda: {path.name for path in (hub.data / "versions").iterdir()}
    assert len(trees()) > 1
    hub.stop()
    hub.start()
    wait_for(lambda: trees() == {digest}, what="the sweep")
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    assert hub.post("/v2/models/admin/kept/infer", json=body).status_code == 200
