"""Python functions and classes in real workers."""

import json
import pickle
import sys
import types

import pytest

from frames import CANCEL, PROGRESS, RESULT, RUN, WorkerFailed, WorkerGone, decode_run, encode, encode_run
from workers import function, is_sanitized

STRING, NUMBER, FLOAT, INTEGER, BOOLEAN = (
    {"type": name} for name in ("string", "number", "float", "integer", "boolean")
)
VECTOR = {"type": "ndarray", "shape": [None], "item_type": {"type": "float", "dtype": "FP32"}}
ANY = {"type": "python object", "python_type": "object"}


def failure(run):
    with pytest.raises(WorkerFailed) as caught:
        run()
    return caught.value.document


def test_says_hello(worker):
    one = worker(function(STRING, STRING), {"code.py": "def f(x): return 'hello ' + x"})
    assert one.ready["engine"] == "python" and one.ready["framework"].startswith("Python 3.")
    assert one.run_json('wörld "1"\n\\') == 'hello wörld "1"\n\\'


@pytest.mark.parametrize(
    "schema, value",
    [
        (NUMBER, 2),
        (NUMBER, 0.1),
        (INTEGER, -9223372036854775808),
        (FLOAT, 1e300),
        (BOOLEAN, True),
        (STRING, "é\u0000x"),
        (ANY, {"a": [1, None, {"b": False}]}),
        ({"type": "list", "item_type": {"type": "integer"}}, [1, 2]),
        ({"type": "dict", "properties": {"x": {"type": "float"}}}, {"x": 1.5}),
        ({"type": "complex"}, {"real": 1.5, "imag": -2.0}),
        ({"type": "timedelta"}, 1.5),
        ({"type": "datetime"}, "2026-11-22T16:24:07+00:00"),
        ({"type": "dict", "properties": {"t": {"type": "tuple", "element_types": [INTEGER, STRING]}}}, {"t": [1, "a"]}),
    ],
)
def test_values_come_back(worker, schema, value):
    one = worker(function(schema, schema), {"code.py": "def f(x): return x"})
    assert one.run_json(value) == value


def test_types_inside(worker):
    schema = {
        "type": "dict",
        "properties": {
            "t": {"type": "tuple", "element_types": [INTEGER]},
            "c": {"type": "complex"},
            "d": {"type": "datetime"},
            "s": {"type": "timedelta"},
            "f": FLOAT,
        },
    }
    one = worker(
        function(schema, {"type": "list", "item_type": STRING}),
        {"code.py": "def f(x): return [type(x[k]).__name__ for k in 'tcdsf']"},
    )
    value = {"t": [1], "c": 2, "d": "2026-11-22T16:24:07Z", "s": 5, "f": 3}
    assert one.run_json(value) == ["tuple", "complex", "datetime", "timedelta", "float"]


@pytest.mark.parametrize(
    "source, output, words",
    [
        ("None", NUMBER, "returned None, but its schema says a number"),
        ("'a'", INTEGER, "returned 'a' (str), but its schema says an integer"),
        ("1.5", INTEGER, "schema says an integer"),
        ("float('nan')", FLOAT, "nan, which JSON cannot carry"),
        ("1 << 80", INTEGER, "does not fit 64 bits"),
        (
            "[1, 2]",
            {"type": "tuple", "element_types": [INTEGER]},
            "returned 2 values, but its schema says a tuple of 1",
        ),
        ("{'x': 1, 'y': 2}", {"type": "dict", "properties": {"x": INTEGER}}, "with the key 'y'"),
        ("[1, 'a']", {"type": "list", "item_type": INTEGER}, "output 'output'[1]: the servable returned 'a' (str)"),
        ("object()", ANY, "which has no form in JSON"),
        ("{(1, 2): 3}", ANY, "has no form in JSON"),
        ("'\\ud800'", STRING, "not valid Unicode"),
        ("'/nowhere/x'", {"type": "file"}, "cannot be read"),
    ],
)
def test_answers_that_miss_their_schema(worker, source, output, words):
    one = worker(function(ANY, output), {"code.py": f"def f(x): return {source}"})
    told = failure(lambda: one.run_json(1))
    assert words in told["message"] and told["code"] == "UNKNOWN"
    assert words in failure(lambda: one.run_json(1))["message"]  # and it goes on


