"""Asynchronous runs: how many a second are accepted, each synced to disk before its answer, while they are run beside it."""

import json

from measure import Failed, wait_for

CONNECTIONS, SECONDS = 64, 3
ROOM = 10_000_000  # tasks that may wait: what is measured is accepting, not refusing


def submissions(bench, model: bytes) -> None:
    samples, load = bench.samples, bench.load
    with bench.hub("hub-tasks", "--limits.tasks_queued", str(ROOM), "--limits.user_tasks", str(ROOM)) as hub:
        ours = hub.publish_native(model)
        hub.answer(ours)
        target = ours.at(ours.path + "?asynchronous=true")
        for _ in range(bench.rounds):
            result = load.rate(target, CONNECTIONS, SECONDS)
            samples.add("tasks accepted", result["rate"])
            samples.add("tasks accepted p99", result["p99_us"])
            waiting = lambda state: json.loads(hub._get(f"/api/v1/tasks?kind=run&status={state}"))["tasks"]
            wait_for("the end of all tasks", lambda: not waiting("queued") and not waiting("running"))
            if waiting("failed"):
                raise Failed("tasks failed")
