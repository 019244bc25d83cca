"""Pipelines and ensembles: servables that are made of others and run in the hub, step by step, with their caller's rights."""
import json
import re

import numpy
import pytest

from support import HubProcess, document

FUNCTIONS = '''
import time

def upper(text: str) -> str:
    return text.upper()

def fail(text: str) -> str:
    if text != "a":
        raise ValueError("no " + text)
    return text

def hang(text: str) -> str:
    while text != "a":
        time.sleep(1)
    return text

def stall(text: str) -> str:
    return hang(text)

def doze(text: str) -> str:
    time.sleep(0.3)
    return text

def join(a: str, b: str, times: int = 1) -> str:
    return (a + b) * times
'''


def affine(factor, offset, rank=1, dtype="FLOAT"):
    """An ONNX graph that gives factor * x + offset."""
    from onnx import TensorProto, helper, numpy_helper
    kind = getattr(TensorProto, dtype)
    value = lambda name: helper.make_tensor_value_info(name, kind, ["n"] + [2] * (rank - 1))
    constant = lambda name, number: numpy_helper.from_array(numpy.array(number, {"FLOAT": "float32", "DOUBLE": "float64"}[dtype]), name)
    graph = helper.make_graph([helper.make_node("Mul", ["x", "f"], ["m"]), helper.make_node("Add", ["m", "o"], ["y"])], "affine",
                              [value("x")], [value("y")], [constant("f", factor), constant("o", offset)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def publish_affine(hub, name, factor, offset, token=True, rank=1, **dlhub):
    task = hub.publish(document(name, **{"visible_to": ["public"], **dlhub}), affine(factor, offset, rank), token=token)
    assert task["status"] == "succeeded", task


def publish_function(hub, name, token=True, inputs=None, **dlhub):
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": inputs or {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "functions", "method_name": name, "unpack": bool(inputs)}}}}
    task = hub.publish({**document(name, **{"visible_to": ["public"], **dlhub}), "servable": servable,
                        "golden": {"request": {"data": ["a", "b"] if inputs else "a"}}}, FUNCTIONS, "functions.py", token=token)
    assert task["status"] == "succeeded", task


def submit(hub, name, steps, outputs, token=True, golden=None, methods=None, **dlhub):
    servable = {"type": "Pipeline", "shim": "hub.Pipeline", "pipeline": {"steps": steps, "outputs": outputs}}
    if methods:
        servable["methods"] = methods
    body = {**document(name, **{"visible_to": ["public"], **dlhub}), "servable": servable}
    if golden:
        body["golden"] = golden
    return hub.post("/api/v1/publish", token=token, files={"json": ("dlhub.json", json.dumps(body), "application/json")})


def publish(hub, name, steps, outputs, token=True, **more):
    reply = submit(hub, name, steps, outputs, token, **more)
    assert reply.status_code == 202, reply.text
    task = hub.wait_task(reply.json()["task_id"], token)
    assert task["status"] == "succeeded", task
    return task


def step(name, servable, inputs="input", **more):
    return {"name": name, "servable": servable, "inputs": inputs, **more}


def run(hub, name, data, token=True, **more):
    return hub.post(f"/api/v1/servables/{name}/run", token=token, json={"data": data, **more})


@pytest.fixture(scope="module")
def lab(shared_hub):
    for name, factor, offset in (("double", 2, 0), ("inc", 1, 1), ("negate", -1, 0)):
        publish_affine(shared_hub, name, factor, offset)
    publish_affine(shared_hub, "table", 1, 0, rank=2)
    publish_function(shared_hub, "upper")
    return shared_hub


# --- building and running ---

def test_a_chain_from_publish_to_answer(lab):
    task = publish(lab, "chain", [step("second", "admin/inc", "first"), step("first", "admin/double", "input.x")], {"y": "second"})
    assert task["result"]["engine"] == "pipeline"
    assert run(lab, "admin/chain", [1, 2, 3]).json() == [[3, 5, 7]]
    described = lab.get("/api/v1/servables/admin/chain").json()
    method = described["servable"]["methods"]["run"]
    assert method["input"]["name"] == "x" and method["input"]["shape"] == [None] and method["output"]["name"] == "y"
    for part in described["servable"]["pipeline"]["steps"]:
        assert part["version"].startswith("sha256:")  # pinned
    meta = lab.get("/v2/models/admin/chain", token=None).json()
    assert meta["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    assert meta["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1]}] and meta["platform"] == "dlhub_pipeline"
    infer = lab.post("/v2/models/admin/chain/infer", token=None, json={
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [0.5, -1]}]})
    assert infer.json()["outputs"][0] == {"name": "y", "datatype": "FP32", "shape": [2], "data": [2.0, -1.0]}
    stats = lab.get("/v2/models/admin/chain/stats").json()["model_stats"][0]["inference_stats"]
    assert stats["success"]["count"] == 2, stats
    found = lab.get("/api/v1/search?q=type:Pipeline", token=None).json()
    assert "admin/chain" in [item["name"] for item in found["items"]]


