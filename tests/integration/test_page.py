"""What a person sees who opens the hub's address: one page, which may run its own script and no other."""
import base64
import hashlib
import re


def test_the_page_runs_its_own_script_only(shared_hub):
    reply = shared_hub.get("/", token=None)
    assert reply.status_code == 200 and reply.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", reply.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"(src|href)=\"(https?:)?//", reply.text)  # nothing from elsewhere


def test_other_answers_carry_no_policy(shared_hub):
    assert "Content-Security-Policy" not in shared_hub.get("/api/v1/hub", token=None).headers
