"""Batches: what of the engine's own speed is left when it is served."""

import json
import subprocess

import encoder as encoder_parts
from measure import Failed

SECONDS = 3
CLIENTS = (1, 8, 64)
MLP = (64, 256, 256, 10)  # the widths of its layers
MLP_ROWS = 256
ONE_WORKER = json.dumps({"replicas": {"min": 1, "max": 1}, "batch": {"max": 64}})


def alone(bench, model, rows: int) -> float:
    """Rows a second of OpenVINO by itself, one thread, that many rows at once."""
    program = bench.build / "bench" / "engine_alone"
    done = subprocess.run([program, model, str(rows), "1"], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip()[-300:])
    return json.loads(done.stdout)["rows_per_s"]


def rows_a_batch(hub, name: str, before) -> tuple[float, dict]:
    """Of the batches since `before`, and the counts now."""
    now = hub.statistics(name)
    batches = now["execution_count"] - (before["execution_count"] if before else 0)
    rows = now["inference_count"] - (before["inference_count"] if before else 0)
    return rows / max(batches, 1), now


def encoder(bench) -> None:
    """One row a request from 1, 8 and 64 clients, one worker, against the engine alone at the batch that was reached."""
    samples, load = bench.samples, bench.load
    folder, _ = encoder_parts.get(bench.build)
    model = folder / "saved_model"
    with bench.hub("hub-batches") as hub:
        hub.publish(model, "encoder", "--serving", ONE_WORKER)
        given = hub.metadata("encoder")["inputs"][0]
        ours = hub.tensor("encoder", given["name"], [1, *given["shape"][1:]], bytes(4 * 64 * 64 * max(given["shape"][3], 1)))
        hub.answer(ours)
        _, before = rows_a_batch(hub, "encoder", None)
        for clients in CLIENTS:
            for _ in range(bench.rounds):
                rate = load.rate(ours, clients, SECONDS)["rate"]
                batch, before = rows_a_batch(hub, "encoder", before)
                samples.add(f"encoder {clients} clients rows", rate)
                samples.add(f"encoder {clients} clients batch", batch)
                samples.add(f"encoder {clients} alone", alone(bench, model, max(round(batch), 1)))


def mlp(bench, module) -> None:
    """256 rows a request, which no batch makes larger."""
    samples, load = bench.samples, bench.load
    file = bench.folder / "mlp.onnx"
    file.write_bytes(mlp_onnx(module))
    with bench.hub("hub-mlp") as hub:
        hub.publish(file, "mlp", "--serving", ONE_WORKER)
        ours = hub.tensor("mlp", "x", [MLP_ROWS, MLP[0]], bytes(4 * MLP_ROWS * MLP[0]))
        hub.answer(ours)
        _, before = rows_a_batch(hub, "mlp", None)
        for _ in range(bench.rounds):
            rate = load.rate(ours, 8, SECONDS)["rate"]
            batch, before = rows_a_batch(hub, "mlp", before)
            samples.add("mlp rows", rate * MLP_ROWS)
            samples.add("mlp batch", batch)
            samples.add("mlp alone", alone(bench, file, max(round(batch), 1)))


def mlp_onnx(module) -> bytes:
    """Dense layers with ReLU between them, weights made up: the time does not depend on them."""
    nodes, weights, last = b"", b"", "x"
    for i, (wide, narrow) in enumerate(zip(MLP, MLP[1:])):
        weights += module.initializer(f"w{i}", [wide, narrow], [((k * 7919) % 199 - 99) / 990 for k in range(wide * narrow)])
        is_last = i + 2 == len(MLP)
        nodes += module.node("MatMul", [last, f"w{i}"], ["y" if is_last else f"h{i}"])
        if not is_last:
            nodes += module.node("Relu", [f"h{i}"], [f"r{i}"])
        last = f"r{i}"
    return module.model(nodes, [("x", module.FLOAT, [None, MLP[0]])], [("y", module.FLOAT, [None, MLP[-1]])], weights)
