"""A process that loads a servable once and forks workers of it; src/worker/zygote.c does the forking."""

import gc
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from . import randomness, serve, values


class Zygote:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.temporary = tempfile.gettempdir()

    def load(self, text):
        """As a worker does, with what the first run would import: so the workers share that, too."""
        randomness.watch()
        loaded = serve.load(text)
        if '"ndarray"' in text and importlib.util.find_spec("numpy"):
            values.numpy()
        gc.collect()
        randomness.note()
        serve.settle()
        return loaded

    def reason(self):
        """Why it must not be forked, where C cannot see it; else None."""
        for path in self.directory.rglob("*.py"):
            if b"/tmp" in path.read_bytes():
                return f"{path.relative_to(self.directory)} names files in /tmp, which its workers would share"
        return None

    def _folder(self, pid):
        return os.path.join(self.temporary, f"worker-{pid}")

    def forked(self):
        """In each worker: temporary files and random numbers of its own."""
        folder = self._folder(os.getpid())
        os.mkdir(folder, 0o700)
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = None  # it is looked up anew
        randomness.renew()

    def ended(self, pid):
        shutil.rmtree(self._folder(pid), ignore_errors=True)
