"""The exceptions are the rows of api/errors.json."""
import json
import pathlib

import pytest

import dlhub
from dlhub import errors

ROWS = [row for row in json.loads((pathlib.Path(__file__).resolve().parents[2] / "api" / "errors.json").read_text())["errors"] if row["name"] != "OK"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_each_row_has_its_exception(row):
    kind = errors.BY_CODE[row["name"]]
    assert (kind.__name__, kind.retry) == (row["python"], row["retry"])
    assert getattr(dlhub, row["python"]) is kind
    assert issubclass(kind, errors.DLHubError)
    made = errors.from_document({"error": "what", "code": row["name"], "hint": "do"}, row["http"])
    assert type(made) is kind and str(made) == "what\n  what to do: do"


def test_there_are_no_others():
    assert set(errors.BY_CODE) == {row["name"] for row in ROWS}
    statuses = {row["http"] for row in ROWS}
    for status, kind in errors.BY_STATUS.items():
        assert status in statuses | {502}
        assert kind.code in {row["name"] for row in ROWS if row["http"] == status} | ({"UNAVAILABLE"} if status == 502 else set())


def test_the_usual_python_ways_to_catch_them_work():
    with pytest.raises(ValueError):
        raise dlhub.InvalidArgument("x")
    with pytest.raises(LookupError):
        raise dlhub.NotFound("x")
