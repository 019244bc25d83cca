"""TensorFlow's own call of a SavedModel, in a process of its own that has the bench's TensorFlow environment."""

import json
import os
import subprocess

from measure import HERE, Failed, pin
from peers.process import Server

CALLS = 400


class TensorFlow(Server):
    name = "TensorFlow"

    def __init__(self, folder, python, saved_model, example):
        super().__init__(folder)
        # -P: this folder must not hide the package of the same name.
        self.command = [python, "-P", HERE / "peers" / "tensorflow_driver.py", saved_model, example]

    def start(self) -> None:
        self.launch(self.command, dict(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.model = self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.check_alive()
            raise Failed("TensorFlow closed its output")
        return json.loads(line)

    def p50_us(self, cpu: int) -> float:
        """All of its threads on one CPU, as the hub's processes are when it is measured."""
        pin(self.pids(), {cpu})
        self.process.stdin.write(f"{CALLS}\n")
        self.process.stdin.flush()
        return self.answer()["p50_us"]

    def stop(self) -> None:
        if self.process:
            self.process.stdin.close()
        super().stop()
