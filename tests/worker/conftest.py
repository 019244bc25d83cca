"""Fixtures for workers; what they are made of is in workers.py."""

import pytest

from workers import HEAVY_PACKAGES, PACKAGES, Worker, make_environment


@pytest.fixture(scope="session")
def environment():
    return make_environment(PACKAGES)


@pytest.fixture(scope="session")
def heavy_environment():
    return make_environment(HEAVY_PACKAGES)


@pytest.fixture
def worker(tmp_path):
    """Starts workers: worker(document, {file name: text or bytes}, environment=None) -> Worker that is loaded."""
    started = []

    def start(document, files=None, environment=None, folder=None, load=True, **options):
        model = folder or tmp_path / f"model-{len(started)}"
        model.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            path = model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        for path in [model, *model.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        one = Worker(model, environment, **options)
        started.append(one)
        if load:
            one.ready = one.load({"directory": str(model), **document})
        return one

    yield start
    for one in started:
        one.close()


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: needs TensorFlow (some 500 MB of wheels) or PyTorch")
