"""What every shim has: the servable's document, its files, and its methods as callables."""

import importlib
import os
from importlib import metadata

from .. import schema as types
from ..errors import BadServable


class Servable:
    """A loaded servable. `method()` gives what is called with the inputs in order and the parameters by name."""

    engine = "python"
    framework = "Python"

    def __init__(self, document, directory):
        self.block = document["servable"]
        self.options = self.block.get("options") or {}
        self.files = (document.get("dlhub") or {}).get("files") or {}
        self.directory = directory
        self.threads = max(1, int(document.get("threads") or 1))
        self.load()

    def load(self):
        raise NotImplementedError

    def method(self, name, block):
        raise NotImplementedError

    def path(self, key):
        """The file that `dlhub.files` names as `key`; None where it names none."""
        name = self.files.get(key)
        return self.resolve(name) if name else None

    def resolve(self, name):
        root = os.path.realpath(self.directory)
        path = os.path.realpath(os.path.join(root, name.lstrip("/")))
        if path != root and not path.startswith(root + os.sep):
            raise BadServable(f"dlhub.files: {name!r} lies outside the servable's folder")
        if not os.path.exists(path):
            raise BadServable(f"dlhub.files: there is no file {name!r} among the servable's files")
        return path

    def model_path(self, *suffixes):
        """`dlhub.files.model`, or the only file with one of the suffixes."""
        path = self.path("model")
        if path:
            return path
        found = [name for name in self.files.get("other") or [] if name.endswith(suffixes)]
        if len(found) == 1:
            return self.resolve(found[0])
        raise BadServable("dlhub.files.model: is missing; it names the model's file")


def input_names(block):
    return [name for name, _ in types.arguments(block.get("input"), "input")]


def output_names(block):
    return [name for name, _ in types.arguments(block.get("output"), "output")]


def details(block):
    return block.get("method_details") or {}


def import_path(path):
    """The object at a dotted path, as "package.module.Class"."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def version_of(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"
