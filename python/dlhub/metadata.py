"""The metadata document of a publish, from what the publisher says in words."""

import datetime
import pathlib

from .errors import InvalidArgument

SHIMS = {"Python static method": "python.PythonStaticMethodServable",
         "Python class method": "python.PythonClassMethodServable"}


def _creator(name):
    family, _, given = name.partition(", ")
    creator = {"creatorName": name}
    return {**creator, "familyName": family, "givenName": given} if given else creator


def requirements(wanted):
    """{"numpy": "1.26.4" or None} of a requirements.txt, a list of requirements, or such a mapping."""
    if wanted is None or isinstance(wanted, dict):
        return dict(wanted or {})
    lines = pathlib.Path(wanted).read_text().splitlines() if isinstance(wanted, (str, pathlib.PurePath)) else wanted
    found = {}
    for line in lines:
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        end = next((i for i, c in enumerate(line) if not (c.isalnum() or c in "._-[],")), len(line))
        name, version = line[:end], line[end:].strip()
        if not name or ";" in version or "@" in version or (version and version[0] not in "=<>!~"):
            raise InvalidArgument(f"'{line}' cannot be used as a requirement", "write it as NAME or NAME==VERSION")
        found[name] = version.removeprefix("==") or None
    return found


def python_servable(path, function=None, class_name=None, method=None, arguments=None):
    """The servable block of a Python function or method; the hub finds inputs and outputs in the type hints."""
    details = {"module": pathlib.Path(path).stem, "method_name": function or method}
    if class_name:
        details["class_name"] = class_name
        if arguments:
            details["arguments"] = arguments
    kind = "Python class method" if class_name else "Python static method"
    return {"type": kind, "shim": SHIMS[kind],
            "methods": {"run": {"method_details": {k: v for k, v in details.items() if v is not None}}}}


def golden(example_input, example_output=None, *, rtol=None, atol=None, framework=None):
    """The golden test: an input as run() takes it, and what the servable must give for it."""
    record = {"request": {"data": example_input}, "source": "publisher"}
    if example_output is not None:
        record["response"] = {"output": example_output}
    optional = {"rtol": rtol, "atol": atol, "framework": framework}
    return {**record, **{key: value for key, value in optional.items() if value is not None}}


def document(name, title, *, owner=None, description=None, creators=(), domains=(), visible_to=None, dependencies=None,
             system_packages=None, network=None, serving=None, servable=None, golden_test=None, base=None):
    """The whole document; what `base` (a document, as of a dlhub.json) says stays where nothing else is said."""
    base = {key: dict(value) for key, value in (base or {}).items() if isinstance(value, dict)}
    datacite, dlhub = base.setdefault("datacite", {}), base.setdefault("dlhub", {})
    if title:
        datacite["titles"] = [{"title": title}]
    datacite.setdefault("publicationYear", str(datetime.date.today().year))
    if creators:
        datacite["creators"] = [_creator(one) for one in creators]
    if description:
        datacite["descriptions"] = [{"description": description, "descriptionType": "Abstract"}]
    said = {"name": name, "owner": owner, "domains": list(domains) or None, "system_packages": system_packages,
            "network": network, "serving": serving, "visible_to": [visible_to] if isinstance(visible_to, str) else visible_to}
    dlhub.update({key: value for key, value in said.items() if value is not None})
    dlhub.setdefault("type", "servable")
    if dependencies:
        dlhub["dependencies"] = {"python": {**(dlhub.get("dependencies") or {}).get("python", {}), **dependencies}}
    if servable:
        base["servable"] = servable
    if golden_test:
        base["golden"] = golden_test
    if not dlhub.get("name"):
        raise InvalidArgument("a servable needs a name", "publish(path, name=\"iris\", title=\"…\")")
    return base
