"""Sites: workers on other machines (here: other processes), what they are given, and what becomes of runs when they go."""
import concurrent.futures
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import threading

import numpy as np
import pytest

from support import BIN, HubProcess, document, wait_for

SERVABLE = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
            "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                "method_details": {"module": "actor", "method_name": "act"}}}}
CODE = '''
import os, time
from dlhub_worker import cancelled, progress

waits = 0

def act(what: str) -> str:
    global waits
    if what == "pid":
        return str(os.getpid())
    if what == "waits":
        return str(waits)
    if what == "steps":
        progress(0.5, "half way", {"so": "far"})
        while not cancelled():
            time.sleep(0.01)
        return "stopped"
    if what == "raise":
        raise ValueError("seven")
    if what == "exit":
        os._exit(3)
    if what.startswith("wait:"):
        waits += 1
        time.sleep(float(what.split(":")[1]))
    return what
'''


class Wire:
    """What lies between a site and its hub: passes bytes on, until one direction, or both, are cut. New connections are
    cut too: a network that loses packets loses all."""

    def __init__(self, hub):
        host, port = hub.rsplit(":", 1)
        self.hub = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.open = {"to hub": threading.Event(), "to site": threading.Event()}
        self.heal()
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self, *directions):
        for direction in directions:
            self.open[direction].clear()

    def heal(self):
        for event in self.open.values():
            event.set()

    def accept(self):
        while True:
            try:
                site, _ = self.listener.accept()
                hub = socket.create_connection(self.hub)
            except OSError:
                return
            for one, other, direction in ((site, hub, "to hub"), (hub, site, "to site")):
                threading.Thread(target=self.carry, args=(one, other, self.open[direction]), daemon=True).start()

    @staticmethod
    def carry(one, other, is_open):
        try:
            while data := one.recv(1 << 16):
                is_open.wait()
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.heal()
        self.listener.close()


class Site:
    """One dlhub-site of a hub."""

    def __init__(self, hub, folder, name="there", visible_to=None, flags=()):
        self.hub, self.name, self.folder = hub, name, folder
        self.file = folder / f"{name}.site"
        self.data = folder / f"{name}.data"
        self.flags = flags
        reply = hub.post("/api/v1/sites", json={"name": name, **({"visible_to": visible_to} if visible_to is not None else {})})
        assert reply.status_code == 201, reply.text
        self.file.write_text(json.dumps(reply.json()["file"]))
        self.process = None

    def start(self):
        self.log = open(self.folder / f"{self.name}.log", "ab")
        self.process = subprocess.Popen([BIN / "dlhub-site", "--config", self.file, "--data", self.data, *self.flags],
                                        stdout=self.log, stderr=self.log)
        return self

    def log_text(self):
        return (self.folder / f"{self.name}.log").read_text()

    def state(self):
        sites = {site["name"]: site for site in self.hub.get("/api/v1/sites").json()["sites"]}
        return sites[self.name]

    def wait_state(self, state, seconds=30):
        wait_for(lambda: self.state()["state"] == state, seconds, f"site {self.name} {state}")
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        if self.process:
            self.log.close()
        return self.process.returncode


FLAGS = ("--sites", "127.0.0.1:0", "--worker.local=false", "--sites.silence_ms", "800", "--sites.grace_s", "3",
         "--worker.replicas", "1")


def publish_actor(hub, name="actor", **serving):
    task = hub.publish({**document(name, **({"serving": serving} if serving else {})), "servable": SERVABLE}, CODE, "actor.py")
    assert task["status"] == "succeeded", task

    def act(what, **more):
        return hub.post(f"/api/v1/servables/admin/{name}/run", json={"data": what, **more})
    assert act("hello").json() == ["hello"]
    return act


@pytest.fixture(scope="module")
def remote_hub(tmp_path_factory):
    """A hub that runs nothing itself, and one site of it."""
    folder = tmp_path_factory.mktemp("sites")
    hub = HubProcess(folder / "hub", *FLAGS)
    hub.site = Site(hub, folder).start().wait_state("connected")
    yield hub
    assert hub.site.stop() == 0, hub.site.log_text()
    assert hub.stop() == 0, hub.log_text()


@pytest.fixture(scope="module")
def actor(remote_hub):
    return publish_actor(remote_hub)


@pytest.fixture(scope="module")
def environments(remote_hub, actor):
    """The Python environment that the actor needs, so that not every hub and site of these tests builds it again."""
    return remote_hub.data / "environments"


