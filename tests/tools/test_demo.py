"""The demo's own judgement: what it calls agreement, and that what it prints can be pasted."""
import json
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import demo  # noqa: E402
import demo_example  # noqa: E402
import demo_hub  # noqa: E402
import demo_show  # noqa: E402


@pytest.fixture
def example():
    made = demo_example.Example.__new__(demo_example.Example)
    made.expected = {"framework": "F", "rtol": 1e-3, "atol": 1e-6}
    return made


@pytest.mark.parametrize("wanted, got, error, count", [
    ([[1.0, 2.0]], [[1.0005, 2.0]], 5e-4, 2), (3.0, 3.0, 0.0, 1), ({"a": [1, 2], "b": "x"}, {"a": [1, 2], "b": "x"}, 0.0, 2),
    ([], [], 0.0, 0)])
def test_agreement(example, wanted, got, error, count):
    assert example._difference(wanted, got) == (pytest.approx(error), count)


@pytest.mark.parametrize("wanted, got, says", [
    ([1.0, 100.0], [1.0, 100.2], "100.2 instead of 100"), ([1.0], [np.nan], "nan"), ([1.0, 2.0], [1.0], "shape"),
    ({"a": 1}, {"a": 2}, "the answer, a"), ({"a": 1}, {"b": 1}, "is expected"), ("x", "y", "says 'x'")])
def test_disagreement(example, wanted, got, says):
    with pytest.raises(demo_example.Failed, match=says):
        example._difference(wanted, got)


def test_commands_can_be_pasted(capsys):
    words = ["dlhub", "publish", "a b", "--title", "it's " + "long " * 30, "--x", '"y"']
    demo_show.command(words)
    import shlex
    said = capsys.readouterr().out.replace("\\\n", " ").strip()
    assert shlex.split(said)[1:] == words


def test_a_port_that_is_taken(tmp_path):
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert demo_hub.Hub(tmp_path, tmp_path, port)._free_port() == 0


def test_somebody_elses_process_is_not_stopped(tmp_path):
    import os
    hub = demo_hub.Hub(tmp_path, tmp_path, 0)
    hub.pid_file.write_text(f"{os.getpid()}\n")
    hub.stop()  # we live on
    assert not hub.pid_file.exists()


@pytest.mark.parametrize("name", [demo.FIRST, *demo.OTHERS])
def test_each_example_is_whole(name):
    folder = ROOT / "examples" / name
    about = json.loads((folder / "example.json").read_text())
    assert about["python"] in ("venv", "system") and about["title"] and about["about"]
    for file in (about["script"], "README.md", "requirements.txt"):
        assert (folder / file).stat().st_size
    for servable in about["servables"]:
        assert {"name", "title", "path", "domain", "example_input"} <= set(servable)
    assert demo.requirements([name])


def test_no_example_is_forgotten():
    assert {path.parent.name for path in (ROOT / "examples").glob("*/example.json")} == {demo.FIRST, *demo.OTHERS}
