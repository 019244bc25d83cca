"""The demo's hub: one dlhubd over build/demo/data that outlives the demo; its process and address stand in files."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

READY_S = 30


class Hub:
    def __init__(self, programs, folder, port):
        self.programs, self.folder, self.port = programs, folder, port
        self.data, self.log, self.pid_file = folder / "data", folder / "hub.log", folder / "hub.pid"
        self.url = None

    def start(self):
        """Ends what a former demo left running, and starts afresh on the same data."""
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self.folder / "hub.out"
        with open(said, "w") as out, open(self.log, "ab") as log:
            process = subprocess.Popen(
                [self.programs / "dlhubd", "--data", self.data, "--http", f"127.0.0.1:{self._free_port()}", "--grpc", ""],
                stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True)
        until = time.monotonic() + READY_S
        while "ready" not in said.read_text():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the hub did not start; the end of {self.log}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        self.pid_file.write_text(f"{process.pid}\n")
        self.url = said.read_text().split()[-1]

    def stop(self):
        pid = self._running()
        if pid:
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + READY_S
            while self._running() and time.monotonic() < until:
                time.sleep(0.02)
                try:
                    os.waitpid(pid, os.WNOHANG)  # where it is our own child
                except ChildProcessError:
                    pass
        self.pid_file.unlink(missing_ok=True)

    def _running(self):
        """The process of a demo's hub on this data, or None."""
        try:
            pid = int(self.pid_file.read_text())
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if str(self.data).encode() in words else None

    def _free_port(self):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
                return self.port
            except OSError:
                return 0