def test_time_and_memo_of_each_step(lab):
    publish(lab, "told", [step("first", "admin/double"), step("second", "admin/inc", "first"),
                          {"name": "both", "combine": "stack", "inputs": ["first", "second"]}], "both")
    answer = run(lab, "admin/told", [1], envelope=True).json()
    assert answer["output"] == [[2], [3]]
    steps = answer["metadata"]["steps"]
    assert [part["name"] for part in steps] == ["first", "second", "both"]
    assert steps[0]["servable"] == "admin/double" and steps[0]["version"] == 1 and steps[0]["memo"] == "off" and steps[0]["ms"] > 0
    assert steps[2]["combine"] == "stack"


@pytest.mark.parametrize("combine, expect", [
    ("mean", [1, 5 / 3]), ("median", [2, 3]), ("vote", [2, 4]), ("stack", [[2, 4], [2, 3], [-1, -2]]),
    ("concat", [2, 4, 2, 3, -1, -2])])
def test_each_combiner(lab, combine, expect):
    steps = [step("a", "admin/double"), step("b", "admin/inc"), step("c", "admin/negate"),
             {"name": "all", "combine": combine, "inputs": ["a", "b", "c"]}]
    publish(lab, combine, steps, "all")
    answer = run(lab, f"admin/{combine}", [1, 2])
    numpy.testing.assert_allclose(answer.json()[0], expect, rtol=1e-6)


def test_a_servable_as_combiner_with_parameters_and_several_outputs(lab):
    inputs = {"type": "tuple", "element_types": [{"type": "string", "name": "a"}, {"type": "string", "name": "b"}]}
    publish_function(lab, "join", inputs=inputs)
    steps = [step("up", "admin/upper", "input.left"),
             step("both", "admin/join", {"a": "up", "b": "input.right"}, parameters={"times": 2})]
    publish(lab, "joined", steps, {"text": "both", "upper": "up"})
    answer = run(lab, "admin/joined", {"left": "ab", "right": "c"})
    assert answer.json() == ["ABcABc", "AB"], answer.text


