"""dlhub.serving: how a servable is to be served, said at publish and changed without a new version."""
import json
import os
import subprocess

import pytest

from support import BIN, document


def dlhub(hub, *words, status=0):
    """`dlhub …`, its stdout."""
    done = subprocess.run([BIN / "dlhub", *words], capture_output=True, text=True, env={
        **os.environ, "DLHUB_ENDPOINT": hub.url, "DLHUB_TOKEN": hub.token, "HOME": str(hub.data)})
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_options_are_checked_and_kept(hub, identity_onnx):
    serving = {"replicas": {"min": 1, "max": 3}, "batch": {"max": 16}, "memo": True, "priority": 2, "threads": 2}
    task = hub.publish(document("identity", serving=serving), identity_onnx)
    assert task["status"] == "succeeded", task
    assert hub.get("/api/v1/servables/admin/identity").json()["dlhub"]["serving"] == serving

    for wrong, text in (({"replicas": {"min": 3, "max": 2}}, "dlhub.serving.replicas"),
                        ({"batch": {"max": 4, "preferred": [8]}}, "dlhub.serving.batch.preferred"),
                        ({"turbo": True}, "dlhub.serving.turbo")):
        reply = hub.post("/api/v1/publish", files={
            "json": ("dlhub.json", json.dumps(document("other", serving=wrong)), "application/json"),
            "file": ("model.onnx", identity_onnx, "application/octet-stream")})
        assert reply.status_code == 400 and text in reply.json()["error"], reply.text
        dlhub_block = {**document("identity")["dlhub"], "serving": wrong}
        reply = hub.request("PATCH", "/api/v1/servables/admin/identity", json={"dlhub": dlhub_block})
        assert reply.status_code == 400 and text in reply.json()["error"], reply.text
    assert hub.get("/api/v1/servables/admin/identity").json()["dlhub"]["serving"] == serving


def test_they_are_changed_without_a_new_version(hub, identity_onnx, tmp_path):
    hub.publish(document("identity"), identity_onnx)
    assert "no such" not in dlhub(hub, "serving", "admin/identity", "--replicas", "1:2", "--memo")
    described = hub.get("/api/v1/servables/admin/identity").json()
    assert described["dlhub"]["serving"] == {"replicas": {"min": 1, "max": 2}, "memo": True}
    assert described["versions"] == [1]
    dlhub(hub, "serving", "admin/identity", "--no-memo", "--batch", "off")
    shown = json.loads(dlhub(hub, "serving", "admin/identity", "--json"))
    assert shown["options"] == {"replicas": {"min": 1, "max": 2}, "memo": False, "batch": False}
    assert "off: its owner says so" in dlhub(hub, "describe", "admin/identity")

    model = tmp_path / "m.onnx"
    model.write_bytes(identity_onnx)
    dlhub(hub, "publish", str(model), "--name", "said", "--title", "T", "--no-record", "--serving", '{"queue": 7}',
          "--replicas", "3", "--memo")
    assert hub.get("/api/v1/servables/admin/said").json()["dlhub"]["serving"] == {
        "queue": 7, "replicas": {"max": 3}, "memo": True}


def test_the_sdk_says_and_changes_them(hub, identity_onnx, tmp_path):
    from dlhub import FailedPrecondition, Hub
    model = tmp_path / "m.onnx"
    model.write_bytes(identity_onnx)
    with Hub(hub.url, hub.token) as client:
        client.publish(model, "sdk", "T", serving={"replicas": {"max": 2}, "memo": True})
        assert client.describe("admin/sdk")["dlhub"]["serving"] == {"replicas": {"max": 2}, "memo": True}
        assert client.set_serving("admin/sdk", {"engine": "openvino"})["dlhub"]["serving"] == {"engine": "openvino"}
        with pytest.raises(FailedPrecondition, match="onnxruntime"):
            client.set_serving("admin/sdk", {"engine": "onnxruntime"})
        assert "serving" not in client.set_serving("admin/sdk", None)["dlhub"]
