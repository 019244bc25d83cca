"""The SDK of this tree, without installing it; and hubs as it sees them."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))


@pytest.fixture(autouse=True)
def nobody_configured(monkeypatch, tmp_path):
    """No test sees the settings of whoever runs it."""
    for name in ("DLHUB_ENDPOINT", "DLHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def sdk(shared_hub):
    """The administrator's connection."""
    import dlhub
    with dlhub.Hub(shared_hub.url, shared_hub.token) as hub:
        yield hub


@pytest.fixture
def anonymous(shared_hub):
    import dlhub
    with dlhub.Hub(shared_hub.url) as hub:
        yield hub