def lend(environments, folder):
    """Links to what is built already: a folder of tens of megabytes for each hub and site takes longer than the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for environment in environments.iterdir():
        if environment.is_dir():
            (folder / environment.name).symlink_to(environment.resolve())


@pytest.fixture
def own_hub(tmp_path, environments):
    """A hub of one test; the sites that the test adds to `sites` are ended with it."""
    hub = HubProcess(tmp_path / "hub", *FLAGS)
    lend(environments, hub.data / "environments")
    hub.sites = []
    yield hub
    for site in hub.sites:
        if site.process:
            site.stop()
    assert hub.stop() == 0, hub.log_text()


def add_site(hub, name="there", wire=False, **more):
    """A site that is connected, over a wire that can be cut where `wire`."""
    site = Site(hub, hub.data.parent, name, **more)
    hub.sites.append(site)
    lend(hub.data / "environments", site.data / "environments")
    if wire:
        file = json.loads(site.file.read_text())
        site.wire = Wire(file["hub"])
        site.file.write_text(json.dumps({**file, "hub": site.wire.address}))
    return site.start().wait_state("connected")


def begin(act, what, **more):
    """A run under way: its answer, to be waited for."""
    return concurrent.futures.ThreadPoolExecutor(1).submit(act, what, **more)


# --- what a site does ---

def test_a_native_servable_runs_at_the_site(remote_hub, identity_onnx):
    task = remote_hub.publish(document("identity"), identity_onnx)
    assert task["status"] == "succeeded", (task, remote_hub.site.log_text())
    values = [float(i) for i in range(10)]
    answer = remote_hub.post("/api/v1/servables/admin/identity/run", json={"data": values})
    assert answer.status_code == 200, answer.text
    assert answer.json() == [values]
    assert remote_hub.site.state()["workers"] >= 1


def test_large_tensors(remote_hub, identity_onnx):
    """Of several megabytes, both ways at once, bit for bit."""
    assert remote_hub.publish(document("large"), identity_onnx)["status"] == "succeeded"
    arrays = [np.random.default_rng(i).random(2_000_000 + i, dtype=np.float32) for i in range(6)]

    def run(array):
        head = {"inputs": [{"name": "x", "shape": [len(array)], "datatype": "FP32",
                            "parameters": {"binary_data_size": array.nbytes}}],
                "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
        text = json.dumps(head).encode()
        answer = remote_hub.post("/v2/models/admin/large/infer", data=text + array.tobytes(),
                                 headers={"Inference-Header-Content-Length": str(len(text)),
                                          "Content-Type": "application/octet-stream"})
        assert answer.status_code == 200, answer.text
        return answer.content[int(answer.headers["Inference-Header-Content-Length"]):] == array.tobytes()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(pool.map(run, arrays))


def test_errors_and_ends_are_told_as_here(actor):
    answer = actor("raise", debug=True)
    assert answer.status_code >= 400 and "seven" in answer.json()["error"] and "ValueError" in answer.json()["error"]
    died = actor("exit")
    assert died.status_code == 503 and "ended with status 3" in died.json()["error"], died.text
    assert actor("after").json() == ["after"]
    late = actor("wait:30", timeout_s=0.3)
    assert late.status_code == 504, late.text
    assert actor("after").json() == ["after"]


def test_many_runs_at_once(actor):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        words = [f"word{i}" for i in range(400)]
        assert [answer.json() for answer in pool.map(actor, words)] == [[word] for word in words]


def test_progress_comes_and_a_cancellation_goes(remote_hub, actor):
    pid = actor("pid").json()
    task = remote_hub.post("/api/v1/servables/admin/actor/run", json={"data": "steps", "asynchronous": True}).json()["task_id"]
    look = lambda: remote_hub.get(f"/api/v1/tasks/{task}").json()
    wait_for(lambda: look().get("text") == "half way", what="the progress")
    assert look()["progress"] == 0.5
    assert remote_hub.request("DELETE", f"/api/v1/tasks/{task}").status_code in (200, 202, 204)
    wait_for(lambda: remote_hub.site.state()["runs"] == 0, what="the end of the run")
    assert actor("pid").json() == pid  # it heeded: nobody had to end it


def test_batches_are_joined_and_split(remote_hub):
    code = ("import time\nimport numpy as np\n\ndef roots(x):\n    time.sleep(0.05)\n    return np.sqrt(x)\n")
    rows = {"type": "ndarray", "shape": [None, 1], "item_type": {"type": "float", "dtype": "FP64"}}
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": rows, "output": rows, "method_details": {"module": "roots", "method_name": "roots"}}}}
    task = remote_hub.publish({**document("roots", serving={"batch": {"max": 16}}), "servable": servable,
                               "golden": {"request": {"data": [[4.0]]}}}, code, "roots.py")
    assert task["status"] == "succeeded", (task, remote_hub.site.log_text())

    def root(number):
        answer = remote_hub.post("/api/v1/servables/admin/roots/run", json={"data": [[number * number]]},
                                 headers={"X-DLHub-Timing": "1"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == [[[float(number)]]]
        return int(re.search(r"rows=(\d+)", answer.headers["Server-Timing"]).group(1))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert max(pool.map(root, range(64))) > 1


def test_an_environment_is_built_at_the_site(remote_hub):
    """Of exactly the versions that the publish resolved."""
    servable = {"type": "Python static method", "shim": "python.PythonStaticMethodServable",
                "methods": {"run": {"input": {"type": "string"}, "output": {"type": "string"},
                                    "method_details": {"module": "names", "method_name": "encode"}}}}
    code = ("import idna, importlib.metadata\n\ndef encode(name: str) -> str:\n"
            "    return idna.encode(name).decode() + ' ' + importlib.metadata.version('idna')\n")
    task = remote_hub.publish({**document("names", dependencies={"python": {"idna": "3.6"}}), "servable": servable,
                               "golden": {"request": {"data": "m\u00fcnchen.de"}}}, code, "names.py")
    assert task["status"] == "succeeded", (task, remote_hub.site.log_text())
    answer = remote_hub.post("/api/v1/servables/admin/names/run", json={"data": "m\u00fcnchen.de"})
    assert answer.json() == ["xn--mnchen-3ya.de 3.6"], answer.text
    assert any((remote_hub.site.data / "environments").glob("*/dlhub-environment.json"))


# --- who may ---

def test_the_list_and_its_words(remote_hub, tmp_path):
    run = lambda *words: subprocess.run([BIN / "dlhub", "--endpoint", remote_hub.url, *words], text=True, cwd=tmp_path,
                                        env={"PATH": "/usr/bin", "HOME": str(tmp_path), "DLHUB_TOKEN": remote_hub.token},
                                        capture_output=True, timeout=60)
    made = run("site", "add", "beamline", "--visible-to", "group:lab")
    assert made.returncode == 0, made.stderr
    file = tmp_path / "beamline.site"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["hub"] == remote_hub.get("/api/v1/sites").json()["address"]
    secret = json.loads(file.read_text())["secret_key"]
    listed = run("site", "list")
    assert "beamline" in listed.stdout and "never" in listed.stdout and "group:lab" in listed.stdout
    assert "there" in listed.stdout and "connected" in listed.stdout
    assert secret not in listed.stdout and secret not in remote_hub.get("/api/v1/sites").text
    again = run("site", "add", "beamline", "--out", "other.site")
    assert again.returncode != 0 and "already" in again.stderr
    assert run("site", "rm", "beamline", "--yes").returncode == 0
    assert "beamline" not in run("site").stdout
    assert run("site", "rm", "beamline", "--yes").returncode != 0
    assert remote_hub.get("/api/v1/sites", token=remote_hub.user("bob")).status_code == 403


def test_a_key_that_is_not_registered_is_refused(own_hub):
    site = Site(own_hub, own_hub.data.parent)
    other = Site(own_hub, own_hub.data.parent, "other")
    file = json.loads(site.file.read_text())
    site.file.write_text(json.dumps({**file, "secret_key": json.loads(other.file.read_text())["secret_key"]}))
    own_hub.sites += [site, other]
    assert own_hub.request("DELETE", "/api/v1/sites/other").status_code == 204
    site.start()
    wait_for(lambda: "does not know this site's key" in site.log_text(), what="the refusal")
    assert site.state()["state"] == "away" and "seen" not in site.state()


def test_a_hub_that_is_another_is_not_talked_to(own_hub):
    site = Site(own_hub, own_hub.data.parent)
    own_hub.sites.append(site)
    file = json.loads(site.file.read_text())
    key = Site(own_hub, own_hub.data.parent, "other")
    site.file.write_text(json.dumps({**file, "hub_key": own_hub.post("/api/v1/sites", json={"name": "third"}).json()["public_key"]}))
    site.start()
    wait_for(lambda: "not the one that this site's file names" in site.log_text(), what="the refusal")
    assert site.state()["state"] == "away" and key.state()["state"] == "away"


def test_who_adds_or_removes_a_site_sees_it_at_once(own_hub):
    names = lambda: {site["name"] for site in own_hub.get("/api/v1/sites").json()["sites"]}
    for count in range(30):
        name = f"site-{count}"
        assert own_hub.post("/api/v1/sites", json={"name": name}).status_code == 201 and name in names()
        if count % 2:
            assert own_hub.request("DELETE", f"/api/v1/sites/{name}").status_code == 204 and name not in names()
    assert names() == {f"site-{count}" for count in range(0, 30, 2)}


def test_whose_servables_a_site_takes(own_hub):
    add_site(own_hub, visible_to=["user:bob"])
    task = own_hub.publish({**document("actor"), "servable": SERVABLE}, CODE, "actor.py")
    assert task["status"] == "failed" and "this owner" in task["error"]["message"], task
    token = own_hub.user("bob")
    task = own_hub.publish({**document("actor"), "servable": SERVABLE}, CODE, "actor.py", token=token)
    assert task["status"] == "succeeded", task


def test_a_hub_that_takes_no_sites(hub):
    answer = hub.post("/api/v1/sites", json={"name": "there"})
    assert answer.status_code == 400 or answer.status_code == 412, answer.text
    assert "does not listen" in answer.json()["error"] and not (hub.data / "sites.key").exists()


def test_what_is_wrong_with_its_file(tmp_path):
    run = lambda *words: subprocess.run([BIN / "dlhub-site", *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "dlhub site add" in run("--help").stdout
    assert run().returncode != 0 and "no site file was given" in run().stderr
    (tmp_path / "bad.site").write_text('{"name": "bad", "hub": "127.0.0.1:1", "hub_key": "x", "secret_key": "x"}')
    for file in ("bad.site", "absent.site"):
        told = run("--config", file)
        assert told.returncode != 0 and file in told.stderr and "dlhub site add NAME" in told.stderr, told.stderr


def test_a_site_runs_once(own_hub):
    site = add_site(own_hub)
    twin = subprocess.run([BIN / "dlhub-site", "--config", site.file, "--data", site.data], capture_output=True, text=True, timeout=60)
    assert twin.returncode != 0 and "another dlhub-site" in twin.stderr
    with open(own_hub.data.parent / "twin.log", "wb") as log:
        twin = subprocess.Popen([BIN / "dlhub-site", "--config", site.file, "--data", own_hub.data.parent / "twin"], stderr=log)
    wait_for(lambda: "is connected" in (own_hub.data.parent / "twin.log").read_text(), what="the refusal of the second")
    twin.terminate()
    assert twin.wait(60) == 0
    assert site.state()["state"] == "connected"


# --- what is on its disk ---

def test_damaged_artifacts_are_pulled_again(own_hub, identity_onnx):
    site = add_site(own_hub)
    assert own_hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    run = lambda: own_hub.post("/api/v1/servables/admin/identity/run", json={"data": [1, 2]})
    assert run().json() == [[1, 2]]
    blobs = [path for path in (site.data / "blobs" / "sha256").glob("*/*")]
    assert len(blobs) == 2  # the manifest and the model
    assert site.stop() == 0, site.log_text()
    for blob in blobs:
        content = blob.read_bytes()
        blob.chmod(0o600)
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    site.start().wait_state("connected")
    assert run().json() == [[1, 2]]
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.parent.name + blob.name


def test_what_is_unused_gives_way(own_hub, identity_onnx):
    padding = lambda i: b"\x7a" + bytes([0x80, 0x80, 0x40]) + bytes([i]) * (1 << 20)  # an unknown field of 1 MiB
    site = add_site(own_hub, flags=("--sites.cache_bytes", "3M"))
    for i in range(5):
        assert own_hub.publish(document(f"model{i}"), identity_onnx + padding(i))["status"] == "succeeded"
        os.utime(next((site.data / "versions").iterdir()), (i, i)) if i == 0 else None
    assert own_hub.post("/api/v1/servables/admin/model0/run", json={"data": [1, 2]}).json() == [[1, 2]]
    assert len(list((site.data / "versions").iterdir())) < 5


# --- when the way is cut, or the site goes ---

@pytest.mark.parametrize("directions", [("to hub", "to site"), ("to hub",), ("to site",)], ids=" and ".join)
def test_a_short_cut_loses_nothing_and_runs_nothing_twice(own_hub, directions):
    """The connection ends by its heartbeats; the run goes on, and its answer comes over the next connection."""
    site = add_site(own_hub, wire=True)
    act = publish_actor(own_hub)
    run = begin(act, "wait:3")
    wait_for(lambda: site.state()["runs"] == 1, what="the run to begin")
    site.wire.cut(*directions)
    site.wait_state("out of reach")
    site.wire.heal()
    assert run.result().json() == ["wait:3"], run.result().text
    assert act("waits").json() == ["1"]
    site.wire.close()


def test_what_waits_too_long_runs_elsewhere(own_hub):
    """A site that does not come back in time: its run is run again at another; what may not be run twice is not."""
    site = add_site(own_hub, wire=True)
    act = publish_actor(own_hub)
    once = publish_actor(own_hub, "once", idempotent=False)
    other = add_site(own_hub, "elsewhere")
    runs = [begin(act, "wait:4"), begin(once, "wait:4")]
    wait_for(lambda: site.state()["runs"] == 2, what="the runs to begin")
    site.wire.cut("to hub", "to site")
    assert runs[0].result().json() == ["wait:4"], runs[0].result().text
    assert runs[1].result().status_code == 503 and "is lost" in runs[1].result().json()["error"], runs[1].result().text
    assert other.state()["workers"] == 1
    site.wire.heal()  # it comes back, is told to end what was given up, and is of use again
    site.wait_state("connected")
    assert site.state()["workers"] == 0
    wait_for(lambda: "worker gone" in site.log_text() or "given up" in site.log_text(), what="the end of the old workers")
    assert act("after").json() == ["after"] and once("after").json() == ["after"]
    site.wire.close()


def test_new_runs_do_not_wait_for_a_site_that_is_out_of_reach(own_hub):
    site = add_site(own_hub, wire=True)
    act = publish_actor(own_hub)
    add_site(own_hub, "elsewhere")
    site.wire.cut("to hub")
    site.wait_state("out of reach")
    assert act("now").json() == ["now"]
    assert site.state()["state"] == "out of reach"
    site.wire.close()


def test_a_site_that_is_killed_in_mid_run(own_hub):
    """Started anew at once it holds nothing: its runs are run again, and those that may not be are told so."""
    site = add_site(own_hub)
    act = publish_actor(own_hub)
    once = publish_actor(own_hub, "once", idempotent=False)
    runs = [begin(act, "wait:3"), begin(once, "wait:3")]
    wait_for(lambda: site.state()["runs"] == 2, what="the runs to begin")
    assert site.stop(signal.SIGKILL) == -signal.SIGKILL
    site.start()
    assert runs[0].result().json() == ["wait:3"], runs[0].result().text
    assert runs[1].result().status_code == 503, runs[1].result().text


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_hub_starts_anew(own_hub, how):
    """The site dials again, and what it held of the old hub is ended."""
    site = add_site(own_hub)
    act = publish_actor(own_hub)
    address = own_hub.get("/api/v1/sites").json()["address"]
    own_hub.stop(how)
    own_hub.flags = tuple(address if flag == "127.0.0.1:0" else flag for flag in own_hub.flags)
    own_hub.start()
    site.wait_state("connected")
    assert act("again").json() == ["again"]


def test_a_site_that_is_ended_finishes_first(own_hub):
    site = add_site(own_hub)
    act = publish_actor(own_hub)
    run = begin(act, "wait:1")
    wait_for(lambda: site.state()["runs"] == 1, what="the run to begin")
    assert site.stop() == 0
    assert run.result().json() == ["wait:1"], run.result().text
    assert act("after").status_code == 503
    assert "no site is connected" in act("after").json()["error"]


def test_a_site_that_is_removed_while_it_is_connected(own_hub):
    site = add_site(own_hub)
    act = publish_actor(own_hub)
    assert own_hub.request("DELETE", "/api/v1/sites/there").status_code == 204
    wait_for(lambda: act("after").status_code == 503, what="the end of its workers")
    wait_for(lambda: "does not know this site's key" in site.log_text(), what="the refusal")


def test_local_first_then_the_site(tmp_path, environments):
    """With one core taken by a worker of this machine each, the next worker goes to the site."""
    hub = HubProcess(tmp_path / "hub", "--sites", "127.0.0.1:0")
    lend(environments, hub.data / "environments")
    hub.sites = []
    try:
        site = add_site(hub)
        for i in range(os.cpu_count()):
            publish_actor(hub, f"actor{i}")
            assert site.state()["workers"] == 0
        publish_actor(hub, "more")
        wait_for(lambda: site.state()["workers"] == 1, what="a worker at the site")
    finally:
        for site in hub.sites:
            site.stop()
        assert hub.stop() == 0, hub.log_text()


def test_the_page_of_the_manual():
    """Written by the program, and installed beside that of dlhub; each setting that the help names is explained."""
    page = subprocess.run([BIN / "dlhub-site", "--man"], check=True, capture_output=True, text=True).stdout
    assert page == (BIN.parent / "packaging" / "dlhub-site.1").read_text()
    assert page.startswith('.TH DLHUB\\-SITE 1 "" "DLHub ')
    said = subprocess.run([BIN / "dlhub-site", "--help"], check=True, capture_output=True, text=True).stdout
    settings = re.findall(r"^  --(\S+)$", said, re.M)
    assert "worker.max" in settings and "sites.cache_bytes" in settings
    for name in settings:
        assert f"\\fB\\-\\-{name}\\fR" in page
    assert ".SH SEE ALSO" in page and not re.search(r"^\\&", page, re.M)  # no request was taken for text


# --- inputs that lie in files ---

def send_array(hub, array):
    out = io.BytesIO()
    np.save(out, array)
    reply = hub.request("PUT", "/api/v1/blobs", data=out.getvalue())
    assert reply.status_code == 201, reply.text
    return {"ref": reply.json()["ref"]}, len(out.getvalue())


def pulled(hub, site="there"):
    text = hub.get("/metrics").text
    return int(float(re.search(r'dlhub_site_pulled_bytes_total\{site="%s"\} (\S+)' % site, text).group(1)))


@pytest.fixture
def lengths(own_hub, identity_onnx):
    """A servable at a site, and how to run it: gives the first and the last number, and how many there are."""
    site = add_site(own_hub, wire=True)
    assert own_hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"

    def run(data):
        reply = own_hub.post("/api/v1/servables/admin/identity/run", json={"data": data})
        if reply.status_code != 200:
            return reply.status_code, reply.json()["error"]
        values, = reply.json()
        return values[0], values[-1], len(values)
    assert run([1, 2]) == (1, 2, 2)
    return own_hub, site, run


def test_an_input_in_a_file_is_brought_once(lengths):
    hub, site, run = lengths
    array = np.arange(200_000, dtype=np.float32)
    ref, size = send_array(hub, array)
    before = pulled(hub)
    assert run(ref) == (0, 199_999, len(array))
    assert pulled(hub) - before == size
    for _ in range(2):
        assert run(ref) == (0, 199_999, len(array))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert set(pool.map(run, [ref] * 6)) == {(0, 199_999, len(array))}
    assert pulled(hub) - before == size
    name = ref["ref"].rsplit(":", 1)[1]
    kept = site.data / "blobs" / "sha256" / name[:2] / name[2:]
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == name
    # Damaged at the site, or away: it is brought again.
    kept.chmod(0o600)
    kept.write_bytes(b"short")
    assert run(ref) == (0, 199_999, len(array))
    kept.unlink()
    assert run(ref) == (0, 199_999, len(array))
    assert pulled(hub) - before == 3 * size


def test_an_input_is_brought_over_a_way_that_breaks(lengths):
    hub, site, run = lengths
    ref, size = send_array(hub, np.arange(1_000_000, dtype=np.float32))
    site.wire.cut("to site")
    answer = concurrent.futures.ThreadPoolExecutor(1).submit(run, ref)
    site.wait_state("out of reach")
    name = ref["ref"].rsplit(":", 1)[1]
    assert hub.request("DELETE", f"/api/v1/blobs/{ref['ref']}").status_code == 204
    site.wire.heal()
    assert answer.result() == (0, 999_999, 1_000_000), name
    assert run(ref)[0] == 404


def test_a_file_that_is_damaged_at_the_hub_is_told(lengths):
    hub, site, run = lengths
    ref, _ = send_array(hub, np.arange(200_000, dtype=np.float32))
    file, = (hub.data / "uploads").iterdir()
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    status, words = run(ref)
    assert status == 500 and "could not be brought to the site" in words and "another content than its digest says" in words
    assert run([1, 2]) == (1, 2, 2)
