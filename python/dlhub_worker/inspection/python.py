"""Python functions and methods: inputs from the type hints, parameters from the defaults."""

import inspect as python_inspect
import json
import typing

from ..errors import BadServable
from ..shims.base import details
from ..shims.python import PythonClassMethodServable, PythonStaticMethodServable
from . import Inspected, hints

NAMES = ("run", "predict", "__call__", "transform")


def _hints(function):
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # names that only exist for the type checker
        return getattr(function, "__annotations__", {})


def _is_json(value):
    try:
        json.dumps(value, allow_nan=False)
        return True
    except (TypeError, ValueError):
        return False


def _signature(function):
    """([parameters that a caller must give], {name: default} of the others)."""
    try:
        parameters = python_inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return None, {}
    named = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in named if one.default is one.empty]
    if not required and named:  # what has only defaults is still called with an input
        required, named = named[:1], named[1:]
    defaults = {
        one.name: one.default
        for one in parameters
        if one not in required
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and one.default is not one.empty
    }
    return required, {name: value for name, value in defaults.items() if value is not None and _is_json(value)}


def describe_function(function):
    """{"input", "output", "parameters", "method_details"} of a callable."""
    hinted = _hints(function if python_inspect.isroutine(function) else type(function).__call__)
    required, defaults = _signature(function)
    output = hints.describe(hinted.get("return", typing.Any))
    if required is None:
        return {"input": hints.describe(typing.Any), "output": output, "parameters": {}, "method_details": {}}
    inputs = [hints.describe(hinted.get(one.name, typing.Any)) for one in required]
    if len(required) == 1:
        return {"input": inputs[0], "output": output, "parameters": defaults, "method_details": {}}
    elements = [{**one, "name": parameter.name} for one, parameter in zip(inputs, required)]
    return {
        "input": {"type": "tuple", "element_types": elements},
        "output": output,
        "parameters": defaults,
        "method_details": {"unpack": True},
    }


def _summary(function, owner=None):
    return python_inspect.getdoc(function) or (python_inspect.getdoc(owner) if owner is not None else None)


def _choose_method(target, about):
    """The method of an object that `run` is, where the metadata names none."""
    if about.get("method_name"):
        return about["method_name"]
    for name in NAMES:
        if callable(getattr(target, name, None)):
            return name
    public = [name for name in dir(target) if not name.startswith("_") and callable(getattr(target, name))]
    if len(public) == 1:
        return public[0]
    raise BadServable(
        f"which method of {type(target).__name__} is to run? It has {', '.join(public) or 'none'}",
        hint="name it: method_details.method_name in the metadata, or --method",
    )


def inspect(document, directory):
    block = document["servable"]
    block["methods"] = block["methods"] or {"run": {}}
    if block["type"] == "Python class method":
        servable = PythonClassMethodServable(document, directory)
        target = servable.target
    else:
        servable, target = PythonStaticMethodServable(document, directory), None
    methods, summary = {}, None
    for name, method in block["methods"].items():
        about = dict(details(method))
        if target is not None:
            about["method_name"] = _choose_method(target, about) if name == "run" else about.get("method_name", name)
        elif "module" not in about:
            about["module"] = details(block["methods"]["run"]).get("module")
        function = servable.function(name, {"method_details": about})
        methods[name] = found = describe_function(function)
        if found["method_details"].get("unpack") and method.get("input"):
            found["method_details"] = {}  # the publisher's input may be meant as it is
        found["method_details"] = {**found["method_details"], **about}
        summary = summary or _summary(function, target)
    inspected = Inspected(methods, type(target).__name__ if target is not None else None, summary)
    inspected.framework = servable.framework
    return inspected
