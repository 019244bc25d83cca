#!/usr/bin/env python3
"""Starts the hub and its peers, measures them side by side and prints one table of ratios from that one run.

    bench/run.py --build build [--only native,python,encoder,life] [--rounds N] [--write-docs]

Results as JSON: BUILD/bench/results.json; with --write-docs also docs/bench.md. See docs/bench.md for how it measures.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import batches
import distribution
import encoder as encoder_parts
import faults
import idle as idle_parts
import many
import memo as memo_parts
import report
import tasks as task_parts
import tensors
import there
from measure import Failed, Load, Samples, machine
from peers.htex import Htex
from peers.hub import Hub
from peers.nginx import Nginx
from peers.tensorflow import TensorFlow
from peers.triton import Triton

CONNECTIONS = 64
RATE_SECONDS = 3
LATENCY_COUNT, LATENCY_WARM_UP = 20000, 2000
ENCODER_COUNT, ENCODER_WARM_UP = 2000, 200


class Bench:
    """What the sections share: folders, programs, the load, the samples."""

    def __init__(self, arguments):
        self.build = arguments.build.resolve()
        self.folder = self.build / "bench"
        self.programs = self.build / "bin"
        self.venv = self.build / "venv-bench"
        self.rounds = arguments.rounds
        self.cpu = max(os.sched_getaffinity(0))
        self.load = Load(self.folder)
        self.samples = Samples()
        self.notes: dict[str, str] = {}
        self.latencies: dict[str, list[float]] = {}  # of each example, rising

    def hub(self, name: str, *flags) -> Hub:
        return Hub(self.folder / name, self.programs, flags)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def native(bench: Bench) -> None:
    """The native no-op against nginx's constant, turn about."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-native") as hub:
        ours = hub.publish_native(identity())
        answer = hub.answer(ours)
        samples.add("native private", hub.native_private_mb())
        with Nginx(bench.folder / "nginx-run", bench.folder / "nginx", answer) as nginx:
            limit = nginx.target(ours)
            for _ in range(bench.rounds):
                for name, target in (("nginx", limit), ("native", ours)):
                    result = load.latency(target, LATENCY_COUNT, LATENCY_WARM_UP, bench.cpu)
                    samples.add(f"{name} p50", result["p50_us"])
                    samples.add(f"{name} p99, 1 connection", result["p99_us"])
            for _ in range(bench.rounds):
                for name, target in (("nginx", limit), ("native", ours)):
                    result = load.rate(target, CONNECTIONS, RATE_SECONDS)
                    samples.add(f"{name} rate", result["rate"])
                    samples.add(f"{name} CPU", result["cpu_us"])
                    samples.add(f"{name} p99, {CONNECTIONS} connections", result["p99_us"])
        samples.add("hub resident after load", hub.hub_resident_mb())


def python(bench: Bench) -> None:
    """The Python no-op against Triton's and Parsl's, turn about."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-python") as hub, Triton(bench.folder / "triton", bench.venv) as triton:
        ours, theirs = hub.publish_python(), triton.target()
        hub.answer(ours)
        for _ in range(bench.rounds):
            for name, target in (("triton", theirs), ("python", ours)):
                result = load.rate(target, CONNECTIONS, RATE_SECONDS)
                samples.add(f"{name} rate", result["rate"])
                samples.add(f"{name} CPU", result["cpu_us"])
                samples.add(f"{name} p99, {CONNECTIONS} connections", result["p99_us"])
    with Htex(bench.folder / "parsl", bench.venv) as parsl:
        for _ in range(bench.rounds):
            samples.add("parsl rate", parsl.rate())


def grpc(bench: Bench) -> None:
    """The Python no-op over gRPC against Triton's, turn about: 64 calls under way on one connection."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-grpc") as hub, Triton(bench.folder / "triton", bench.venv) as triton:
        hub.answer(hub.publish_python())
        for _ in range(bench.rounds):
            for name, target in (("triton", triton.grpc_target()), ("python", hub.grpc_python())):
                result = load.grpc_rate(target, 1, CONNECTIONS, RATE_SECONDS)
                samples.add(f"{name} gRPC rate", result["rate"])
                samples.add(f"{name} gRPC CPU", result["cpu_us"])
                samples.add(f"{name} gRPC p99, {CONNECTIONS} calls", result["p99_us"])


