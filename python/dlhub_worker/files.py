"""Files among the arguments of a run: each run has a folder of its own while it lasts."""

import mimetypes
import os
import shutil
import tempfile


class RunFiles:
    def __init__(self):
        self._folder = None
        self._count = 0

    def put(self, content, name=None, schema=None):
        """Writes one file and returns its path."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="run-")
        name = os.path.basename(name or "")
        if not name or name in (".", "..") or "\0" in name:
            kinds = schema.get("file_types") if isinstance(schema, dict) else None
            name = "input" + ((mimetypes.guess_extension(kinds[0]) or "") if kinds else "")
        folder = os.path.join(self._folder, str(self._count))
        os.mkdir(folder)
        self._count += 1
        path = os.path.join(folder, name[-200:])
        with open(path, "wb") as file:
            file.write(content)
        return path

    def finish(self):
        """The run is over."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder, self._count = None, 0
