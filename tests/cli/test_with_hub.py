"""`dlhub` against a real hub: a person's day, from login to backup."""
import json
import select
import time

import pytest

from scripted import BUILD, Cli

FUNCTION = '''
def greet(name: str, mark: str = "!") -> str:
    """Greets."""
    print("greeting", name)
    return "hello " + name + mark
'''


@pytest.fixture
def admin(hub, tmp_path):
    """`dlhub` of the administrator, logged in."""
    cli = Cli(tmp_path)
    cli("login", "--endpoint", hub.url, "--token-file", hub.data / "admin.token")
    return cli


def test_users_groups_and_tokens(hub, admin, tmp_path):
    token = admin("users", "add", "bob", "--display-name", "Bob").stdout.strip()
    bob = Cli(tmp_path / "bob", hub.url, token)
    assert bob("whoami").stdout == "bob\n"
    assert bob("users", code=6).stdout == ""
    admin("groups", "add", "lab")
    admin("groups", "join", "lab", "bob")
    assert json.loads(bob("whoami", "--json").stdout)["groups"] == ["lab"]
    admin("groups", "leave", "lab", "bob")
    made = json.loads(bob("token", "add", "--label", "laptop", "--expires-days", "3", "--json").stdout)
    assert Cli(tmp_path / "bob", hub.url, made["token"])("whoami").stdout == "bob\n"
    assert "laptop" in bob("token").stdout
    bob("token", "rm", made["id"])
    Cli(tmp_path / "bob", hub.url, made["token"])("whoami", code=3)
    admin("groups", "rm", "lab", "--yes")
    admin("users", "rm", "bob", "--yes")
    bob("whoami", code=3)


def test_a_function_from_file_to_removal(hub, admin, tmp_path):
    (tmp_path / "tools.py").write_text(FUNCTION)
    done = admin("publish", tmp_path / "tools.py", "--function", "greet", "--name", "greet", "--title", "A greeter",
                 "--description", "Greets whoever comes", "--visible-to", "signed-in", "--json")
    both = json.loads(done.stdout)
    assert both["task"]["status"] == "succeeded" and both["servable"]["name"] == "admin/greet"
    task = both["task"]["task_id"]
    assert task in admin("status").stdout
    assert "published as admin/greet version 1" in admin("status", task).stdout
    assert "== testing" in admin("logs", task, "--follow").stdout

    assert "A greeter" in admin("search", "greets").stdout
    text = admin("describe", "greet").stdout
    assert "takes    string" in text and "visible to   signed-in" in text and "To cite it" in text
    command = next(line for line in text.splitlines() if "dlhub run" in line)
    assert command.strip() == "dlhub run admin/greet --input '\"text\"'"
    done = admin("run", "greet", '"you"', "--debug", "--param", "mark=?")
    assert done.stdout == "hello you?\n" and "greeting you" in done.stderr
    assert "expected a string" in admin("run", "greet", "5", code=2).stderr
    assert admin("versions", "greet", "--json").stdout.count("sha256:") == 1

    stranger = Cli(tmp_path / "stranger", hub.url)
    stranger("describe", "admin/greet", code=4)
    assert stranger("search", "greet").stdout == ""
    admin("access", "greet", "--visible-to", "public")
    assert stranger("run", "admin/greet", '"all"').stdout == "hello all!\n"
    admin("access", "greet", "--visible-to", "owner")
    stranger("run", "admin/greet", '"all"', code=4)
    admin("rm", "greet", "--yes")
    admin("describe", "greet", code=4)


def test_a_pipeline_from_its_file(admin, tmp_path):
    (tmp_path / "tools.py").write_text(FUNCTION)
    admin("publish", tmp_path / "tools.py", "--function", "greet", "--name", "greet", "--title", "A greeter")
    plan = {"steps": [{"name": "once", "servable": "greet", "inputs": "input"},
                      {"name": "again", "servable": "admin/greet", "version": 1, "inputs": "once", "parameters": {"mark": "?"}}],
            "outputs": "again"}
    (tmp_path / "pipeline.json").write_text(json.dumps(plan))
    said = admin("publish", tmp_path / "pipeline.json", "--name", "twice", "--title", "Greets twice")
    assert "published admin/twice version 1" in said.stderr and "Pipeline, runs in pipeline" in said.stderr
    assert admin("run", "twice", '"you"').stdout == "hello hello you!?\n"
    text = admin("describe", "twice").stdout
    assert "takes    string" in text and "  once         admin/greet@sha256:" in text and " of input\n" in text, text
    plan["steps"][0]["servable"] = "nobody"
    whole = {"datacite": {"titles": [{"title": "Whole"}]}, "dlhub": {"name": "whole"},
             "servable": {"type": "Pipeline", "shim": "hub.Pipeline", "pipeline": plan}}
    (tmp_path / "whole.json").write_text(json.dumps(whole))
    refused = admin("publish", tmp_path / "whole.json", code=4)
    assert "pipeline step 'once': no servable admin/nobody that you may see" in refused.stderr
    (tmp_path / "whole.json").write_text("{")
    assert "whole.json" in admin("publish", tmp_path / "whole.json", "--name", "x", "--title", "X", code=2).stderr


