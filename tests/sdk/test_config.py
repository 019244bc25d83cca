"""Endpoint and token: argument, environment, file; a stored token is shown to its own hub only."""
import json

import pytest

import dlhub
from dlhub import config


def store(**document):
    path = config.path()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))


def test_nothing_said():
    assert config.endpoint_and_token() == ("http://127.0.0.1:8000", None)


def test_the_argument_stands_over_the_environment_and_that_over_the_file(monkeypatch):
    store(endpoint="http://file:1", token="of-file")
    assert config.endpoint_and_token() == ("http://file:1", "of-file")
    monkeypatch.setenv("DLHUB_ENDPOINT", "environment:2")
    assert config.endpoint_and_token() == ("http://environment:2", None)
    monkeypatch.setenv("DLHUB_TOKEN", " of-environment\n")
    assert config.endpoint_and_token() == ("http://environment:2", "of-environment")
    assert config.endpoint_and_token("argument:3/", "given") == ("http://argument:3", "given")


def test_a_stored_token_goes_to_its_own_hub_only():
    store(endpoint="https://Hub.example.org/", token="t")
    assert config.endpoint_and_token("https://hub.example.org")[1] == "t"
    assert config.endpoint_and_token("https://other.example.org")[1] is None


@pytest.mark.parametrize("bad", ["ftp://x", "http://", "http://user@x", "http://x/?q=1"])
def test_what_is_no_address(bad):
    with pytest.raises(dlhub.InvalidArgument):
        dlhub.Hub(bad)


def test_a_token_with_a_line_end_inside():
    with pytest.raises(dlhub.InvalidArgument):
        dlhub.Hub(token="a\nb")


def test_a_file_that_is_no_json():
    config.path().parent.mkdir(parents=True)
    config.path().write_text("{")
    with pytest.raises(dlhub.InvalidArgument, match="config.json"):
        dlhub.Hub()
