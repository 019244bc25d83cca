"""Idle workers of one servable: how long they take to start, and what each costs in memory."""

import time

from measure import private_mb, tree, wait_for

NATIVE, PYTHON = 512, 64
FLAGS = ("--worker.max", "600")


def start(hub, target, name: str, count: int) -> float:
    """Has one worker become `count`; the seconds until the last can serve."""
    hub.answer(target)
    ready = hub.log_text().count("worker ready")
    begin = time.monotonic()
    hub.serve_as(name, {"replicas": {"min": count, "max": count}, "batch": False})
    hub.answer(target)
    wait_for(f"{count} workers", lambda: hub.log_text().count("worker ready") >= ready + count - 1, 120)
    return time.monotonic() - begin


def each_mb(hub, count: int) -> float:
    """Private memory of all that is below the hub (the zygote and what waits for its end included), by worker."""
    return private_mb(tree(hub.process.pid)[1:]) / count


def native(bench, identity: bytes) -> None:
    with bench.hub("hub-idle-native", *FLAGS) as hub:
        target = hub.publish_native(identity)
        bench.samples.add("512 native started", start(hub, target, "identity", NATIVE))
        bench.samples.add("idle native private", each_mb(hub, NATIVE))


def python(bench) -> None:
    with bench.hub("hub-idle-python", *FLAGS) as hub:
        target = hub.publish_python()
        bench.samples.add("64 Python started", start(hub, target, "hello", PYTHON))
        bench.samples.add("idle Python private", each_mb(hub, PYTHON))
