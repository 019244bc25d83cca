"""What `dlhub` does with what a hub may answer."""
import io
import json
import os
import pathlib
import pty
import re
import struct
import subprocess

import numpy as np
import pytest

from scripted import BUILD, Cli

TASK = "0123456789abcdef0123456789abcdef"
ERRORS = json.loads((pathlib.Path(__file__).resolve().parents[2] / "api" / "errors.json").read_text())["errors"]
ME = {"user": "alice", "groups": ["lab"], "admin": False}


def test_no_hub_there(tmp_path):
    done = Cli(tmp_path, "http://127.0.0.1:1")("whoami", code=12)
    assert done.stdout == ""
    assert done.stderr == ("dlhub: no hub answers at http://127.0.0.1:1; start one with `dlhub serve` or set "
                           "DLHUB_ENDPOINT\n")


@pytest.mark.parametrize("row", [row for row in ERRORS if row["name"] != "OK"], ids=lambda row: row["name"])
def test_codes_become_exit_codes(scripted, cli, row):
    scripted.on("POST", "/api/v1/groups", (row["http"], {"error": "It is so.", "code": row["name"], "hint": "Do this."}))
    done = cli("groups", "add", "lab", code=row["exit"])
    assert done.stderr == "dlhub: It is so.\n  what to do: Do this.\n"
    done = cli("groups", "add", "lab", "--json", code=row["exit"])
    assert json.loads(done.stdout) == {"error": "It is so.", "code": row["name"], "hint": "Do this."}


def test_a_get_is_tried_again(scripted, cli):
    busy = (503, {"error": "starting", "code": "UNAVAILABLE"}, {"Retry-After": "0"})
    scripted.on("GET", "/api/v1/whoami", busy, busy, (200, ME))
    assert cli("whoami").stdout == "alice\n"
    assert len(scripted.requests) == 3


def test_a_post_is_not(scripted, cli):
    scripted.on("POST", "/api/v1/groups", (503, {"error": "starting", "code": "UNAVAILABLE"}, {"Retry-After": "0"}))
    cli("groups", "add", "lab", code=12)
    assert len(scripted.requests) == 1


def test_a_long_retry_after_is_not_waited_for(scripted, cli):
    scripted.on("GET", "/api/v1/whoami", (429, {"error": "too much", "code": "RESOURCE_EXHAUSTED"}, {"Retry-After": "3600"}))
    cli("whoami", code=7)
    assert len(scripted.requests) == 1


def test_something_else_answers(scripted, cli):
    scripted.on("GET", "/api/v1/whoami", (404, b"<html>nothing</html>"))
    done = cli("whoami", code=4)
    assert "not as a DLHub hub does" in done.stderr and "DLHUB_ENDPOINT" in done.stderr


def test_redirects_do_not_get_the_token(scripted, cli):
    scripted.on("GET", "/api/v1/whoami", (302, b"", {"Location": scripted.url + "/stolen"}))
    cli("whoami", code=1)
    assert not scripted.seen("GET", "/stolen")


def test_a_missing_token(scripted, tmp_path):
    scripted.on("GET", "/api/v1/users", (401, {"error": "who are you?", "code": "UNAUTHENTICATED"}))
    done = Cli(tmp_path, scripted.url)("users", code=3)
    assert "Authorization" not in scripted.requests[0].headers
    assert "dlhub login" in done.stderr


def test_login_keeps_the_token_for_that_hub_alone(scripted, tmp_path):
    cli = Cli(tmp_path)
    scripted.on("GET", "/api/v1/whoami", (200, ME))
    cli("login", "--endpoint", scripted.url, "--token", input="dlh_secret\n")
    config = tmp_path / ".config" / "dlhub" / "config.json"
    assert config.stat().st_mode & 0o777 == 0o600
    assert json.loads(config.read_text()) == {"endpoint": scripted.url, "token": "dlh_secret"}
    cli("whoami")
    assert scripted.requests[-1].headers["Authorization"] == "Bearer dlh_secret"
    other = scripted.url.replace("127.0.0.1", "localhost")
    cli("whoami", "--endpoint", other)
    assert "Authorization" not in scripted.requests[-1].headers
    cli("logout")
    assert json.loads(config.read_text()) == {"endpoint": scripted.url}


