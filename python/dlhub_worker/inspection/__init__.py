"""What a servable is, found by loading it: the document of `dlhub-worker-python --inspect`.

`dlhub-build inspect` reads in C what a file says by itself; this part does what only the framework can tell. What the
publisher's metadata says stands; what it leaves out is found.
"""

import json
import os
import sys
import traceback

from .. import shims
from ..errors import EXIT_CODES, BadServable, WorkerError, report
from . import export, guess

SUMMARY_MAX = 10000


class Inspected:
    """What an inspector found."""

    servable = None  # the loaded servable, where the framework has an exporter

    def __init__(self, methods, model_type=None, summary=None, options=None, notes=(), golden=None):
        self.methods = methods
        self.model_type = model_type
        self.summary = summary
        self.options = options or {}
        self.notes = list(notes)
        self.golden = golden


def _inspector(kind):
    """The module that knows the type, imported only then: each imports its framework."""
    import importlib

    names = {
        "Scikit-learn estimator": "sklearn",
        "Keras Model": "keras",
        "Torch Model": "torch",
        "ONNX Model": "onnx",
        "TensorFlow Model": "tensorflow",
        "Python static method": "python",
        "Python class method": "python",
    }
    if kind not in names:
        raise BadServable(f"servable.type: {kind!r} is none that this hub knows", hint="known: " + ", ".join(names))
    return importlib.import_module(f"{__name__}.{names[kind]}")


def _merge_methods(given, found):
    """The publisher's methods, each with what it leaves out taken from what was found."""
    if not given:
        return found
    merged = {}
    for name, method in given.items():
        base = found.get(name, {})
        merged[name] = {**base, **{key: value for key, value in method.items() if value not in (None, {})}}
        merged[name]["method_details"] = {**base.get("method_details", {}), **(method.get("method_details") or {})}
    return {**{name: method for name, method in found.items() if name not in merged}, **merged}


def inspect(directory, metadata, export_to=None):
    """The inspection of the servable in `directory`, as a dict. What the framework can export goes to the
    descriptor `export_to`."""
    given = dict(metadata.get("servable") or {})
    files = guess.files(directory, (metadata.get("dlhub") or {}).get("files"))
    kind = given.get("type") or guess.servable_type(files)
    module = _inspector(kind)
    shim = given.get("shim") or shims.SHIM_OF_TYPE[kind]
    block = {**given, "type": kind, "shim": shim, "methods": given.get("methods") or {}}
    found = module.inspect({"servable": block, "dlhub": {"files": files}}, directory)
    servable = {
        "type": kind,
        "shim": shim,
        **({"model_type": found.model_type} if found.model_type else {}),
        **({"model_summary": cut(found.summary)} if found.summary else {}),
        **{key: value for key, value in given.items() if value not in (None, "")},
        "methods": _merge_methods(given.get("methods"), found.methods),
        "options": {**found.options, **(given.get("options") or {})},
    }
    document = {
        "servable": servable,
        "dlhub": {"files": files},
        "engine": "python",
        "needs_python": True,
        "framework": found.framework,
        "notes": found.notes,
    }
    if found.golden:
        document["golden"] = found.golden
    if export_to and found.servable:
        request = (metadata.get("golden") or found.golden or {}).get("request")
        document["export"] = export.export(found.servable, servable, request, export_to)
    return document


def cut(text):
    return text if len(text) <= SUMMARY_MAX else text[:SUMMARY_MAX] + "<<TRUNCATED>>"


def main(directory, metadata_fd, out_fd, export_to=None):
    """Reads the metadata from one descriptor and writes the document to the other. An error is one line of JSON on
    stdout; what the servable prints goes to stderr, which is the build log."""
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(metadata_fd, encoding="utf-8") as file:
            metadata = json.load(file)
        sys.path.insert(0, directory)
        os.chdir(directory)
        document = inspect(directory, metadata, export_to)
        with open(out_fd, "w", encoding="utf-8") as file:
            json.dump(document, file)
        return 0
    except BaseException as error:  # a servable may raise anything while it is loaded
        if not isinstance(error, WorkerError):
            traceback.print_exc()
        code, message, hint, _ = report(error)
        code = "FAILED_PRECONDITION" if code == "UNKNOWN" else code
        told = {
            "code": code,
            "message": f"the servable cannot be loaded: {message}",
            **({"hint": hint} if hint else {}),
        }
        os.write(answer, (json.dumps({"error": told}) + "\n").encode())
        return EXIT_CODES.get(code, 1)