def test_a_publish_that_fails_keeps_its_log(admin, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    done = admin("publish", tmp_path / "bad.onnx", "--name", "bad", "--title", "Bad", "--no-record", code=2)
    assert "what to do:" in done.stderr and "the end of the build log" in done.stderr
    task = done.stderr.rsplit("dlhub logs ", 1)[1].strip()
    assert "FAILED" in admin("logs", task).stdout
    assert "failed" in admin("status", task).stdout
    admin("status", task, "--wait", code=2)


def test_backup_and_restore_beside_the_running_hub(hub, admin, tmp_path):
    admin("groups", "add", "kept")
    admin("backup", tmp_path / "hub.tar", "--data", hub.data)
    assert (tmp_path / "hub.tar").stat().st_mode & 0o777 == 0o600
    admin("backup", tmp_path / "hub.tar", "--data", hub.data, code=5)
    admin("groups", "add", "lost")
    done = admin("restore", tmp_path / "hub.tar", "--data", hub.data, "--yes")
    assert "running hub" in done.stderr

    def groups():
        try:
            return admin("groups").stdout
        except AssertionError:  # it starts again
            return ""
    until = time.monotonic() + 60
    while not ("kept" in (found := groups()) and "lost" not in found):
        assert time.monotonic() < until, found
        select.select([], [], [], 0.05)


def test_top_shows_what_was_run(hub, admin, identity_onnx, tmp_path):
    assert "nothing has been run yet" in admin("top").stdout
    (tmp_path / "x.onnx").write_bytes(identity_onnx)
    admin("publish", tmp_path / "x.onnx", "--name", "x", "--title", "X")
    for _ in range(3):
        admin("run", "admin/x", "--input", "[1, 2]")
    screen = admin("top").stdout
    assert hub.url in screen and "workers 1" in screen and "admin/x 1" in screen
    one, = json.loads(admin("top", "--json").stdout)["servables"]
    assert one["servable"] == "admin/x" and one["runs_per_s"] > 0 and one["p99_ms"] >= one["p50_ms"] > 0 and one["waiting"] == 0
    token = admin("users", "add", "bob").stdout.strip()
    refused = Cli(tmp_path / "bob", hub.url, token)("top", code=6)
    assert "administrator" in refused.stderr and not refused.stdout


def test_doctor(hub, admin):
    report = json.loads(admin("doctor", "--data", hub.data, "--json").stdout)
    grades = {line["check"]: line["grade"] for line in report["checks"]}
    assert report["failures"] == 0, report
    for check in ("dlhubd", "OpenVINO", "Python", "hub", "login", "lock"):
        assert grades[check] == "ok", report
    (hub.data / "admin.token").chmod(0o644)
    assert "admin.token" in admin("doctor", "--data", hub.data, code=8).stdout
    (hub.data / "admin.token").chmod(0o600)


def test_serve_is_dlhubd(tmp_path):
    done = Cli(tmp_path)("serve", "--data", tmp_path / "hub", "--http", "127.0.0.1:port", "--grpc", "127.0.0.1:0", code=2)
    assert "dlhubd:" in done.stderr
    assert (BUILD / "bin" / "dlhubd").exists()


def test_runs_that_are_fetched_later(admin, tmp_path):
    (tmp_path / "tools.py").write_text(FUNCTION)
    admin("publish", tmp_path / "tools.py", "--function", "greet", "--name", "greet", "--title", "A greeter")
    task = admin("run", "greet", '"you"', "--async").stdout.strip()
    assert len(task) == 32
    assert admin("task", "result", task).stdout == "hello you!\n"
    assert json.loads(admin("task", "result", task, "--json").stdout)["output"] == "hello you!"
    assert "1 of 1 done, 0 failed" in admin("task", "show", task).stdout and "succeeded" in admin("task", "wait", task).stdout
    assert task in admin("task", "list").stdout and task in admin("task").stdout and task not in admin("task", "list", "--status", "failed").stdout
    assert "each, item 2" in admin("run", "greet", '["a", "b", 5]', "--async", "--each", code=2).stderr
    many = admin("run", "greet", '["a", "b"]', "--async", "--each").stdout.strip()
    assert [one["output"] for one in json.loads(admin("task", "result", many).stdout)] == ["hello a!", "hello b!"]
    assert "2 of 2" in admin("task", "list").stdout
    admin("task", "result", many, "--output", tmp_path / "many.json")
    assert len(json.loads((tmp_path / "many.json").read_text())) == 2
    bad = admin("run", "greet", '"you"', "--param", "nothing=1", "--async").stdout.strip()
    assert admin("task", "wait", bad, code=1).stderr
    assert "removed" in admin("task", "cancel", many).stderr
    admin("task", "show", many, code=4)
    assert "list, show, wait, result and cancel" in admin("task", "look", code=2).stderr
    assert "not the name of a task" in admin("task", "show", "x", code=2).stderr
    assert "--async" in admin("run", "greet", '["a"]', "--each", code=2).stderr
