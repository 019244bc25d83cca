"""Many workers: of one servable, and of as many servables as there are workers."""

import concurrent.futures
import json
import time

from measure import HERE, wait_for

CONNECTIONS, SECONDS = 64, 10
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SERVABLES = 512
FLAGS = ("--worker.max", "1100", "--worker.replicas", "512", "--limits.publishes", "2")


def one(bench, identity: bytes) -> None:
    """The rate of one servable with each count of workers."""
    with bench.hub("hub-many", *FLAGS) as hub:
        target = hub.publish_native(identity)
        hub.answer(target)
        ready = hub.log_text().count("worker ready") - 1
        for count in COUNTS:
            begin = time.monotonic()
            hub.serve_as("identity", {"replicas": {"min": count, "max": count}, "batch": False})
            hub.answer(target)
            wait_for(f"{count} workers", lambda: hub.log_text().count("worker ready") >= ready + count, 120)
            if count == max(COUNTS):
                bench.samples.add("512 workers started", time.monotonic() - begin)
            rate = bench.load.rate(target, CONNECTIONS, SECONDS)["rate"]
            bench.say(f"  {count} workers: {rate:,.0f}/s")
            bench.samples.add("best count rate", rate)
            if count == max(COUNTS):
                bench.samples.add("512 workers rate", rate)
    bench.samples.values["best count rate"] = [max(bench.samples.values["best count rate"])]


def each(bench, identity: bytes) -> None:
    """Uniformly random over 512 servables with one worker each, against one of them alone."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-each", *FLAGS) as hub:
        target = hub.publish_native(identity)
        names = [f"identity{i}" for i in range(1, SERVABLES)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: hub.publish(hub.folder / "identity.onnx", name), names))
        names.append("identity")
        for name in names:
            hub.serve_as(name, {"replicas": {"min": 1, "max": 1}, "batch": False})
        paths = [f"/v2/models/admin/{name}/infer" for name in names]
        for path in paths:
            hub.answer(target.at(path))
        wait_for("512 workers", lambda: hub.worker_count() == SERVABLES, 120)
        samples.add("one servable rate", load.rate(target, CONNECTIONS, SECONDS)["rate"])
        before = {name: hub.statistics(name)["execution_count"] for name in names}
        result = load.rate(target, CONNECTIONS, SECONDS, paths)
        samples.add("512 servables rate", result["rate"])
        samples.add("512 servables p99", result["p99_us"] / 1e3)
        served = sum(hub.statistics(name)["execution_count"] > before[name] for name in names)
        samples.add("512 servables served", served)
