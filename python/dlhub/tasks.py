"""Asynchronous runs: `hub.run(…, asynchronous=True)` gives a RunTask, which says how it is and what came of it."""

import json
import time

from . import errors, run
from .views import Task

LONG_POLL_S = 20


class RunTask:
    """A run that the hub has kept. It goes on without this program; its name (`id`) finds it again: hub.run_task(id).

        task = hub.run("alice/encoder", images, asynchronous=True)
        task.status()        # "queued", "running", "succeeded", "failed", "cancelled" or "expired"
        task.result()        # waits, and returns what hub.run() would have returned, or raises its error
        for event in task.events(): ...
        task.cancel()
    """

    def __init__(self, transport, task_id, method, each=False, debug=False):
        self.id = task_id
        self._transport, self._method, self._each, self._debug = transport, method, each, debug

    def __repr__(self):
        return f"RunTask({self.id!r})"

    def __iter__(self):
        return self.events()

    @property
    def _path(self):
        return f"/api/v1/tasks/{self.id}"

    def look(self):
        """All that the hub says of it: {"status", "progress", "done", "total", "created", …}"""
        return Task(self._transport.json("GET", self._path))

    def status(self):
        return self.look().status

    def wait(self, timeout=None):
        """Waits until it has ended, however it did; its last Task. DeadlineExceeded after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        task = self.look()
        while not task.is_over:
            left = LONG_POLL_S if until is None else min(LONG_POLL_S, int(until - time.monotonic()) + 1)
            if until is not None and time.monotonic() >= until:
                raise errors.DeadlineExceeded(f"task {self.id} is still {task.status} after {timeout} s",
                                              f"it goes on: hub.run_task({self.id!r}).result()")
            task = Task(self._transport.json("GET", self._path, params={"wait_s": max(left, 1), "status": task.status},
                                             timeout=left + 30))
        return task

    def result(self, timeout=None):
        """What hub.run() would have returned. Of many inputs (each=True) a list, with a DLHubError in the place of each
        that failed. Raises the run's own error; Cancelled; NotFound once the result's lifetime is over."""
        self.wait(timeout)
        reply = self._transport.call("GET", self._path + "/result", timeout=None)
        return self._decode(reply)

    def partial(self):
        """Of many inputs, what there is so far: a list as result() gives it, with None for those that have not ended."""
        return self._decode(self._transport.call("GET", self._path + "/result", params={"partial": "true"}, timeout=None))

    def _decode(self, reply):
        if reply.headers.get("Inference-Header-Content-Length"):
            return run.infer_answer(self._method, reply)
        document = self._transport.document(reply)
        if isinstance(document, list) and self._each:
            return [self._item(item) for item in document]
        if isinstance(document, dict) and "outputs" in document and "model_name" in document:
            return run.infer_answer(self._method, reply)
        output, about = run.envelope_answer(self._method, document)
        return (output, about) if self._debug else output

    def _item(self, item):
        if item is None:
            return None
        if "output" not in item:
            return errors.from_document(item.get("error") or {})
        output, about = run.envelope_answer(self._method, item)
        return (output, about) if self._debug else output

    def cancel(self):
        """Ends it, if it has not ended; returns when it has. The Task."""
        task = self.look()
        return task if task.is_over else Task(self._transport.json("DELETE", self._path, timeout=60))

    def remove(self):
        """Cancels it where it has not ended, and removes its record and result."""
        self.cancel()
        self._transport.json("DELETE", self._path)

    def events(self, after=0):
        """What happens, as it happens, until it ends: (name, document) with the names "status" (a Task), "progress",
        "partial" and "result". `after`: how many partials were seen before. A connection that breaks is made again."""
        while True:
            reply = self._transport.call("GET", self._path + "/events", headers={"Last-Event-ID": str(after)}, stream=True,
                                         timeout=None)
            over = False
            try:
                for name, number, document in _events(reply):
                    after = number or after
                    over = name == "status" and Task(document).is_over
                    yield name, Task(document) if name == "status" else document
            except OSError:
                continue  # requests' errors are OSErrors
            if over or name == "result":
                return


def _events(reply):
    name, number = None, None
    for line in reply.iter_lines(chunk_size=1):
        key, _, value = line.decode().partition(": ")
        if key == "event":
            name, number = value, None
        elif key == "id":
            number = int(value)
        elif key == "data":
            yield name, number, json.loads(value)
