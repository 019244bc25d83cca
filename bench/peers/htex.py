"""Parsl's HighThroughputExecutor, one worker, an app that does nothing: the executor of the DLHub paper.

The driver below runs in the bench's environment and answers each line on its input with one batch's tasks a second.
"""

import os
import subprocess
import sys

from measure import HERE, Failed
from peers.process import Server

TASKS = 1500


class Htex(Server):
    name = "Parsl"

    def __init__(self, folder, venv):
        super().__init__(folder)
        self.bin = venv.absolute() / "bin"

    def start(self) -> None:
        # Parsl starts its processes by name.
        environment = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}", PYTHONPATH=str(HERE))
        self.launch(
            [self.bin / "python", __file__, self.folder / "runs"],
            environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.check_alive()
            raise Failed("Parsl closed its output")
        return line

    def rate(self) -> float:
        self.process.stdin.write(f"{TASKS}\n")
        self.process.stdin.flush()
        return float(self.answer())

    def stop(self) -> None:
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        super().stop()


def drive(folder: str) -> None:
    import time

    import parsl
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    def hello(data):
        return "hello world"

    app = parsl.python_app(hello)
    executor = HighThroughputExecutor(
        label="htex", address="127.0.0.1", max_workers_per_node=1, provider=LocalProvider(init_blocks=1, max_blocks=1)
    )
    with parsl.load(parsl.Config(executors=[executor], run_dir=folder)):
        app(1.0).result()
        print("ready", flush=True)
        for line in sys.stdin:
            start = time.monotonic()
            for future in [app(1.0) for _ in range(int(line))]:
                future.result()
            print(int(line) / (time.monotonic() - start), flush=True)


if __name__ == "__main__":
    drive(sys.argv[1])
