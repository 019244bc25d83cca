"""The SDK against a real hub: publish, find, run, and what goes wrong."""

import io

import numpy as np
import pytest
import requests

import dlhub

FUNCTIONS = '''
"""A module to publish."""
import pathlib


def describe(text: str, times: int = 1) -> dict:
    """Says how long a text is."""
    print("asked for", text)
    return {"text": text * times, "length": len(text) * times}


def size(file: pathlib.Path) -> int:
    return len(open(file, "rb").read())


def both(a: float, b: float) -> float:
    return a - b


def fail(text: str) -> str:
    raise RuntimeError("no luck with " + text)


def picky(text: str) -> str:
    if text == "bad":
        raise RuntimeError("no luck with bad")
    return text


class Counter:
    def __init__(self, start=0):
        self.count = start

    def add(self, n: int) -> int:
        self.count += n
        return self.count
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    path = tmp_path_factory.mktemp("module") / "functions.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.fixture(scope="module")
def identity(shared_hub, identity_onnx, tmp_path_factory):
    """admin/identity, published through the SDK: FP32[n] to FP32[n]."""
    path = tmp_path_factory.mktemp("identity") / "identity.onnx"
    path.write_bytes(identity_onnx)
    seen = []
    with dlhub.Hub(shared_hub.url, shared_hub.token) as hub:
        version = hub.publish(path, "identity", "Gives back what it gets", visible_to=["public"], domains=["testing"],
                              creators=["Curie, Marie"], example_input=np.float32([1, 2, 3]),
                              example_output=np.float32([1, 2, 3]), progress=seen.append)
    assert seen and seen[-1].status == "succeeded"
    assert (version.name, version.version) == ("admin/identity", 1) and version.digest
    return version.name


def test_who_and_what(sdk, anonymous):
    assert sdk.whoami()["user"] == "admin" and sdk.whoami()["admin"]
    assert anonymous.whoami()["user"] is None
    assert sdk.info()["name"] == "DLHub"


def test_arrays_in_and_out(anonymous, identity):
    for given in (np.float32([1, -2.5, 3]), [1, 2, 3], np.arange(5)[::2], np.array([0.1, 1e-30])):
        got = anonymous.run(identity, given)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, np.asarray(given, np.float32))
    assert anonymous.run(identity, []).shape == (0,)
    assert anonymous.run(identity + "@1", {"x": [4]}).tolist() == [4]


def test_nan_and_infinity_survive(anonymous, identity):
    given = np.float32([np.nan, np.inf, -np.inf, -0.0])
    got = anonymous.run(identity, given)
    assert got.tobytes() == given.tobytes()


def test_a_large_array(anonymous, identity):
    given = np.random.default_rng(0).random(1 << 20, dtype=np.float32)
    assert np.array_equal(anonymous.run(identity, given), given)


@pytest.mark.parametrize("inputs, says", [(np.zeros((2, 2)), "shape"), (["a"], "text|array"), ({"y": [1]}, "no input 'y'"),
                                          ([1e300], "FP32"), ([[1], [1, 2]], "input 'x'")])
def test_inputs_that_do_not_fit(anonymous, identity, inputs, says):
    with pytest.raises(dlhub.InvalidArgument, match=says):
        anonymous.run(identity, inputs)


def test_finding(anonymous, identity):
    found = anonymous.search("gives back")
    assert [item["name"] for item in found] == [identity] and found.total == 1
    assert anonymous.search("", type="ONNX Model", owner="admin", domain="testing", limit=5)[0]["version"] == 1
    assert identity in anonymous.servables()
    assert not anonymous.search("nothingofthatkind")
    description = anonymous.describe(identity)
    assert description.title == "Gives back what it gets"
    assert "x: ndarray FP32[n]  ->  y: ndarray FP32[n]" in repr(description)
    assert [v["version"] for v in anonymous.versions(identity)] == [1]


def test_a_file_of_it(sdk, identity, identity_onnx, tmp_path):
    path = sdk.describe(identity)["files"][0]["path"]
    assert sdk.download(identity, path, tmp_path / "copy").read_bytes() == identity_onnx


def test_what_is_not_there(anonymous, sdk):
    with pytest.raises(dlhub.NotFound, match="nobody/nothing"):
        anonymous.run("nobody/nothing", 1)
    with pytest.raises(dlhub.NotFound):
        sdk.task("0" * 32)
    for name in ("nothing", "a/b/c", "a/b@", "/b"):
        with pytest.raises(dlhub.InvalidArgument, match="owner/name"):
            sdk.describe(name)


def test_a_bad_token(shared_hub):
    with pytest.raises(dlhub.Unauthenticated) as caught:
        dlhub.Hub(shared_hub.url, "dlh_wrong").whoami()
    assert caught.value.hint and caught.value.request_id


def test_publishing_needs_a_token(anonymous, module):
    with pytest.raises((dlhub.Unauthenticated, dlhub.PermissionDenied)):
        anonymous.publish(module, "x", "X", function="describe")


def test_no_hub_there():
    with pytest.raises(dlhub.Unavailable, match="refused"):
        dlhub.Hub("http://127.0.0.1:9").whoami()


def test_private_looks_absent(sdk, anonymous, module):
    sdk.publish(module, "secret", "A private one", function="both", visible_to=[])
    assert sdk.run("admin/secret", (3, 1)) == 2.0
    with pytest.raises(dlhub.NotFound):
        anonymous.run("admin/secret", (3, 1))
    assert not anonymous.search("private")


def test_a_function(sdk, module):
    version = sdk.publish(module, "describe", "Describes a text", function="describe", example_input="ab")
    assert sdk.run("admin/describe", "grün") == {"text": "grün", "length": 4}
    assert sdk.run("admin/describe", "a", parameters={"times": 3}) == {"text": "aaa", "length": 3}
    output, about = sdk.run("admin/describe", "a", debug=True)
    assert output["length"] == 1 and about["stdout"] == "asked for a\n" and about["version"] == version.version
    with pytest.raises(dlhub.InvalidArgument, match="input"):
        sdk.run("admin/describe", 7)
    with pytest.raises(dlhub.InvalidArgument, match="no method 'nothing'"):
        sdk.run("admin/describe", "a", method="nothing")


def test_a_pipeline(sdk, anonymous, identity):
    steps = [{"name": "a", "servable": "identity", "inputs": "input.x"}, {"name": "b", "servable": identity, "inputs": "a"},
             {"name": "both", "combine": "stack", "inputs": ["a", "b"]}]
    version = sdk.publish_pipeline(steps, {"pair": "both"}, "pair", "The same twice", visible_to=["public"],
                                   example_input=np.float32([1, 2]), example_output=np.float32([[1, 2], [1, 2]]))
    assert version["engine"] == "pipeline"
    np.testing.assert_array_equal(anonymous.run("admin/pair", np.float32([3, 4, 5])), np.float32([[3, 4, 5]] * 2))
    with pytest.raises(dlhub.InvalidArgument, match="pipeline step 'c'"):
        sdk.publish_pipeline([*steps, {"name": "c", "servable": identity, "inputs": "both"}], "c", "pair", "Three")


def test_a_file_as_input(sdk, module, tmp_path):
    sdk.publish(module, "size", "Size of a file", function="size", example_input={"content": "YWJj"})
    (tmp_path / "f.bin").write_bytes(b"\0" * 1000)
    assert sdk.run("admin/size", tmp_path / "f.bin") == 1000
    assert sdk.run("admin/size", b"1234") == 4
    with open(tmp_path / "f.bin", "rb") as file:
        assert sdk.run("admin/size", file) == 1000


def test_a_class_made_with_arguments(sdk, module):
    sdk.publish(module, "counter", "Counts", class_name="Counter", method="add", arguments={"start": 10}, example_input=0)
    first = sdk.run("admin/counter", 1)
    assert sdk.run("admin/counter", 2) == first + 2 and first >= 11


def test_the_servables_own_error(sdk, module):
    with pytest.raises(dlhub.DLHubError, match="no luck with a") as caught:
        sdk.publish(module, "failing", "Fails", function="fail", example_input="a")
    task = caught.value.task
    assert task.status == "failed" and "no luck" in sdk.log(task.id)


def test_without_waiting(sdk, module):
    task = sdk.publish(module, "later", "Published later", function="both", wait=False)
    assert len(task.id) == 32 and task.id in {one.id for one in sdk.tasks()}
    assert sdk.wait(task.id).name == "admin/later"


def test_a_new_version_that_takes_something_else(sdk, module, tmp_path):
    sdk.publish(module, "changing", "Changes", function="both")
    assert sdk.run("admin/changing", (3, 1)) == 2.0
    other = tmp_path / "functions.py"
    other.write_text("def both(text: str) -> str:\n    return text[::-1]\n")
    requests_before = dict(sdk._known)
    sdk.publish(other, "changing", "Changes", function="both")
    sdk._known = requests_before  # as another client, which knows only the first version
    assert sdk.run("admin/changing", "abc") == "cba"
    assert sdk.run("admin/changing@1", (3, 1)) == 2.0


def test_removing(sdk, module):
    sdk.publish(module, "gone", "Soon gone", function="both")
    sdk.remove("admin/gone")
    with pytest.raises(dlhub.NotFound):
        sdk.describe("admin/gone")


def test_what_cannot_be_sent(sdk, tmp_path):
    with pytest.raises(dlhub.InvalidArgument, match="no such file"):
        sdk.publish(tmp_path / "none.onnx", "x", "X")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("/etc/passwd")
    with pytest.raises(dlhub.InvalidArgument, match="link"):
        sdk.publish(tmp_path / "folder", "x", "X")


def test_a_golden_test_that_fails(sdk, identity_onnx, tmp_path):
    path = tmp_path / "identity.onnx"
    path.write_bytes(identity_onnx)
    with pytest.raises(dlhub.FailedPrecondition, match="golden test"):
        sdk.publish(path, "wrong", "Gives something else", example_input=[1.0, 2.0], example_output=[1.0, 2.5])


def test_the_body_is_the_one_that_others_send(sdk, shared_hub):
    """Our multipart body, read by an independent parser."""
    from dlhub.publish import Multipart
    import io
    body = Multipart(b'{"a": 1}', io.BytesIO(b"x" * 300000), 'a"b.onnx', 300000)
    whole = b"".join(iter(lambda: body.read(8192), b""))
    assert len(whole) == len(body)
    from email.parser import BytesParser
    parts = BytesParser().parsebytes(b"Content-Type: " + body.content_type.encode() + b"\r\n\r\n" + whole).get_payload()
    assert [part.get_param("name", header="content-disposition") for part in parts] == ["json", "file"]
    assert parts[1].get_filename() == "a_b.onnx" and len(parts[1].get_payload()) == 300000


def test_a_netrc_is_not_used(shared_hub, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.get(shared_hub.url + "/api/v1/whoami", timeout=10).status_code != 200
    assert dlhub.Hub(shared_hub.url).whoami()["user"] is None


def test_runs_that_are_fetched_later(sdk, anonymous, identity, module):
    given = np.float32([1, 2.5])
    task = sdk.run(identity, given, asynchronous=True)
    got = task.result()
    assert got.dtype == np.float32 and got.tolist() == [1, 2.5] and task.status() == "succeeded"
    assert sdk.run_task(task.id).result().tolist() == [1, 2.5]
    rows = [[i, i] for i in range(50)]
    task = sdk.run(identity, rows, each=True, asynchronous=True, expires=600)
    names = [name for name, _ in task]
    assert names[0] == "status" and names[-1] == "result"
    assert [one.tolist() for one in task.result()] == rows and len(task.partial()) == 50
    with pytest.raises(dlhub.Unauthenticated, match="needs a token"):
        anonymous.run(identity, given, asynchronous=True)

    sdk.publish(module, "picky", "Fails now and then", function="picky")
    task = sdk.run("admin/picky", "bad", asynchronous=True)
    with pytest.raises(dlhub.DLHubError, match="no luck with bad"):
        task.result(timeout=60)
    assert task.wait().status == task.cancel().status == "failed"
    many = sdk.run("admin/picky", ["a", "bad"], each=True, asynchronous=True)
    good, bad = many.result()
    assert good == "a" and isinstance(bad, dlhub.DLHubError) and "no luck" in str(bad)
    many.remove()
    with pytest.raises(dlhub.NotFound):
        many.result()


def test_what_is_sent_once_and_given_often(sdk, identity, module):
    sdk.publish(module, "size", "Counts", function="size", example_input=b"abc")
    blob = sdk.send_blob(b"12345", expires=600)
    assert blob.ref.startswith("blob:sha256:") and sdk.run("admin/size", blob) == 5
    assert sdk.run("admin/size", [blob, b"1"], each=True, asynchronous=True).result() == [5, 1]
    out = io.BytesIO()
    np.save(out, np.float32([1, 2.5]))
    assert sdk.run(identity, sdk.send_blob(out.getvalue())).tolist() == [1, 2.5]
