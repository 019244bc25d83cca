"""Our schema validator against another one, over our own schemas and over the official test suite."""
import copy
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("DLHUB_BUILD", ROOT / "build"))
PROGRAM = BUILD / "tests" / "schema" / "schema_validate"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "api" / "schemas").glob("*.json"))}
CASES = json.loads((pathlib.Path(__file__).parent / "cases.json").read_text())
SUITE_PACKAGE = "jsonschema==4.23.0"  # its source distribution carries the official suite


def ours(lines):
    """The program's answers: for each line a list (None: valid, text: why not) or a text: why the line was refused."""
    done = subprocess.run([PROGRAM], input="".join(json.dumps(line) + "\n" for line in lines), text=True,
                          stdout=subprocess.PIPE, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines)
    return [answer.get("answers", answer.get("refused")) for answer in answers]


def theirs(root):
    registry = Registry().with_resources(
        (f"{name}.json", Resource(contents=schema, specification=DRAFT7)) for name, schema in SCHEMAS.items())
    return jsonschema.Draft7Validator(SCHEMAS[root], registry=registry)


def built(case):
    """The case's document: the base of its root with its changes, {"a/0/b": value}; the value "DELETE" removes."""
    document = copy.deepcopy(CASES["bases"][case["base"]])
    for path, value in case.get("set", {}).items():
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        at = document
        for step in steps:
            at = at[step]
        if value == "DELETE":
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return document


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_schema_is_a_schema(schema):
    jsonschema.Draft7Validator.check_schema(schema)


def test_the_cases_are_judged_right():
    documents = [(case, built(case)) for case in CASES["cases"]]
    answers = ours([{"root": CASES["roots"][case["base"]], "values": [document]} for case, document in documents])
    for (case, document), answer in zip(documents, answers):
        assert isinstance(answer, list), answer
        expected = case.get("error")
        assert theirs(CASES["roots"][case["base"]]).is_valid(document) == (expected is None), case
        assert answer[0] == expected or (expected and expected in (answer[0] or "")), (case, answer)


def mutations(document, count, seed):
    """Documents that differ from `document` in one place, at random but always the same ones."""
    chance = random.Random(seed)
    values = [None, True, 0, 1, -1, 2.0, 2.5, "", "x", "public", "ndarray", "a b", [], ["x"], [1], {}, {"x": 1},
              {"type": "float"}, {"type": "file"}]
    places = []

    def walk(value, path):
        places.append(path)
        if isinstance(value, dict):
            for key, member in value.items():
                walk(member, path + [key])
        if isinstance(value, list):
            for index, member in enumerate(value):
                walk(member, path + [index])

    walk(document, [])
    for _ in range(count):
        changed = copy.deepcopy(document)
        path = chance.choice(places[1:])
        at = changed
        for step in path[:-1]:
            at = at[step]
        what = chance.random()
        if what < 0.3:
            del at[path[-1]]
        elif what < 0.4 and isinstance(at, dict):
            at["surplus"] = chance.choice(values)
        else:
            at[path[-1]] = chance.choice(values)
        yield changed


@pytest.mark.parametrize("base", CASES["bases"])
def test_changed_documents_are_judged_alike(base):
    root = CASES["roots"][base]
    documents = list(mutations(CASES["bases"][base], 400, base))
    [answers] = ours([{"root": root, "values": documents}])
    judge = theirs(root)
    for document, answer in zip(documents, answers):
        assert judge.is_valid(document) == (answer is None), (document, answer)
    assert any(answers) and not all(answers)


@pytest.fixture(scope="module")
def suite():
    """Folder of the official suite's draft-07 tests. Taken from a package's source distribution, once."""
    folder = pathlib.Path(os.environ.get("DLHUB_JSON_SCHEMA_SUITE", BUILD / "json-schema-suite"))
    if not folder.is_dir():
        got = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "jsonschema",
                              "--dest", folder.parent / "json-schema-suite.download", SUITE_PACKAGE],
                             capture_output=True, text=True, timeout=300, check=False)
        if got.returncode != 0:
            pytest.skip(f"the official suite could not be fetched with pip: {got.stderr.strip()[-200:]}")
        [package] = (folder.parent / "json-schema-suite.download").glob("jsonschema-*.tar.gz")
        with tarfile.open(package) as archive:
            for member in archive.getmembers():
                parts = pathlib.PurePosixPath(member.name).parts
                if parts[1:4] == ("json", "tests", "draft7") and len(parts) == 5 and member.isfile():
                    folder.mkdir(exist_ok=True)
                    (folder / parts[4]).write_bytes(archive.extractfile(member).read())
    return folder


# Why a group may be refused: what it is about is outside our subset.
REASONS = ["this keyword is not supported", "expected the name of the file", "a keyword beside $ref has no effect",
           "leads to no schema", "\\u0000 is not allowed"]


def test_official_suite(suite):
    agreed, refused, wrong = 0, {}, []
    for path in sorted(suite.glob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            schema = group["schema"]
            tests = group["tests"]
            [answers] = ours([{"schemas": {"test": schema}, "root": "test", "values": [test["data"] for test in tests]}])
            if isinstance(answers, str):
                refused.setdefault(path.name, []).append((group["description"], answers))
                continue
            for test, answer in zip(tests, answers):
                if test["valid"] == (answer is None):
                    agreed += 1
                else:
                    wrong.append((path.name, group["description"], test["description"], answer))
    assert not wrong
    for name, groups in refused.items():
        for description, why in groups:
            assert any(reason in why for reason in REASONS), (name, description, why)
    print(f"official suite: {agreed} agreed, {sum(map(len, refused.values()))} groups outside the subset")
    assert agreed >= 714  # a smaller number: something was taken before and is refused now