def test_login_refuses_a_token_of_nobody(scripted, tmp_path):
    scripted.on("GET", "/api/v1/whoami", (200, {"user": None, "groups": [], "admin": False}))
    Cli(tmp_path)("login", "--endpoint", scripted.url, "--token", input="x", code=3)
    assert not (tmp_path / ".config").exists()


def test_search_sends_what_was_typed(scripted, cli):
    items = [{"name": "a/b", "version": 2, "title": "Ti\ttle", "type": "ONNX Model", "published": "2026-11-22T16:00:00Z"}]
    scripted.on("GET", "/api/v1/search", (200, {"total": 30, "items": items}))
    done = cli("search", "crystal", "a&b", "--type", "ONNX Model", "--all-versions", "--limit", "1")
    assert scripted.requests[0].path == "/api/v1/search?limit=1&q=crystal%20a%26b&type=ONNX%20Model&all_versions=true"
    assert done.stdout.splitlines()[1].split() == ["a/b", "2", "ONNX", "Model", "2026-11-22", "Ti", "tle"]
    assert "1 of 30" in done.stderr


def parts_of(request):
    boundary = re.search(r"boundary=(\S+)", request.headers["Content-Type"])[1].encode()
    found = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, body = part[2:-2].split(b"\r\n\r\n", 1)
        found[re.search(rb' name="(\w+)"', head)[1].decode()] = (head.decode(), body)
    return found


def publish_replies(scripted, *tasks, log=b""):
    scripted.on("POST", "/api/v1/publish", (202, {"status": "RUNNING", "task_id": TASK, "servable": "alice/m"}))
    scripted.on("GET", f"/api/v1/tasks/{TASK}", *[(200, {"task_id": TASK, "servable": "alice/m", **task}) for task in tasks])
    scripted.on("GET", f"/api/v1/tasks/{TASK}/log", (200, log))


