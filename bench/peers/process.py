"""A server that the bench starts, and ends whatever happens."""

import pathlib
import signal
import subprocess

from measure import Failed, tree


class Server:
    name = "server"

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.process = None

    def launch(self, command, environment=None, **options) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "log", "ab")
        options = {"stdout": self.log, "stderr": self.log, **options}
        self.process = subprocess.Popen([str(c) for c in command], env=environment, **options)

    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def log_text(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def check_alive(self) -> bool:
        if self.process.poll() is not None:
            tail = self.log_text()[-600:]
            raise Failed(f"{self.name} ended with {self.process.returncode}: {tail}")
        return True

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
