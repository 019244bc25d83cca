"""Serves one servable: binds shims and values to the loop in C (src/worker/python_ext.c)."""

import copy
import gc
import json
import os
import signal
import sys

from . import schema as types
from . import shims, values
from .errors import BadServable, report
from .files import RunFiles

# Letters of enum python_output_kind in src/worker/python_value.h.
OUTPUT_KINDS = {"string": "s", "float": "r", "integer": "i", "number": "n", "boolean": "b", "ndarray": "a", "file": "f"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def describe_input(schema, files):
    kind = types.kind(schema)
    if kind == "ndarray":
        return None
    if kind == "file":
        return lambda content: files.put(content, None, schema)
    return values.input_converter(schema, files)


def describe_output(name, schema):
    kind = types.kind(schema)
    place = f"output {name!r}"
    letter = OUTPUT_KINDS.get(kind, "j")
    convert = {"a": values.array_out, "f": values.file_out}.get(letter, values.json_out)
    datatype = types.array_datatype(schema) if letter == "a" else None
    return (
        name,
        letter,
        datatype if datatype in types.NUMPY_OF else None,
        types.array_shape(schema) if letter == "a" else None,
        lambda value: convert(value, schema, place),
    )


def _is_mutable(value):
    return isinstance(value, (list, dict))


def describe_method(name, block, servable):
    """The tuple that python_method_init() in src/worker/python_method.c takes."""
    files = RunFiles()
    inputs = types.arguments(block.get("input"), "input")
    outputs = types.arguments(block.get("output"), "output")
    defaults = block.get("parameters") or {}
    call = servable.method(name, block)
    if any(map(_is_mutable, defaults.values())):  # a run must not change what the next one gets
        function = call

        def call(*arguments, **parameters):
            return function(
                *arguments,
                **{key: copy.deepcopy(value) if _is_mutable(value) else value for key, value in parameters.items()},
            )

    def merge(text):
        return {**defaults, **json.loads(text)}

    has_files = any("file" in json.dumps(schema) for _, schema in inputs)
    return (
        name,
        call,
        defaults or None,
        merge,
        files.finish if has_files else None,
        tuple(describe_input(schema, files) for _, schema in inputs),
        tuple(describe_output(*one) for one in outputs),
        types.is_tuple(block.get("output")),
    )


def load(text):
    """Loads the servable of a LOAD document: (framework, engine, methods)."""
    document = json.loads(text)
    directory = document["directory"]
    for name in THREAD_VARIABLES:
        os.environ[name] = str(document.get("threads") or 1)
    sys.path.insert(0, directory)
    os.chdir(directory)
    methods = document["servable"].get("methods")
    if not isinstance(methods, dict) or "run" not in methods:
        raise BadServable("servable.methods: must have at least the method 'run'")
    servable = shims.create(document, directory)
    described = [describe_method(name, block, servable) for name, block in methods.items()]
    return servable.framework, servable.engine, described


def settle():
    """What is here now stays: the collector need not look at it again, which would write to pages that forks share."""
    gc.collect()
    gc.freeze()


def load_worker(text):
    loaded = load(text)
    settle()
    return loaded


def serve(descriptor, directory, zygote=False):
    """Serves until the hub closes the socket; returns the exit status."""
    from . import _frames

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's; the hub decides when a worker ends
    if zygote:
        from .zygote import Zygote

        forks = Zygote(directory)
        return _frames.serve(descriptor, forks.load, report, directory, forks)
    return _frames.serve(descriptor, load_worker, report, directory, None)