def test_publish_sends_metadata_and_file(scripted, cli, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07model" * 1000)
    publish_replies(scripted, {"status": "running", "stage": "unpacking", "progress": 0.1}, {"status": "succeeded"})
    document = {"name": "alice/m", "version": 1, "access": {"visible_to": ["public"]},
                "servable": {"type": "ONNX Model", "methods": {"run": {"input": {"type": "string"}, "output": {"type": "number"}}}}}
    scripted.on("GET", "/api/v1/servables/alice/m", (200, document))
    done = cli("publish", tmp_path / "m.onnx", "--name", "m", "--title", "A model", "--author", "Curie, Marie", "--domain", "physics",
               "--visible-to", "group:lab,user:bob", "--needs", "numpy==1.26", "--needs", "scipy", "--no-record")
    parts = parts_of(scripted.seen("POST", "/api/v1/publish")[0])
    assert parts["file"][1] == b"\x08\x07model" * 1000
    assert 'filename="m.onnx"' in parts["file"][0]
    assert json.loads(parts["json"][1]) == {
        "datacite": {"titles": [{"title": "A model"}],
                     "creators": [{"creatorName": "Curie, Marie", "familyName": "Curie", "givenName": "Marie"}]},
        "dlhub": {"name": "m", "type": "servable", "domains": ["physics"], "visible_to": ["group:lab", "user:bob"],
                  "dependencies": {"python": {"numpy": "1.26", "scipy": None}}}}
    assert done.stdout == "dlhub run alice/m --input '\"text\"'\n"
    assert "unpacking" in done.stderr and "\x1b" not in done.stderr
    assert "dlhub access alice/m" in done.stderr  # it was there, and public


def test_a_failed_publish_says_what_to_change(scripted, cli, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    error = {"code": "FAILED_PRECONDITION", "message": "numpy 9 is not to be had", "hint": "Ask for numpy 2."}
    publish_replies(scripted, {"status": "failed", "error": error}, log=b"".join(b"line %d\n" % i for i in range(100)))
    done = cli("publish", tmp_path / "m.onnx", "--name", "m", "--title", "M", "--no-record", code=8)
    lines = done.stderr.splitlines()
    at = lines.index("dlhub: numpy 9 is not to be had")
    assert lines[at + 1] == "  what to do: Ask for numpy 2."
    assert lines[at + 3:at + 18] == [f"line {i}" for i in range(85, 100)]
    assert lines[at + 18] == f"the whole log: dlhub logs {TASK}"


@pytest.mark.parametrize("takes, words, hint", [
    ("list", "--takes 'list' does not say of what", "float64[any]"), ("floats", "--takes 'floats' is not a type", "float32[any,4]")])
def test_what_a_function_takes_is_told_whole(scripted, cli, tmp_path, takes, words, hint):
    (tmp_path / "f.py").write_text("def f(x):\n    return x\n")
    done = cli("publish", tmp_path / "f.py", "--name", "f", "--title", "F", "--function", "f", "--takes", takes, "--gives", "number",
               "--no-record", code=2)
    assert words in done.stderr and hint in done.stderr
    assert not scripted.seen("POST", "/api/v1/publish")


def test_a_folder_is_packed(scripted, cli, tmp_path):
    import tarfile
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"pb")
    (folder / "variables" / "data é.bin").write_bytes(b"v" * 3000)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (tmp_path / "wanted.txt").write_text("numpy\n")
    scripted.on("POST", "/api/v1/publish", (202, {"status": "RUNNING", "task_id": TASK, "servable": "alice/m"}))
    done = cli("publish", folder, "--name", "m", "--title", "M", "--requirements", tmp_path / "wanted.txt", "--no-wait",
               "--no-record")
    assert done.stdout == TASK + "\n"
    head, body = parts_of(scripted.requests[0])["file"]
    assert 'filename="saved_model.tar"' in head
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["requirements.txt", "saved_model.pb", "variables/data é.bin"]
        assert archive.extractfile("requirements.txt").read() == b"numpy\n"
    (folder / "out").symlink_to("/etc/passwd")
    done = cli("publish", folder, "--name", "m", "--title", "M", "--no-record", code=2)
    assert "leads out of the folder" in done.stderr
    assert len(scripted.requests) == 1


def test_arrays_travel_as_binary(scripted, cli, tmp_path):
    scripted.on("GET", "/v2/models/a/b", (200, {"name": "a/b", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                                                "outputs": []}))
    header = json.dumps({"model_name": "a/b", "model_version": "3", "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}).encode()
    scripted.on("POST", "/v2/models/a/b/infer", (200, header + struct.pack("<2f", 0.1, 7),
                                                 {"Inference-Header-Content-Length": str(len(header))}))
    np.save(tmp_path / "x.npy", np.array([[1, 2.5]]))
    done = cli("run", "a/b", "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--json")
    sent = scripted.seen("POST", "/v2/models/a/b/infer")[0]
    split = int(sent.headers["Inference-Header-Content-Length"])
    assert json.loads(sent.body[:split]) == {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "parameters": {"binary_data_output": True}}
    assert sent.body[split:] == struct.pack("<2f", 1, 2.5)
    assert json.loads(done.stdout) == {"output": {"file": str(tmp_path / "y.npy")}, "version": 3}
    got = np.load(tmp_path / "y.npy")
    assert got.dtype == np.float32 and got.tolist() == np.array([0.1, 7], np.float32).tolist()
    assert cli("run", "a/b", "--input", "[[1, 2.5]]", "--output", tmp_path / "z.npy").stdout == ""
    assert cli("run", "a/b", tmp_path / "x.npy").stdout == "[0.1, 7.0]\n"


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_an_answer_cut_short(scripted, cli, tmp_path, cut):
    scripted.on("GET", "/v2/models/a/b", (200, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}))
    header = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}'
    body = header + struct.pack("<2f", 1, 2)
    scripted.on("POST", "/v2/models/a/b/infer", (200, body[:-cut], {"Inference-Header-Content-Length": str(len(header))}))
    np.save(tmp_path / "x.npy", np.zeros(2, np.float32))
    assert "cut short" in cli("run", "a/b", tmp_path / "x.npy", code=1).stderr


def test_run_sends_json_with_its_wishes(scripted, cli, tmp_path):
    scripted.on("POST", "/api/v1/servables/a/b/versions/2/run",
                (200, {"output": "done", "version": 2, "metadata": {"run_ms": 1.5, "stdout": "printed\n"}}))
    (tmp_path / "picture.bin").write_bytes(b"\x00\xff")
    done = cli("run", "a/b@2", "--input", "a=1", "--input", f"f={tmp_path / 'picture.bin'}", "--param", "top=3", "--param", "mode=fast",
               "--method", "score", "--debug", "--timeout", "9")
    assert scripted.requests[0].json() == {
        "data": {"a": 1, "f": {"content": "AP8=", "name": "picture.bin"}}, "method": "score", "debug": True, "envelope": True,
        "parameters": {"top": 3, "mode": "fast"}, "timeout_s": 9}
    assert done.stdout == "done\n"
    assert "printed" in done.stderr and "version 2, 1.5 ms" in done.stderr


def test_owner_is_oneself_where_none_is_named(scripted, cli):
    scripted.on("GET", "/api/v1/whoami", (200, ME))
    scripted.on("POST", "/api/v1/servables/alice/b/run", (200, {"output": [1], "version": 1, "metadata": {}}))
    assert cli("run", "b", "[1]").stdout == "[1]\n"


def test_access_changes_one_list(scripted, cli):
    path = "/api/v1/servables/a/b/access"
    scripted.on("GET", path, (200, {"visible_to": ["public"], "download_by": ["user:bob"]}))
    scripted.on("PUT", path, (200, {}))
    cli("access", "a/b", "--visible-to", "owner")
    assert scripted.seen("PUT", path)[0].json() == {"visible_to": [], "download_by": ["user:bob"]}


def on_terminal(arguments, environment):
    """What a terminal would get."""
    master, slave = pty.openpty()
    process = subprocess.Popen([BUILD / "bin" / "dlhub", *arguments], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL,
                               env={**environment, "TERM": "xterm"})
    os.close(slave)
    text = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(master)
    process.wait(30)
    return text.decode()


def test_strangers_words_do_not_steer_the_terminal(scripted, cli):
    evil = "\x1b]0;owned\x07\x9b31mred\u009b2J"
    scripted.on("GET", "/api/v1/search", (200, {"total": 1, "items": [{"name": "a/b", "version": 1, "title": evil}]}))
    text = on_terminal(["search"], cli.environment)
    assert "?]0;owned?" in text
    assert "\x1b]" not in text and "\x07" not in text and "\u009b" not in text
    assert "\x1b[1mNAME" in text
    assert "\x1b" not in on_terminal(["search"], {**cli.environment, "NO_COLOR": "1"})


def test_removing_asks(scripted, cli):
    done = cli("rm", "a/b", code=8)
    assert "--yes" in done.stderr and not scripted.requests
    scripted.on("DELETE", "/api/v1/servables/a/b/versions/2", (204, b""))
    cli("rm", "a/b@2", "--yes")


LISTS = [
    (["site"], "/api/v1/sites", {"sites": [
        {"name": "beamline", "state": "connected", "workers": 3, "capacity": 4, "cores": 8, "memory_bytes": 123456789,
         "seen": "2026-11-22T23:50:07Z", "visible_to": ["public", "group:lab"]},
        {"name": "new", "state": "never seen", "workers": 0, "visible_to": []}]}, """\
SITE      STATE       WORKERS  CORES  MEMORY  SEEN              FOR SERVABLES OF
beamline  connected   3        8      123 MB  2026-11-22T23:50  public, group:lab
new       never seen  0                       never             nobody
"""),
    (["users"], "/api/v1/users", {"users": [{"name": "alice", "admin": True, "display_name": "Älice"}, {"name": "bob"}]}, """\
USER   ADMINISTRATOR  NAME
alice  yes            Älice
bob                   \n"""),
    (["groups"], "/api/v1/groups", [{"name": "lab", "members": ["alice", {"name": "bob"}]}, "empty"], """\
GROUP  MEMBERS
lab    alice, bob
empty  \n"""),
    (["token"], "/api/v1/users/alice/tokens", {"tokens": [
        {"id": 7, "created": "2026-11-22T23:50:07Z", "expires": None, "last_used": None, "label": "one\nline"}]}, """\
ID  MADE              EXPIRES  LAST USED  LABEL
7   2026-11-22T23:50  never               one line
"""),
    (["task", "list"], "/api/v1/tasks", {"tasks": [
        {"task_id": TASK, "servable": "a/b", "created": "2026-11-22T23:50:07.1Z", "status": "running", "total": 10, "done": 3},
        {"task_id": TASK, "servable": "a/b", "created": "2026-11-22T23:50:07.1Z", "status": "queued", "total": 1}]}, f"""\
TASK                              SERVABLE  CREATED              DONE     STATUS
{TASK}  a/b       2026-11-22T23:50:07  3 of 10  running
{TASK}  a/b       2026-11-22T23:50:07           queued
"""),
    (["search"], "/api/v1/search", {"total": 1, "items": [
        {"name": "a/b", "version": 3, "type": "ONNX Model", "published": "2026-11-22T23:50:07Z", "title": "T"}]}, """\
NAME  VERSION  TYPE        PUBLISHED   TITLE
a/b   3        ONNX Model  2026-11-22  T
"""),
    (["versions", "a/b"], "/api/v1/servables/a/b/versions", {"versions": [
        {"version": 2, "published": "2026-11-22T23:50:07Z", "publisher": "alice", "digest": "sha256:ab"}]}, """\
VERSION  PUBLISHED         BY     DIGEST
2        2026-11-22T23:50  alice  sha256:ab
"""),
]


@pytest.mark.parametrize("words, path, answer, table", LISTS, ids=[row[0][0] for row in LISTS])
def test_a_list_is_a_table(scripted, cli, words, path, answer, table):
    scripted.on("GET", "/api/v1/whoami", (200, ME))
    scripted.on("GET", path, (200, answer))
    assert cli(*words).stdout == table
    assert json.loads(cli(*words, "--json").stdout) == answer


@pytest.mark.parametrize("words, said", [(["status"], "there are no tasks of yours\n"),
                                         (["task", "list"], "there are no runs of yours; `dlhub run NAME --async` submits one\n"),
                                         (["search"], "nothing found that you may see\n")], ids=lambda it: it[0])
def test_an_empty_list_is_said(scripted, cli, words, said):
    for path in ("/api/v1/tasks", "/api/v1/search"):
        scripted.on("GET", path, (200, {"tasks": [], "items": [], "total": 0}))
    done = cli(*words)
    assert (done.stdout, done.stderr) == ("", said)


def test_servables_are_completed(scripted, cli):
    items = [{"name": f"a/{n}", "version": 1, "title": "T"} for n in ("iris", "irises", "other")]
    scripted.on("GET", "/api/v1/search", (200, {"total": 3, "items": items}))
    script = cli("completion", "bash").stdout + '\nCOMP_WORDS=(dlhub describe a/i); COMP_CWORD=2; _dlhub; echo "${COMPREPLY[@]}"\n'
    environment = {**cli.environment, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash"], input=script, text=True, capture_output=True, check=True, env=environment)
    assert done.stdout.split() == ["a/iris", "a/irises"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_sound(cli, shell):
    script = cli("completion", shell).stdout
    for command in ("publish", "describe", "restore"):
        assert command in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        asked = script + '\nCOMP_WORDS=(dlhub pub); COMP_CWORD=1; _dlhub; echo "${COMPREPLY[@]}"\n' \
                         'COMP_WORDS=(dlhub users ad); COMP_CWORD=2; _dlhub; echo "${COMPREPLY[@]}"\n' \
                         'COMP_WORDS=(dlhub search --all); COMP_CWORD=2; _dlhub; echo "${COMPREPLY[@]}"\n'
        done = subprocess.run(["bash"], input=asked, text=True, capture_output=True, check=True)
        assert done.stdout.split() == ["publish", "add", "--all-versions"], done


def test_man_page(cli):
    page = cli("completion", "man").stdout
    assert page.startswith('.TH DLHUB 1 "" "DLHub ')
    assert ".SS dlhub publish" in page


def test_help_has_examples_everywhere(cli):
    commands = re.findall(r"^  (\w+) +\S", cli("--help").stdout.split("Options")[0], re.M)
    assert len(commands) > 20
    for command in commands:
        text = cli(command, "--help").stdout
        assert "Examples:" in text and f"dlhub {command}" in text
    assert "did you mean `dlhub search`?" in cli("serach", code=2).stderr
    assert "did you mean '--owner'?" in cli("search", "--onwer", "x", code=2).stderr
