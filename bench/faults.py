"""What must not hurt: slow neighbours, huge bodies beside small ones, ten times the load that can be served."""

import contextlib
import json
import threading
import time

from measure import Failed, resident_mb

SECONDS = 10
OVERLOAD_SECONDS = 60
CONNECTIONS, CROWD = 64, 640  # ten times as many
QUEUE = 32
SLOW_S = 60
SLOW_MODULE = "import time\n\ndef slow(seconds: float) -> float:\n    time.sleep(seconds)\n    return seconds\n"
BODY_MB = 64
NUMBER = b"0.123456,"


def neighbours(bench, identity: bytes, any_length: bytes) -> None:
    """The latency of a servable of microseconds while another runs for a minute and 64 MB of JSON come, again and again."""
    with bench.hub("hub-neighbours", "--limits.body_bytes", "128M") as hub:
        quick = hub.publish_native(identity)
        hub.answer(quick)
        module = hub.folder / "slow.py"
        module.write_text(SLOW_MODULE)
        (hub.folder / "example.json").write_text("0.0")
        hub.publish(module, "slow", "--function", "slow", "--takes", "number", "--gives", "number",
                    "--example-input", hub.folder / "example.json")
        hub.publish_model(any_length, "any")
        slow = hub.plain("slow", json.dumps({"inputs": [{"name": "input", "shape": [1], "datatype": "FP64", "data": [SLOW_S]}],
                                             "parameters": {"timeout": 300_000_000}}).encode())
        count = BODY_MB * 2**20 // len(NUMBER)
        large = hub.plain("any", b'{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","data":[' % count
                          + (NUMBER * count)[:-1] + b']}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}')
        ended = threading.Event()
        sent = []

        def run_slow():
            with contextlib.suppress(Failed):  # the hub may end first
                hub.answer(slow)

        def send_large():
            while not ended.is_set():
                hub.answer(large)
                sent.append(1)

        others = [threading.Thread(target=run_slow, daemon=True), threading.Thread(target=send_large, daemon=True)]
        for one in others:
            one.start()
        while not sent:
            if not others[1].is_alive():
                raise Failed("the large body was not answered")
            time.sleep(0.05)
        for _ in range(bench.rounds):
            result = bench.load.rate(quick, 1, SECONDS)
            bench.samples.add("neighbours p99", result["p99_us"] / 1e3)
            bench.samples.add("neighbours alone p50", result["p50_us"] / 1e3)
        ended.set()
        others[1].join()
        bench.samples.add("neighbours bodies", len(sent))


def overload(bench) -> None:
    """A Python servable of 2 ms, ten times as many callers as its queue has room for, for a minute."""
    with bench.hub("hub-overload", "--limits.queue_runs", str(QUEUE), "--limits.connections", "4096") as hub:
        module = hub.folder / "work.py"
        module.write_text("import time\n\ndef work(data: float) -> float:\n    time.sleep(0.002)\n    return data\n")
        hub.publish(module, "work", "--function", "work", "--takes", "number", "--gives", "number", "--replicas", "2:2")
        target = hub.plain("work", b'{"inputs":[{"name":"input","shape":[1],"datatype":"FP64","data":[1.0]}]}')
        hub.answer(target)
        peak = bench.load.rate(target, QUEUE, SECONDS)["rate"]
        before = resident_mb(hub.process.pid)
        result = bench.load.rate(target, CROWD, OVERLOAD_SECONDS, may_refuse=True)
        bench.samples.add("peak goodput", peak)
        bench.samples.add("overload goodput", result["good"] / result["seconds"])
        bench.samples.add("overload told to come back", result["refused"])
        bench.samples.add("overload other failures", result["requests"] - result["good"] - result["refused"])
        bench.samples.add("overload memory growth", resident_mb(hub.process.pid) - before)
