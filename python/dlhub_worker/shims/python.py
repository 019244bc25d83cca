"""Python functions, and methods of objects that are unpickled or made once."""

import importlib
import operator
import pickle
import platform

from .. import schema as types
from ..errors import BadServable
from .base import Servable, details


def _callable(owner, name, where):
    try:
        found = operator.attrgetter(name)(owner)
    except AttributeError as error:
        raise BadServable(f"method_details.method_name: {where} has no {name!r}") from error
    if not callable(found):
        raise BadServable(f"method_details.method_name: {name!r} of {where} is not callable")
    return found


def adapt(function, block):
    """`function` as something that is called with the schema's inputs, one by one."""
    unpack = bool(details(block).get("unpack"))
    schema = block.get("input")
    kind = types.kind(schema)
    if details(block).get("autobatch"):
        if kind == "tuple":
            return lambda *inputs, **parameters: [
                function(*one, **parameters) if unpack else function(one, **parameters) for one in inputs
            ]
        if unpack:
            return lambda batch, **parameters: [function(*one, **parameters) for one in batch]
        return lambda batch, **parameters: [function(one, **parameters) for one in batch]
    if kind == "tuple":
        return function if unpack else lambda *inputs, **parameters: function(inputs, **parameters)
    if unpack and kind in ("list", "python object"):
        return lambda inputs, **parameters: function(*inputs, **parameters)
    return function


class PythonStaticMethodServable(Servable):
    """`module.method_name`; the module comes from the environment or lies among the servable's files."""

    framework = f"Python {platform.python_version()}"

    def load(self):
        self._modules = {}
        for block in self.block["methods"].values():
            name = self._module_name(block)
            self._modules[name] = importlib.import_module(name)

    def _module_name(self, block):
        name = details(block).get("module") or details(self.block["methods"]["run"]).get("module")
        if not name:
            raise BadServable(
                "servable.methods.run.method_details.module: is missing; it names the module of the function"
            )
        return name[:-3] if name.endswith(".py") else name

    def function(self, name, block):
        module = self._module_name(block)
        return _callable(self._modules[module], details(block).get("method_name") or name, f"module {module!r}")

    def method(self, name, block):
        return adapt(self.function(name, block), block)


class PythonClassMethodServable(Servable):
    """An object from `dlhub.files.pickle`, or made of `module`, `class_name` and `arguments`."""

    framework = f"Python {platform.python_version()}"

    def load(self):
        path = self.path("pickle")
        self.target = self._unpickle(path) if path else self._construct(details(self.block["methods"]["run"]))

    @staticmethod
    def _unpickle(path):
        try:
            with open(path, "rb") as file:
                return pickle.load(file)
        except AttributeError as error:
            raise BadServable(
                f"the pickle cannot be loaded: {error}",
                hint="a pickle holds only the name of the class: put the class into a module beside the pickle, "
                "not into the script that pickles it, and publish both",
            ) from error

    @staticmethod
    def _construct(about):
        if not about.get("module") or not about.get("class_name"):
            raise BadServable(
                "neither a pickle (dlhub.files.pickle) nor a class (method_details.module and class_name) is named"
            )
        module = importlib.import_module(about["module"][:-3] if about["module"].endswith(".py") else about["module"])
        cls = _callable(module, about["class_name"].rpartition(".")[2], f"module {about['module']!r}")
        arguments = about.get("arguments") or {}
        return cls(*arguments) if isinstance(arguments, list) else cls(**arguments)

    def function(self, name, block):
        return _callable(
            self.target, details(block).get("method_name") or name, f"class {type(self.target).__name__!r}"
        )

    def method(self, name, block):
        return adapt(self.function(name, block), block)
