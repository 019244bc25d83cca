"""`Hub`: one hub, over its REST API."""

import json
import pathlib
import sys
import time
from urllib.parse import quote

from . import config, errors, metadata, publish, run, tensors
from .memory import Memories, SharedMemory
from .tasks import RunTask
from .transport import Transport
from .views import Blob, Description, Found, Task, Version

LONG_POLL_S = 20


class Hub:
    """A hub: publish to it, search it, run what it serves.

        hub = Hub()                                   # DLHUB_ENDPOINT, or what `dlhub login` stored, or this machine
        hub = Hub("https://hub.example.org", token)   # another one, as somebody

    Servables are named "owner/name", or "owner/name@VERSION" where VERSION is a number, an alias, or sha256:DIGEST.
    Errors are the exceptions of `dlhub.errors`, all of them a DLHubError. One Hub is for one thread.
    """

    def __init__(self, endpoint=None, token=None):
        self.endpoint, token = config.endpoint_and_token(endpoint, token)
        self._transport, self._token = Transport(self.endpoint, token), token
        self._memories = Memories()
        self._known = {}  # descriptions, by name as given: what a run needs to know of a servable

    def __repr__(self):
        return f"Hub({self.endpoint!r})"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._transport.close()

    # ---- who and what ----

    def whoami(self):
        """{"user": name or None, "groups": […], "admin": bool}"""
        return self._transport.json("GET", "/api/v1/whoami")

    def info(self):
        """The hub's name, version and state."""
        return self._transport.json("GET", "/api/v1/hub")

    def search(self, query="", *, type=None, owner=None, domain=None, all_versions=False, limit=None, offset=None):
        """Servables that match: free text, and field:value terms ("crystal datacite.creators.familyName:Curie").

        Newest versions only, unless all_versions. A list of {"name", "version", "title", "type", "owner", "domains",
        "description", "published", "digest"}; its .total counts those beyond `limit` as well.

            hub.search("segmentation", type="ONNX Model")
        """
        given = {"q": query, "type": type, "owner": owner, "domain": domain, "limit": limit, "offset": offset,
                 "all_versions": "true" if all_versions else None}
        return Found(self._transport.json("GET", "/api/v1/search", params={k: v for k, v in given.items() if v is not None}))

    def servables(self):
        """The names of all servables that one may see."""
        return self._transport.json("GET", "/api/v1/servables")

    def describe(self, name):
        """All that the hub says of a servable: metadata, methods with their inputs and outputs, files, environment."""
        return Description(self._transport.json("GET", self._path(name)))

    def versions(self, name):
        """[{"version", "digest", "published", "publisher"}], the newest first."""
        return self._transport.json("GET", self._path(name) + "/versions")["versions"]

    def download(self, name, path, to):
        """Writes one file of a servable (its paths: describe(name)["files"]) to `to`; returns that path."""
        reply = self._transport.call("GET", f"{self._path(name)}/files/{quote(path)}", timeout=None, stream=True)
        to = pathlib.Path(to)
        with open(to, "wb") as file:
            for piece in reply.iter_content(publish.PIECE):
                file.write(piece)
        return to

    def remove(self, name):
        """Removes a servable, or with "owner/name@VERSION" that version alone."""
        self._known.clear()
        self._transport.json("DELETE", self._path(name))

    # ---- run ----

    def run(self, name, inputs, *, parameters=None, method="run", timeout=None, debug=False, out=None, asynchronous=False, each=False,
            expires=None, start_within=None):
        """Runs a servable and returns what it gives.

        name        "owner/name", or "owner/name@VERSION"
        inputs      what the method takes: an array (numpy, nested lists, a torch tensor) where describe(name) says
                    ndarray; otherwise a number, text, list or dict; for a file a pathlib.Path, bytes or an open file.
                    Several inputs: a tuple in order, or a dict by name
        parameters  a dict of the method's parameters, over its defaults
        timeout     in seconds; the hub gives the run up after that (None: after the hub's own limit)
        debug       returns (output, {"stdout", "stderr", "run_ms", "version"}) instead
        out         an array of shared_memory() that the output is written to (several outputs: a tuple, with None for
                    those that are to come as ever); inputs that lie there are found by themselves
        asynchronous  returns a RunTask as soon as the hub has kept the run: task.result() waits for the output
        each        asynchronous: `inputs` is a list, of which each is run; task.result() is a list
        expires     asynchronous: how many seconds the result is kept (None: the hub's limits.result_s)
        start_within  asynchronous: not to be started later than so many seconds from now

        Arrays travel as bytes, both ways, and are converted to the datatype that the servable takes where every value
        fits (float64 to FP32 rounds). Several outputs come as a tuple.

            hub.run("alice/encoder", images)                       # float32[n, 64, 64, 1] to float32[n, 100]
            hub.run("alice/composition", "CaCO3")                  # {"molar_mass": 100.086, …}
            hub.run("alice/detect", {"image": x, "threshold": 0.5})
            hub.run("alice/encoder", rows, each=True, asynchronous=True).result()

        InvalidArgument   the input does not fit; the message names the argument, what came and what is expected
        NotFound          no such servable, or none that one may see
        DeadlineExceeded  it took longer than `timeout`
        DLHubError        the servable itself failed; the message holds its traceback
        """
        def once():
            if asynchronous or each:
                if out is not None:
                    raise errors.InvalidArgument("out: not of an asynchronous run, whose result is kept at the hub")
                return self._submit(name, inputs, parameters, method, timeout, debug, each,
                                    {"expires_s": expires, "start_within_s": start_within})
            return self._run(name, inputs, parameters, method, timeout, debug, out)
        fresh = name not in self._known
        try:
            return once()
        except (errors.InvalidArgument, errors.NotFound):
            # A newer version may take something else than the one that is known here. Neither error ran anything.
            known = self._known.pop(name, None)
            if fresh or known is None or self._describe(name)["digest"] == known["digest"]:
                raise
        return once()

    def _submit(self, name, inputs, parameters, method, timeout, debug, each, times):
        chosen = run.method_of(self._describe(name), method)
        if each:
            data = [run.data_of(chosen, one) for one in inputs]
            call = run.by_json(self._path(name), chosen, data, "each", parameters, timeout, debug)
        else:
            call = run.call_of(self._path(name), self._path(name, "/v2/models/"), chosen, inputs, parameters, timeout, debug)
        query = {key: value for key, value in times.items() if value is not None}
        reply = self._transport.document(call.send(self._transport, 600, asynchronous="true", **query))
        return RunTask(self._transport, reply["task_id"], chosen, each, debug)

    def send_blob(self, content, expires=None):
        """Keeps bytes, or a file's (pathlib.Path), at the hub, to be given to many runs; a Blob. An array is a .npy file.

            image = hub.send_blob(pathlib.Path("scan.tif"))
            hub.run("alice/detect", {"image": image, "threshold": 0.5})
        """
        data = content.read_bytes() if isinstance(content, pathlib.Path) else content
        return Blob(self._transport.json("PUT", "/api/v1/blobs", data=data, params={"expires_s": expires} if expires else None, timeout=600,
                                         headers={"Content-Type": "application/octet-stream"}))

    def run_task(self, task_id, method="run"):
        """The RunTask of that name, as `hub.run(…, asynchronous=True)` gave it to another program."""
        task = self.task(task_id)
        if task.get("kind") != "run":
            raise errors.NotFound(f"task {task_id} is no run", "hub.task() tells of publishes")
        description = self.describe(f"{task['servable']}@{task['version']}")
        return RunTask(self._transport, task.id, run.method_of(description, method), task.get("total", 1) > 1)

    def _run(self, name, inputs, parameters, method, timeout, debug, out):
        chosen = run.method_of(self._describe(name), method)
        output, about = run.run(self._transport, self._path(name), self._path(name, "/v2/models/"), chosen, inputs,
                                parameters, timeout, debug, self._memories, out)
        return (output, about) if debug else output

    def _describe(self, name):
        if name not in self._known:
            self._known[name] = self.describe(name)
        return self._known[name]

    def shared_memory(self, size, path=None):
        """`size` bytes that this process shares with a hub on the same machine: arrays in it are not sent, but read where
        they lie, and outputs are written there. `path` is the hub's local socket, where it cannot be asked for.

            with hub.shared_memory(64 << 20) as memory:
                images, code = memory.array((256, 64, 64, 1)), memory.array((256, 100))
                images[:] = ...
                hub.run("alice/encoder", images, out=code)

        Unavailable        the hub runs elsewhere, or this process may not reach its socket
        ResourceExhausted  limits.local_client_bytes, limits.local_bytes
        """
        path = path or self.info().get("local_socket")
        if not path:
            raise errors.Unavailable("this hub lends no shared memory, or tells it only to whoever is signed in",
                                     "sign in with `dlhub login`; the hub's setting is `local`")
        return self._memories.add(SharedMemory(path, self._token, size))

    # ---- publish ----

    def publish(self, path, name, title=None, *, function=None, class_name=None, method=None, arguments=None, files=(),
                requirements=None, example_input=None, example_output=None, rtol=None, atol=None, framework=None,
                owner=None, description=None, creators=(), domains=(), visible_to=None, system_packages=None,
                network=None, serving=None, metadata_document=None, wait=True, timeout=None, progress=None):
        """Publishes a model file, a folder (SavedModel), or a Python function or class.

        path             the model file, the folder, or the .py module; type, inputs and outputs are found in it
        name, title      the servable's short name, and a title for people
        function         of a module: the function to serve
        class_name       of a module: the class to make one object of, with `arguments`; its `method` is served
        files            further files and folders to lie beside `path`
        requirements     the Python packages it needs: a requirements.txt, a list, or {"numpy": "1.26.4"}
        example_input    an array (several inputs: a dict by name, or a tuple), with example_output the publisher's own
                         framework's answer: the hub proves that it gives the same (within rtol, atol) before the
                         servable becomes visible
        visible_to       ["public"], ["signed-in"], ["user:bob", "group:lab"], or [] for oneself alone
        owner            a group to publish under, instead of oneself
        serving          how it is to be served, as {"replicas": {"min": 1, "max": 4}, "memo": True, "engine": "openvino"}
        metadata_document  a whole document to start from ({"datacite", "dlhub", "servable"}, as of a dlhub.json)
        wait             True: waits for the end and returns the Version; False: returns the Task at once
        progress         called with each Task that comes; by default a line on a terminal's stderr

            hub.publish("model.onnx", "denoiser", "Denoiser for STEM images", visible_to=["public"])
            hub.publish("tools.py", "composition", "Composition of a formula", function="composition",
                        requirements=["periodictable==2.1.0"])

        A publish that failed raises the task's own error; log(task_id) has the whole build log.
        """
        servable = metadata.python_servable(path, function, class_name, method, arguments) if function or class_name else None
        test = metadata.golden(example_input, example_output, rtol=rtol, atol=atol, framework=framework) \
            if example_input is not None else None
        document = metadata.document(
            name, title, owner=owner, description=description, creators=creators, domains=domains,
            visible_to=visible_to, dependencies=metadata.requirements(requirements), system_packages=system_packages,
            network=network, serving=serving, servable=servable, golden_test=test, base=metadata_document)
        with publish.content(path, files) as (file, filename, size):
            body = publish.Multipart(tensors.dumps(document).encode(), file, filename, size)
            accepted = self._transport.json("POST", "/api/v1/publish", data=body, timeout=None,
                                            headers={"Content-Type": body.content_type})
        self._known.clear()
        return self.wait(accepted["task_id"], timeout=timeout, progress=progress) if wait else self.task(accepted["task_id"])

    def publish_pipeline(self, steps, outputs, name, title=None, *, example_input=None, example_output=None, rtol=None, atol=None,
                         owner=None, description=None, creators=(), domains=(), visible_to=None, serving=None,
                         metadata_document=None, wait=True, timeout=None, progress=None):
        """Publishes a pipeline: a servable whose steps are others, run in the hub with their caller's rights.

        steps    a list of {"name", "servable": "owner/name" or "name", "version"?, "method"?, "inputs", "parameters"?}, or
                 {"name", "combine": "mean" | "median" | "vote" | "stack" | "concat", "inputs": [...], "axis"?}
        inputs   what a step takes: {"image": "input.photo", "x": "encode.code"}, or one reference alone ("encode") for a
                 step with one input; "input" is what the caller gives
        outputs  what the pipeline gives: one reference, or {"price": "best"}
        version  a number, sha256:DIGEST, an alias or "latest"; left out: the newest now, for ever

        The rest is as of publish().

            hub.publish_pipeline([{"name": "encode", "servable": "encoder", "inputs": "input"},
                                  {"name": "forest", "servable": "forest", "inputs": "encode"}],
                                 "forest", "classify", "Encoder and forest")
        """
        test = metadata.golden(example_input, example_output, rtol=rtol, atol=atol) if example_input is not None else None
        document = metadata.document(
            name, title, owner=owner, description=description, creators=creators, domains=domains, visible_to=visible_to,
            serving=serving, golden_test=test, base=metadata_document,
            servable={"type": "Pipeline", "shim": "hub.Pipeline", "pipeline": {"steps": list(steps), "outputs": outputs}})
        files = {"json": ("dlhub.json", tensors.dumps(document).encode(), "application/json")}
        accepted = self._transport.json("POST", "/api/v1/publish", files=files)
        self._known.clear()
        return self.wait(accepted["task_id"], timeout=timeout, progress=progress) if wait else self.task(accepted["task_id"])

    def set_serving(self, name, serving):
        """Changes how a servable is served, without a new version: what `publish` takes as `serving`, whole. None or
        {}: as the hub thinks best. It holds from the next run on. Returns the description.

            hub.set_serving("alice/encoder", {"replicas": {"max": 4}, "batch": {"max": 32}})
        """
        dlhub = {**self.describe(name)["dlhub"]}
        dlhub.pop("serving", None)
        if serving:
            dlhub["serving"] = serving
        self._known.pop(name, None)
        return Description(self._transport.json("PATCH", self._path(name), json={"dlhub": dlhub}))

    def task(self, task_id):
        """A publish or a run, under way or over: {"task_id", "kind", "status", "stage", "progress", "servable", …}"""
        return Task(self._transport.json("GET", f"/api/v1/tasks/{quote(str(task_id))}"))

    def tasks(self, status=None):
        """One's own publishes and runs, as task() tells of each."""
        found = self._transport.json("GET", "/api/v1/tasks", params={"status": status} if status else None)
        return [Task(task) for task in found["tasks"]]

    def log(self, task_id):
        """The build log of a publish, also of one that failed."""
        return self._transport.call("GET", f"/api/v1/tasks/{quote(str(task_id))}/log").text

    def wait(self, task_id, *, timeout=None, progress=None):
        """Waits for a publish to end. The Version that it made; or raises the error that it failed with."""
        show = progress or _Line()
        until = None if timeout is None else time.monotonic() + timeout
        task = self.task(task_id)
        while not task.is_over:
            show(task)
            left = LONG_POLL_S if until is None else min(LONG_POLL_S, int(until - time.monotonic()) + 1)
            if until is not None and time.monotonic() >= until:
                raise errors.DeadlineExceeded(f"task {task_id} is still {task.status} after {timeout} s",
                                              f"it goes on: hub.wait({task_id!r})")
            task = Task(self._transport.json("GET", f"/api/v1/tasks/{quote(str(task_id))}", params={"wait_s": left, "stage": task.get("stage", "")},
                                             timeout=left + 30))
        show(task)
        if task.status == "failed":
            problem = errors.from_document(task.get("error") or {})
            problem.task = task
            problem.hint = problem.hint or f"the build log says more: hub.log({task_id!r})"
            raise problem
        result = task.get("result") or {}
        result = json.loads(result) if isinstance(result, str) else result
        return Version({"name": task.get("servable"), "task_id": task.id, **result})

    @staticmethod
    def _path(name, root="/api/v1/servables/"):
        bare, _, version = name.partition("@")
        parts = bare.split("/")
        if len(parts) != 2 or not all(parts) or ("@" in name and not version):
            raise errors.InvalidArgument(f"'{name}' is not the name of a servable",
                                         "write it as owner/name or owner/name@VERSION")
        path = root + "/".join(quote(part, safe="") for part in parts)
        return f"{path}/versions/{quote(version, safe=':')}" if version else path


class _Line:
    """What a publish is doing, on one line of the terminal; silent elsewhere."""

    def __init__(self):
        self._shown = None

    def __call__(self, task):
        if not sys.stderr.isatty():
            return
        text = f"{task.get('servable', '')}: {task.get('stage') or task.status}"
        if text != self._shown:
            sys.stderr.write(f"\r\033[K{text}" + ("\n" if task.is_over else ""))
            sys.stderr.flush()
            self._shown = text
