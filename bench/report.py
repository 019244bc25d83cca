"""The results as JSON, as a table for a terminal, and as docs/bench.md."""

from rows import ROWS

HOW = """`make bench` starts the hub and its peers on this machine, measures them turn about in one run and prints this table of
ratios; a ratio compares more between machines than a time does. Each figure is the median of the rounds.

- *One connection*: client, hub and worker (or peer) pinned to one CPU. Unpinned, the CPU's sleep and the placement of
  processes are what such a figure shows. `bench/latency.c` keeps every latency.
- *64 connections*: `wrk`, one thread, placed by the kernel as the servers are. CPU a request is the user and system time of
  all server processes (hub and workers; nginx's master and worker; Triton and its stub) over the requests answered.
- *nginx* answers the same request with a constant of the same size: what HTTP alone costs.
- *Native no-op*: an ONNX Identity of FP32[1] in OpenVINO. *Python no-op*: a published function that returns "hello world";
  the same in Triton's Python backend (one instance) and as a Parsl app (HTEX, one worker). Through the hub each request
  passes its token, the access decision and the check against the schema, in Open Inference Protocol JSON.
- *Encoder*: the convolutional encoder of `examples/encoder` (64x64 to 100), one row a request as a binary tensor; TensorFlow
  calls the same SavedModel in its own process, the faster of its two ways.
- *Private memory* is Private_Clean + Private_Dirty of smaps_rollup, all processes of one worker together; of many idle ones,
  of all processes below the hub (the zygote, and those that only wait for an end) over the number of workers.
"""


def results(samples, machine: dict, notes: dict) -> dict:
    rows = []
    for row in ROWS:
        value = row.result(samples)
        rows.append({
            "title": row.title,
            "measured": samples.median(row.value),
            "peer": row.peer,
            "peer_measured": samples.median(row.over) if row.over else None,
            "unit": row.unit,
            "result": value,
            "ratio": bool(row.over),
            "bar": f"{row.bar} {row.limit:g}",
            "held": None if value is None else row.held(value),
        })
    return {"machine": machine, "rows": rows, "not_measured": notes, "samples": samples.values}


def number(value, unit: str = "") -> str:
    if value is None:
        return ""
    text = f"{value:.1e}" if abs(value) < 0.001 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip() if unit != "/s" else f"{text}/s"


def cells(row: dict) -> list[str]:
    ours = number(row["measured"], row["unit"])
    theirs = f"{number(row['peer_measured'], row['unit'])} ({row['peer']})" if row["ratio"] and row["peer_measured"] else ""
    result = number(row["result"]) + ("x" if row["ratio"] and row["result"] is not None else "")
    held = {True: "yes", False: "NO", None: "not measured"}[row["held"]]
    return [row["title"], ours, theirs, result if row["ratio"] else ours, row["bar"] + ("x" if row["ratio"] else ""), held]


HEAD = ["what", "DLHub", "peer", "result", "bar", "held"]


def _machine(about: dict) -> str:
    return (f"{about['cpu']}, {about['cpus']} CPUs, {about['memory_gb']} GB, Linux {about['kernel']}; "
            f"load before the run {about['load_before']:.2f}; {about['seconds']} s")


def _warnings(about: dict) -> list[str]:
    return ["The machine was not idle before the run: take the figures with care."] if about["load_before"] > 0.5 else []


def text(results: dict) -> str:
    table = [HEAD, *(cells(row) for row in results["rows"])]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table]
    lines += ["", _machine(results["machine"]), *_warnings(results["machine"])]
    lines += [f"{name} was not measured: {why}" for name, why in results["not_measured"].items()]
    return "\n".join(lines)


def markdown(results: dict) -> str:
    lines = ["# Bench", "", HOW, "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in results["rows"]]
    lines += ["", f"Machine: {_machine(results['machine'])}.", *_warnings(results["machine"]), "",
              "Where the time goes in rows that miss their bar: [bench-profile.md](bench-profile.md).", "", "Command: `make bench BENCH_FLAGS=--write-docs`.", ""]
    return "\n".join(lines)
