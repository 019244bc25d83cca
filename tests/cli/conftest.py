import pytest

from scripted import Cli, ScriptedHub


@pytest.fixture
def scripted():
    hub = ScriptedHub()
    yield hub
    hub.close()


@pytest.fixture
def cli(scripted, tmp_path):
    """`dlhub` talking to the scripted hub."""
    return Cli(tmp_path, scripted.url, "dlh_test")