def test_an_exception_comes_with_its_traceback(worker):
    one = worker(function(ANY, ANY), {"code.py": "def g(x): return 1 / x\ndef f(x): return g(x)"})
    told = failure(lambda: one.run_json(0))
    assert told["message"] == "ZeroDivisionError: division by zero" and told["code"] == "UNKNOWN"
    assert "in g" in told["traceback"] and "code.py" in told["traceback"] and "dlhub_worker" not in told["traceback"]
    assert one.run_json(2) == 0.5


@pytest.mark.parametrize("source", ["import sys; sys.exit(3)", "raise KeyboardInterrupt()", "raise Bad()"])
def test_what_else_can_be_raised(worker, source):
    bad = "class Bad(Exception):\n  def __str__(self): raise ValueError()\n"
    one = worker(function(ANY, ANY), {"code.py": f"{bad}def f(x):\n  if x: {source}\n  return 'on'"})
    assert failure(lambda: one.run_json(1))["code"] == "UNKNOWN"
    assert one.run_json(0) == "on"


def test_parameters(worker):
    document = function(ANY, ANY, parameters={"scale": 2, "names": []})
    one = worker(
        document,
        {"code.py": "def f(x, scale, names, extra=0):\n  names.append(x)\n  return [x * scale + extra, names]"},
    )
    assert one.run_json(3) == [6, [3]]
    assert one.run_json(4) == [8, [4]]  # the defaults are not what the first run left
    assert one.run_json(3, parameters={"scale": 10, "extra": 1}) == [31, [3]]
    assert "unexpected keyword argument 'nope'" in failure(lambda: one.run_json(3, parameters={"nope": 1}))["message"]


def test_tuple_list_unpack_and_autobatch(worker):
    pair = {"type": "tuple", "element_types": [INTEGER, {**INTEGER, "name": "b"}]}
    code = {"code.py": "def f(*x, **p): return [len(x), [list(one) if isinstance(one, tuple) else one for one in x]]"}
    assert worker(function(pair, ANY, unpack=True), code).run_json(1, 2) == [2, [1, 2]]
    assert worker(function(pair, ANY), code).run_json(1, 2) == [1, [[1, 2]]]
    many = {"type": "list", "item_type": INTEGER}
    assert worker(function(many, ANY, unpack=True), code).run_json([1, 2, 3]) == [3, [1, 2, 3]]
    assert worker(function(many, ANY, autobatch=True), code).run_json([7, 8]) == [[1, [7]], [1, [8]]]
    nothing = {"type": "tuple", "element_types": []}
    assert (
        worker(function(nothing, STRING, unpack=True), {"code.py": "def f(): return 'hello world'"}).run_json()
        == "hello world"
    )


def test_several_outputs(worker):
    output = {"type": "tuple", "element_types": [INTEGER, {**STRING, "name": "word"}]}
    one = worker(function(ANY, output), {"code.py": "def f(x): return x, str(x)"})
    tensors, _ = one.run_raw([("input", "JSON", [], b"5")])
    assert tensors == [("output_0", "JSON", [], b"5"), ("word", "JSON", [], b'"5"')]


def test_output_is_captured_or_logged(worker):
    code = "import os, sys\ndef f(x):\n  print('out', x); print('err', file=sys.stderr); os.write(1, b'raw\\n'); os.system('echo child')\n  return x"
    one = worker(function(ANY, ANY), {"code.py": "print('loading')\n" + code})
    assert one.logs == ["stdout: loading"]
    _, metadata = one.run_raw([("input", "JSON", [], b"1")], output=True)
    assert metadata == {"stdout": "out 1\nraw\nchild\n", "stderr": "err\n"}
    one.logs.clear()
    one.run_json(2)
    assert one.logs == ["stdout: out 2", "stdout: raw", "stdout: child", "stderr: err"]


def test_much_output_is_cut(worker):
    one = worker(function(ANY, ANY), {"code.py": "def f(x): print('y' * 3000000)"})
    _, metadata = one.run_raw([("input", "JSON", [], b"1")], output=True)
    assert len(metadata["stdout"]) < 1100000 and "(cut: 3000001 bytes were printed" in metadata["stdout"]
    one.run_json(1)
    assert sum(map(len, one.logs)) < 20000


