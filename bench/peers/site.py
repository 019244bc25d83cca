"""dlhub-site on this machine, of a hub that runs nothing itself."""

import json
import shutil

from measure import wait_for
from peers.process import Server

HUB_FLAGS = ("--sites", "127.0.0.1:0", "--worker.local=false")


class Site(Server):
    name = "dlhub-site"

    def __init__(self, folder, hub):
        super().__init__(folder)
        self.hub = hub

    def start(self) -> None:
        """Returns once the hub has it."""
        file = self.folder / "loopback.site"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.hub.command("site", "add", "loopback", "--out", file)
        self.launch([self.hub.programs / "dlhub-site", "--config", file])
        wait_for("the site", lambda: self.check_alive() and self.state() == "connected")

    def state(self) -> str:
        return json.loads(self.hub.command("site", "list", "--json"))["sites"][0]["state"]
