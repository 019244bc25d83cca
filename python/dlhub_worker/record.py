"""Records what the publisher's own framework answers: `python3 -m dlhub_worker.record`.

Runs where the model was made, through the same shims as the hub's worker but without its walls and its extension, and
writes {"request", "response", "framework", "rtol", "atol", "source"}: the golden test that the published version must
pass. Where the framework is not installed, or no example can be made, it says so in one line and ends with 11.
"""

import argparse
import json
import os
import sys

from . import example, protocol, shims
from .errors import BadInput, BadServable, WorkerError
from .files import RunFiles
from .inspection import inspect
from .inspection.guess import TYPE_OF_SUFFIX

EXIT_CANNOT = 11
RTOL, ATOL = 1e-4, 1e-5


class Cannot(Exception):
    """There is nothing to record here; the hub's first run will do."""


def read_input(path):
    """A .npy file as an array, anything else as JSON."""
    with open(path, "rb") as file:
        content = file.read()
    if content[:6] == b"\x93NUMPY":
        import numpy

        return numpy.load(path, allow_pickle=False)
    try:
        return json.loads(content)
    except ValueError as error:
        raise BadInput(f"{path} is neither .npy nor JSON: {error}") from error


def place(path, metadata):
    """(folder, metadata with dlhub.files) of a model's file or folder."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return path, metadata
    if not os.path.exists(path):
        raise BadInput(f"{path} does not exist")
    folder, name = os.path.split(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in TYPE_OF_SUFFIX and suffix != ".py":
        raise Cannot(f"{name} is neither a model's file nor a folder")
    if (metadata.get("dlhub") or {}).get("files"):
        return folder, metadata
    key = "model" if suffix in TYPE_OF_SUFFIX else "other"
    kind = (metadata.get("servable") or {}).get("type")
    files = (
        {"pickle": name}
        if kind == "Python class method" and key == "model"
        else {key: name if key == "model" else [name]}
    )
    return folder, {**metadata, "dlhub": {**(metadata.get("dlhub") or {}), "files": files}}


def request_of(block, given, value):
    """The request of the example: what the metadata has, what --input gives, or a made-up one."""
    if value is not None:
        return protocol.request(block, value)
    if "inputs" in given:
        return given
    if "data" in given:
        return {
            **protocol.request(block, given["data"]),
            **({"parameters": given["parameters"]} if given.get("parameters") else {}),
        }
    try:
        return protocol.request(block, example.make(block.get("input") or {}))
    except BadInput as error:
        raise Cannot(f"{error}") from error


def record(path, metadata, value=None):
    """The golden document."""
    directory, metadata = place(path, metadata)
    sys.path.insert(0, directory)
    os.chdir(directory)
    found = inspect(directory, metadata)
    servable = shims.create({"servable": found["servable"], "dlhub": found["dlhub"]}, directory)
    block = found["servable"]["methods"]["run"]
    given = metadata.get("golden") or {}
    request = request_of(block, given.get("request") or found.get("golden", {}).get("request") or {}, value)
    files = RunFiles()
    try:
        arguments = protocol.method_arguments(block, request, files)
        parameters = {**(block.get("parameters") or {}), **(request.get("parameters") or {})}
        answer = servable.method("run", block)(*arguments, **parameters)
        response = protocol.response(block, answer)
    finally:
        files.finish()
    return {
        "request": request,
        "response": response,
        "framework": servable.framework,
        "rtol": given.get("rtol", RTOL),
        "atol": given.get("atol", ATOL),
        "source": "publisher",
    }


def read_metadata(path, kind):
    metadata = {}
    if path:
        with open(path, encoding="utf-8") as file:
            metadata = json.load(file)
    if kind:
        metadata = {**metadata, "servable": {**(metadata.get("servable") or {}), "type": kind}}
    return metadata


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="dlhub_worker.record", description="records what the model's own framework answers"
    )
    parser.add_argument("--model", "--path", required=True, help="the model's file or folder")
    parser.add_argument("--type", help='the type of the servable, as "Keras Model"; found where it is a model file')
    parser.add_argument("--metadata", help="the metadata document")
    parser.add_argument("--input", help="an example input: .npy or JSON")
    parser.add_argument("--out", required=True, help="where the record goes")
    given = parser.parse_args(arguments)
    out = os.path.abspath(given.out)
    try:
        value = read_input(given.input) if given.input else None
        golden = record(given.model, read_metadata(given.metadata, given.type), value)
    except (Cannot, ImportError, protocol.NoJson) as error:
        print(f"nothing is recorded: {error}", file=sys.stderr)
        return EXIT_CANNOT
    except WorkerError as error:
        print(error if not error.hint else f"{error}\n{error.hint}", file=sys.stderr)
        return 8 if isinstance(error, BadServable) else 2 if isinstance(error, BadInput) else 1
    with open(out, "w", encoding="utf-8") as file:
        json.dump(golden, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