def test_output_of_a_failed_run(worker):
    one = worker(function(ANY, ANY), {"code.py": "def f(x):\n  print('before')\n  raise ValueError('no')"})
    with pytest.raises(WorkerFailed) as caught:
        one.run_raw([("input", "JSON", [], b"1")], output=True)
    assert caught.value.document["stdout"] == "before\n"


def test_files_in_and_out(worker):
    code = "import os\ndef f(path):\n  text = open(path).read()\n  out = path + '.out'\n  open(out, 'w').write(text[::-1])\n  return out"
    file = {"type": "file", "file_types": ["text/csv"]}
    one = worker(function(file, file), {"code.py": code})
    for _ in range(2):
        assert one.run_raw([("input", "FILE", [], b"abc")])[0] == [("output", "FILE", [], b"cba")]
    listing = worker(
        function(file, ANY),
        {
            "code.py": "import os\ndef f(path): return [path, [n for n in os.listdir(os.environ['TMPDIR']) if n.startswith('run-')]]"
        },
    )
    first, folder = json.loads(listing.run_raw([("input", "FILE", [], b"1")])[0][0][3])
    second, folders = json.loads(listing.run_raw([("input", "FILE", [], b"1")])[0][0][3])
    assert first.endswith("/input.csv") and first != second and len(folder) == len(folders) == 1


def test_class_constructed_and_pickled(worker, monkeypatch):
    source = (
        "class Counter:\n  def __init__(self, start=0): self.n = start\n  def add(self, x): self.n += x; return self.n"
    )
    method = {
        "input": INTEGER,
        "output": INTEGER,
        "method_details": {
            "module": "counter",
            "class_name": "Counter",
            "method_name": "add",
            "arguments": {"start": 10},
        },
    }
    document = {
        "servable": {
            "type": "Python class method",
            "shim": "python.PythonClassMethodServable",
            "methods": {"run": method},
        },
        "dlhub": {"files": {}},
    }
    one = worker(document, {"counter.py": source})
    assert [one.run_json(1), one.run_json(2)] == [11, 13]
    module = types.ModuleType("counter")
    exec(source, module.__dict__)
    module.Counter.__module__ = "counter"
    monkeypatch.setitem(sys.modules, "counter", module)
    content = pickle.dumps(module.Counter(100))
    document = {
        "servable": {**document["servable"], "methods": {"run": {**method, "method_details": {"method_name": "add"}}}},
        "dlhub": {"files": {"pickle": "counter.pkl"}},
    }
    assert worker(document, {"counter.py": source, "counter.pkl": content}).run_json(5) == 105
    told = failure(lambda: worker(document, {"counter.pkl": content}))
    assert "No module named 'counter'" in told["message"] and "publish the file" in told["hint"]


@pytest.mark.parametrize(
    "document, files, words",
    [
        (function(ANY, ANY, module="absent"), {}, "No module named 'absent'"),
        (function(ANY, ANY, name="g"), {"code.py": "def f(x): return x"}, "has no 'g'"),
        (function(ANY, ANY), {"code.py": "def f(x: return"}, "SyntaxError"),
        (function(ANY, ANY), {"code.py": "raise RuntimeError('at import')"}, "at import"),
        ({"servable": {"shim": "nope.X", "methods": {"run": {}}}}, {}, "there is no shim 'nope.X'"),
        ({"servable": {"methods": {}}}, {}, "at least the method 'run'"),
    ],
)
def test_loads_that_fail_say_why(worker, document, files, words):
    one = worker(document, files, load=False)
    told = failure(lambda: one.load({"directory": "/model", **document}))
    assert words in told["message"]
    assert one.wait_gone() != 0


def test_unknown_method_and_wrong_count(worker):
    one = worker(function(ANY, ANY), {"code.py": "def f(x): return x"})
    assert failure(lambda: one.run_json(1, method="train"))["code"] == "NOT_FOUND"
    assert failure(lambda: one.run_json(1, 2))["code"] == "INVALID_ARGUMENT"
    assert one.run_json(1) == 1