def test_large_tensors_pass_between_steps(lab):
    publish(lab, "large", [step("a", "admin/double"), step("b", "admin/inc", "a"),
                           {"name": "mean", "combine": "mean", "inputs": ["a", "b"]}], "mean")
    values = numpy.random.default_rng(0).random(1_000_000, numpy.float32)
    head = json.dumps({"inputs": [{"name": "input", "shape": [values.size], "datatype": "FP32",
                                   "parameters": {"binary_data_size": values.nbytes}}],
                       "parameters": {"binary_data_output": True}}).encode()
    answer = lab.post("/v2/models/admin/large/infer", data=head + values.tobytes(), headers={
        "Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
    assert answer.status_code == 200, answer.text
    split = int(answer.headers["Inference-Header-Content-Length"])
    numpy.testing.assert_allclose(numpy.frombuffer(answer.content[split:], numpy.float32), 2 * values + 0.5, rtol=1e-6)


def test_steps_that_are_ready_run_at_once(lab):
    publish_function(lab, "doze")
    publish(lab, "pair", [step("a", "admin/doze"), step("b", "admin/doze")], {"a": "a", "b": "b"})
    metadata = run(lab, "admin/pair", "x", envelope=True).json()["metadata"]
    assert metadata["run_ms"] < sum(part["ms"] for part in metadata["steps"]), metadata  # their times overlap


def test_a_pipeline_in_a_pipeline_and_how_deep(lab):
    publish(lab, "depth1", [step("a", "admin/inc")], "a")
    for depth in range(2, 5):
        publish(lab, f"depth{depth}", [step("a", f"admin/depth{depth - 1}")], "a")
    assert run(lab, "admin/depth4", [1]).json() == [[2]]
    reply = submit(lab, "depth5", [step("a", "admin/depth4")], "a")
    task = lab.wait_task(reply.json()["task_id"])
    assert task["status"] == "failed" and "limits.pipeline_depth" in task["error"]["message"], task


def test_memo_of_each_step(lab):
    publish_affine(lab, "kept", 3, 0, serving={"memo": True})
    publish(lab, "remembers", [step("kept", "admin/kept"), step("fresh", "admin/inc", "kept")], "fresh")
    publish(lab, "all-kept", [step("kept", "admin/kept")], "kept", serving={"memo": True})
    states = []
    for _ in range(2):
        answer = run(lab, "admin/remembers", [7], envelope=True).json()
        assert answer["output"] == [22]
        states.append([part["memo"] for part in answer["metadata"]["steps"]])
    assert states == [["miss", "off"], ["hit", "off"]]
    for mark in (None, "hit"):  # every step comes from memory at once; then the whole does
        answer = run(lab, "admin/all-kept", [7])
        assert answer.json() == [[21]] and answer.headers.get("X-DLHub-Memo") == mark


def timed_steps(text):
    """What a Server-Timing text says of steps: (name, memo or combine, it was sent to a worker, milliseconds)."""
    found = re.findall(r'step;desc="(\S+) (\w+=\w+)( queue=[\d.]+ run=[\d.]+)?";dur=([\d.]+)', text)
    return [(name, how, bool(shares), float(ms)) for name, how, shares, ms in found]


def test_timing_on_request_tells_of_each_step(lab):
    publish_affine(lab, "timed", 3, 0, serving={"memo": True})
    publish(lab, "clocked", [step("kept", "admin/timed"), step("fresh-1", "admin/inc", "kept"),
                             {"name": "all", "combine": "stack", "inputs": ["kept", "fresh-1"]}], "all")
    assert "Server-Timing" not in run(lab, "admin/clocked", [8]).headers
    for value, memo in ((9, "miss"), (9, "hit")):
        answer = lab.post("/api/v1/servables/admin/clocked/run", json={"data": [value]}, headers={"X-DLHub-Timing": "1"})
        text = answer.headers["Server-Timing"]
        assert [entry[:3] for entry in timed_steps(text)] == [
            ("kept", f"memo={memo}", memo == "miss"), ("fresh-1", "memo=off", True), ("all", "combine=stack", False)], text
        assert text.startswith("decode;dur=") and "encode;dur=" in text and text.endswith("memo;desc=off")
        whole = float(re.search(r"[ ,]run;dur=([\d.]+)", text)[1])
        assert all(ms <= whole for *_, ms in timed_steps(text)), text


def test_timing_of_a_pipeline_that_fails_names_what_was_begun(lab):
    publish_function(lab, "fail")
    publish(lab, "stumbles", [step("one", "admin/upper"), step("two", "admin/fail", "input"), step("three", "admin/upper", "two")],
            {"a": "one", "b": "three"}, golden={"request": {"data": "a"}})
    answer = lab.post("/api/v1/servables/admin/stumbles/run", json={"data": "b"}, headers={"X-DLHub-Timing": "1"})
    assert answer.status_code >= 400 and "pipeline step 'two'" in answer.text
    assert [name for name, *_ in timed_steps(answer.headers["Server-Timing"])] == ["one", "two"]


def test_timing_over_grpc(lab):
    triton = pytest.importorskip("tritonclient.grpc")
    publish(lab, "clocked-too", [step("first", "admin/double"), step("second", "admin/inc", "first")], "second")
    client = triton.InferenceServerClient(lab.grpc)
    one = triton.InferInput("input", [1], "FP32")
    one.set_data_from_numpy(numpy.array([4], numpy.float32))
    ask = lambda **headers: client.infer("admin/clocked-too", [one], headers=headers).get_response().parameters
    assert "timing" not in ask()
    text = ask(**{"x-dlhub-timing": "1"})["timing"].string_param
    assert [entry[:3] for entry in timed_steps(text)] == [("first", "memo=off", True), ("second", "memo=off", True)], text
    assert "decode;dur=" in text and text.endswith("memo;desc=off")
    client.close()


def test_a_pipeline_as_a_task(lab):
    publish(lab, "later", [step("a", "admin/double"), step("b", "admin/inc", "a")], "b")
    accepted = lab.post("/api/v1/servables/admin/later/run", json={"each": [[1], [2], [3]], "asynchronous": True})
    assert accepted.status_code == 202, accepted.text
    task = lab.wait_task(accepted.json()["task_id"])
    assert task["status"] == "succeeded", task
    result = lab.get(f"/api/v1/tasks/{accepted.json()['task_id']}/result").json()
    assert [numpy.ravel(one).tolist() for one in result] == [[3], [5], [7]], result


# --- versions ---

def test_pinned_and_moving_versions(lab):
    publish_affine(lab, "moving", 10, 0)
    publish(lab, "pinned", [step("a", "admin/moving")], "a")
    publish(lab, "numbered", [step("a", "admin/moving", version=1)], "a")
    publish(lab, "newest", [step("a", "admin/moving", version="latest")], "a")
    publish_affine(lab, "moving", 20, 0)
    assert [run(lab, f"admin/{name}", [1]).json() for name in ("pinned", "numbered", "newest")] == [[[10]], [[10]], [[20]]]
    # The new version takes something else than what was checked: the run says so, naming the step.
    publish_affine(lab, "moving", 1, 0, rank=2)
    answer = run(lab, "admin/newest", [1])
    assert answer.status_code == 400 and "pipeline step 'a'" in answer.json()["error"], answer.text
    assert lab.request("DELETE", "/api/v1/servables/admin/moving/versions/1").status_code == 204
    assert run(lab, "admin/pinned", [1]).status_code == 403


# --- what is refused when it is published ---

@pytest.mark.parametrize("steps, outputs, words", [
    ([step("a", "admin/double"), step("t", "admin/table", "a")], "t", "pipeline step 't': its input 'x' takes FP32 [-1,2], but a gives FP32 [-1]"),
    ([step("a", "admin/double"), step("u", "admin/upper", "a")], "u", "pipeline step 'u'"),
    ([step("a", "admin/double", {"z": "input"})], "a", "there is no input 'z'; the inputs of admin/double are: x"),
    ([step("a", "admin/double", "b"), step("b", "admin/inc", "a")], "a", "steps must not go in a circle"),
    ([step("a", "admin/double"), step("b", "admin/inc")], "a", "pipeline step 'b': nothing uses what it gives"),
    ([step("a", "admin/double")], {"y": "a.z"}, "pipeline output 'y': there is no 'a.z'; there are: y"),
    ([step("a", "admin/nothing")], "a", "pipeline step 'a': no servable admin/nothing that you may see"),
    ([step("a", "admin/double", version=9)], "a", "pipeline step 'a': no servable admin/double version 9 that you may see"),
    ([step("a", "admin/double", method="fit")], "a", "has no method 'fit'"),
    ([{"name": "a", "combine": "max", "inputs": ["input"]}], "a", "combine"),
    ([], "a", "steps"),
])
def test_what_does_not_fit_is_refused(lab, steps, outputs, words):
    reply = submit(lab, "refused", steps, outputs)
    assert reply.status_code in (400, 404), reply.text
    assert words in reply.json()["error"], reply.text
    assert lab.get("/api/v1/servables/admin/refused").status_code == 404


def test_a_given_signature_is_checked(lab):
    def given(name):
        return {"run": {"input": {"type": "ndarray", "name": name, "shape": [3], "item_type": {"type": "number", "dtype": "FP32"}}}}
    reply = submit(lab, "given", [step("a", "admin/double", "input.x")], "a", methods=given("z"))
    assert reply.status_code == 400 and "there is no 'input.x'; there are: z" in reply.json()["error"], reply.text
    publish(lab, "given", [step("a", "admin/double", "input.x")], "a", methods=given("x"))
    assert run(lab, "admin/given", [1, 2, 3]).json() == [[2, 4, 6]]
    assert run(lab, "admin/given", [1, 2]).status_code == 400


def test_a_model_still_needs_its_file(lab):
    reply = lab.post("/api/v1/publish", files={"json": ("dlhub.json", json.dumps(document("none")), "application/json")})
    assert reply.status_code == 400 and "part 'file'" in reply.json()["error"]


def test_the_golden_test_runs_through_the_steps(lab):
    golden = {"request": {"data": [1, 2]}, "response": {"output": [99, 4]}}
    reply = submit(lab, "wrong", [step("a", "admin/double")], "a", golden=golden)
    task = lab.wait_task(reply.json()["task_id"])
    assert task["status"] == "failed" and "the golden test failed" in task["error"]["message"], task
    golden["response"]["output"] = [2, 4]
    publish(lab, "right", [step("a", "admin/double")], "a", golden=golden)
    assert lab.get("/api/v1/servables/admin/right").json()["serving"]["golden"]["expected"] == "recorded"


# --- whose rights ---

def test_each_step_is_run_with_its_callers_rights(lab):
    ann, bob = lab.user("ann"), lab.user("bob")
    publish_affine(lab, "hers", 5, 0, token=ann, visible_to=["user:bob"], run_by=["user:bob"])
    publish_affine(lab, "shown", 5, 0, token=ann, visible_to=["public"], run_by=["user:bob"])
    steps = {"hers": [step("secret", "ann/hers")], "shown": [step("open", "ann/shown")]}
    for name in steps:
        publish(lab, f"uses-{name}", steps[name], steps[name][0]["name"], token=bob)
        assert run(lab, f"bob/uses-{name}", [1], token=bob).json() == [[5]]
    eve = lab.user("eve")
    hidden = run(lab, "bob/uses-hers", [1], token=eve)
    assert hidden.status_code == 403 and "ann" not in hidden.text and "hers'" not in hidden.json()["error"], hidden.text
    shown = run(lab, "bob/uses-shown", [1], token=eve)
    assert shown.status_code == 403 and "pipeline step 'open': you may see ann/shown" in shown.json()["error"], shown.text
    # Nor may they be published as steps by those who may not run them.
    assert submit(lab, "mine", steps["hers"], "secret", token=eve).status_code == 404
    assert submit(lab, "mine", steps["shown"], "open", token=eve).status_code == 403


# --- faults ---

def test_the_step_that_fails_is_named_and_ends_the_others(lab):
    publish_function(lab, "fail")
    publish_function(lab, "hang")
    publish(lab, "fails", [step("wait", "admin/hang"), step("break", "admin/fail")], {"a": "wait", "b": "break"},
            golden={"request": {"data": "a"}})
    answer = run(lab, "admin/fails", "x", timeout_s=3600)  # comes at all: it does not wait for the other step
    assert answer.status_code == 500 and "pipeline step 'break': ValueError: no x" in answer.json()["error"], answer.text


def test_the_deadline_is_that_of_the_whole(lab):
    publish_function(lab, "stall")
    publish(lab, "waits", [step("wait", "admin/stall")], "wait", golden={"request": {"data": "a"}})
    answer = run(lab, "admin/waits", "x", timeout_s=1)
    assert answer.status_code == 504 and "pipeline step 'wait'" in answer.json()["error"], answer.text


def test_a_hub_that_ends_lets_a_pipeline_go_on(tmp_path):
    hub = HubProcess(tmp_path / "hub")
    publish_affine(hub, "double", 2, 0)
    publish(hub, "chain", [step("a", "admin/double"), step("b", "admin/double", "a")], "b")
    assert run(hub, "admin/chain", [1]).json() == [[4]]
    assert hub.stop() == 0
    hub.start()
    assert run(hub, "admin/chain", [1]).json() == [[4]]
    assert hub.stop() == 0