def encoder(bench: Bench) -> None:
    """The encoder's SavedModel through the hub and by TensorFlow's own call, turn about."""
    samples, load = bench.samples, bench.load
    folder, interpreter = encoder_parts.get(bench.build)
    peer = TensorFlow(bench.folder / "tensorflow", interpreter, folder / "saved_model", folder / "input.npy")
    with bench.hub("hub-encoder") as hub, peer as tensorflow:
        hub.publish(folder / "saved_model", "encoder")
        model = tensorflow.model
        inputs = hub.metadata("encoder")["inputs"]
        ours = hub.tensor("encoder", inputs[0]["name"], model["shape"], bytes.fromhex(model["input"]))
        answer = hub.floats(ours)
        if len(answer) != len(model["output"]):
            raise Failed(f"the hub answered {len(answer)} numbers, TensorFlow {len(model['output'])}")
        samples.add("encoder difference", max(abs(a - b) for a, b in zip(answer, model["output"])))
        for _ in range(bench.rounds):
            samples.add("tensorflow p50", tensorflow.p50_us(bench.cpu))
            samples.add("encoder p50", load.latency(ours, ENCODER_COUNT, ENCODER_WARM_UP, bench.cpu)["p50_us"])


def life(bench: Bench) -> None:
    """Starting, being idle, the first answer of a servable that no worker has loaded yet."""
    samples = bench.samples
    with bench.hub("hub-life") as hub:
        samples.add("ready, first start", hub.ready_ms)
        hub.publish_native(identity())
        for _ in range(bench.rounds):
            hub.restart()
            samples.add("ready", hub.ready_ms)
            samples.add("hub resident", hub.hub_resident_mb())
            start = time.monotonic()
            hub.answer(hub.native())
            samples.add("cold", (time.monotonic() - start) * 1e3)
        samples.add("workers", len(hub.workers("dlhub-worker-native")))


def large(bench: Bench) -> None:
    tensors.large(bench, identity(tensors.LARGE_BYTES // 4))


def batched(bench: Bench) -> None:
    subprocess.run(["ninja", "-C", str(bench.build), "bench/engine_alone"], check=True, capture_output=True)
    batches.encoder(bench)
    batches.mlp(bench, models())


def workers(bench: Bench) -> None:
    many.one(bench, identity())
    many.each(bench, identity())


def memo(bench: Bench) -> None:
    memo_parts.hit(bench, identity(), lambda answer: Nginx(bench.folder / "nginx-memo", bench.folder / "nginx", answer))
    memo_parts.papers(bench)


def hardships(bench: Bench) -> None:
    faults.neighbours(bench, identity(), identity(None))
    faults.overload(bench)


def site(bench: Bench) -> None:
    there.loopback(bench, identity())


def idle(bench: Bench) -> None:
    """Many workers of one servable with nothing to do."""
    for _ in range(bench.rounds):
        idle_parts.native(bench, identity())
        idle_parts.python(bench)


def tasks(bench: Bench) -> None:
    task_parts.submissions(bench, identity())


SECTIONS = {"native": native, "memo": memo, "python": python, "grpc": grpc, "encoder": encoder, "large": large,
            "wire": tensors.wire, "batches": batched, "workers": workers, "faults": hardships,
            "examples": distribution.examples, "site": site, "tasks": tasks, "idle": idle, "life": life}


def identity(elements: int | None = 1) -> bytes:
    """ONNX's Identity of FP32[elements], as the tests have it."""
    return models().identity(models().FLOAT, [elements])


def models():
    """tools/make_models.py, which writes ONNX."""
    spec = importlib.util.spec_from_file_location("make_models", ROOT / "tools" / "make_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, comma between: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the table takes the median: %(default)s")
    parser.add_argument("--write-docs", action="store_true", help="write docs/bench.md")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    subprocess.run([HERE / "setup.sh", arguments.build], check=True)

    bench, begin = Bench(arguments), time.monotonic()
    about = machine()
    for name in chosen:
        bench.say(f"measuring: {name}")
        try:
            SECTIONS[name](bench)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            bench.notes[name] = str(error)
            bench.say(f"{name} was not measured: {error}")
    about["seconds"] = round(time.monotonic() - begin)
    results = report.results(bench.samples, about, bench.notes)
    results["examples"] = distribution.summary(bench.latencies)
    (bench.folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(report.text(results))
    print(distribution.text(results["examples"]))
    if arguments.write_docs:
        (ROOT / "docs" / "bench.md").write_text(report.markdown(results) + distribution.markdown(results["examples"]))
        if bench.latencies:
            (ROOT / "docs" / "bench-examples.svg").write_text(distribution.picture(bench.latencies))
    return 0 if not bench.notes else 1


if __name__ == "__main__":
    sys.exit(main())