@pytest.mark.parametrize(
    "source", ["import os; os._exit(7)", "import os; os.kill(os.getpid(), 11)", "import os; os.close(3); os._exit(1)"]
)
def test_a_worker_that_ends_is_gone(worker, source):
    one = worker(function(ANY, ANY), {"code.py": f"def f(x): {source}"})
    with pytest.raises((WorkerGone, ConnectionError)):
        one.run_json(1)
    assert one.wait_gone() != 0
    if "11" in source:
        assert "Segmentation fault" in one.stderr()  # with where in Python it was


STEPS = """
import threading
from dlhub_worker import cancelled, progress

def f(x):
    if x == "elsewhere":
        caught = []
        def tell():
            try:
                progress(1)
            except RuntimeError as error:
                caught.append(str(error))
        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        return caught
    if x == "wrong":
        progress(partial=float("nan"))
    if x == "much":
        progress(text="x" * (2 << 20))
    progress(0.5, "half", [1, 2])
    progress(7, partial=Odd())
    while x == "wait" and not cancelled():
        pass
    return cancelled()

class Odd:
    def tolist(self):
        return {"a": 1}

assert not cancelled()
progress(0.1)  # nobody listens: there is no run
"""


def test_progress_and_cancelled(worker):
    one = worker(function(ANY, ANY), {"code.py": STEPS})
    assert one.run_json("go") is False
    assert one.progress == [
        (1, {"progress": 0.5, "text": "half", "partial": [1, 2]}),
        (1, {"progress": 1.0, "partial": {"a": 1}}),
    ]
    assert one.run_json("elsewhere") == ["only the thread that the servable is called in may ask or tell the hub"]
    assert "Out of range float" in failure(lambda: one.run_json("wrong"))["message"]
    assert "at most 1048576" in failure(lambda: one.run_json("much"))["message"]
    one.send(encode(RUN, encode_run("run", [("input_0", "JSON", [], b'"wait"')]), 99))
    assert one.receive()[0] == PROGRESS  # it has begun
    one.send(encode(CANCEL, run=99))
    kind, run, payload = one.next_answer()
    assert (kind, run) == (RESULT, 99)
    assert decode_run(payload, {})[0][0][3] == b"true"
    assert one.run_json("go") is False  # the next one is wanted


def test_writing_to_the_socket_breaks_only_this_worker(worker):
    one = worker(function(ANY, ANY), {"code.py": "import os\ndef f(x):\n  os.write(3, b'garbage' * 10)\n  return x"})
    tensors = [("input", "JSON", [], b"1")]
    with pytest.raises(WorkerGone):
        one.run_raw(tensors)


def test_walls(worker, monkeypatch):
    code = """
import os, socket
def f(x):
    def tried(what):
        try:
            what()
            return 'could'
        except OSError as error:
            return 'no'
    return [tried(lambda: open('/model/new', 'w')), tried(lambda: socket.create_connection(('127.0.0.1', 1), 1)),
            os.environ.get('DLHUB_SECRET')]
"""
    monkeypatch.setenv("DLHUB_SECRET", "x")
    one = worker(function(ANY, ANY), {"code.py": code})
    assert one.run_json(1) == ["no", "no", None]


@pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer has no memory limit")
def test_memory_limit_is_an_error_of_the_run(worker):
    one = worker(function(ANY, ANY), {"code.py": "def f(x):\n  return len(bytearray(x))"}, memory=256 << 20)
    told = failure(lambda: one.run_json(1 << 30))
    assert told["code"] == "RESOURCE_EXHAUSTED"
    assert one.run_json(5) == 5


@pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer keeps what is freed")
def test_runs_leak_nothing(worker):
    """100,000 runs, pipelined, then the resident size is what it was."""
    one = worker(function(ANY, STRING), {"code.py": "def f(x): return 'hello world'"})

    def runs(count, batch=50):
        frame = encode(RUN, encode_run("run", [("input", "JSON", [], b'{"a":[1,2.5,"x"]}')]), 7)
        for _ in range(count // batch):
            one.sock.sendall(frame * batch)
            for _ in range(batch):
                one.receive()

    def resident(pid=one.process.pid):
        """Of the process and all below it."""
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        return int(open(f"/proc/{pid}/statm").read().split()[1]) * 4096 + sum(map(resident, map(int, children)))

    runs(5000)
    before = resident()
    runs(100000)
    assert resident() - before < 512 * 1024
