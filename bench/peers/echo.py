"""A bare socket echo in C: what moving the bytes of a body costs."""

import subprocess

from measure import Failed, Target, free_port
from peers.process import Server


class Echo(Server):
    name = "echo"

    def __init__(self, folder, program):
        super().__init__(folder)
        self.program = program

    def start(self) -> None:
        self.port = free_port()
        self.launch([self.program, self.port], stdout=subprocess.PIPE, text=True)
        if "ready" not in self.process.stdout.readline():
            self.process.wait()
            raise Failed("the echo did not start")

    def target(self, like: Target) -> Target:
        """The same request; its body comes back."""
        return Target(self.port, like.path, like.body, self.pids, like.token, like.content_type, like.headers)
