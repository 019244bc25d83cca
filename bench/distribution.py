"""How long 1,000 calls of each example take, one after another: percentiles, and a picture of the distributions."""

import json
import math
import subprocess
import sys

from measure import HERE, Failed
from peers.hub import Hub

CALLS, WARM_UP = 1000, 20
PERCENTILES = (1, 25, 50, 75, 99)
WIDTH, ROW, LEFT, RIGHT, TOP = 860, 26, 210, 110, 34  # pixels of the picture
INK, PALE, STRONG = "#333", "#c9d6e8", "#3465a4"


def examples(bench) -> None:
    """Those that `make demo` publishes; it is run where it has not been."""
    demo = bench.build / "demo"
    if not (demo / "data" / "catalog.sqlite").exists():
        bench.say("  making the examples: make demo")
        command = [sys.executable, HERE.parent / "tools" / "demo.py", "--build", bench.build, "--stop"]
        if subprocess.run([str(part) for part in command], capture_output=True).returncode:
            raise Failed("make demo failed, so that there are no examples")
    with Hub(bench.folder / "hub-examples", bench.programs, data=demo / "data") as hub:
        for name, file in inputs(demo / "out"):
            bench.say(f"  {name}")
            target = hub.example(f"alice/{name}", file)
            hub.answer(target)
            bench.latencies[name] = bench.load.each(target, CALLS, WARM_UP)


def inputs(out):
    """(servable, its example's input) of all examples that have one."""
    for description in sorted((HERE.parent / "examples").glob("*/example.json")):
        for servable in json.loads(description.read_text())["servables"]:
            if "example_input" in servable:
                yield servable["name"], out / description.parent.name / servable["example_input"]


def percentile(rising: list[float], share: float) -> float:
    return rising[min(int(len(rising) * share / 100), len(rising) - 1)]


def summary(latencies: dict) -> dict:
    """Milliseconds by name: p1, p25, p50, p75, p99 and the longest."""
    return {name: {**{f"p{p}": round(percentile(rising, p) / 1e3, 4) for p in PERCENTILES}, "max": round(rising[-1] / 1e3, 4)}
            for name, rising in sorted(latencies.items())}


def text(rows: dict) -> str:
    if not rows:
        return ""
    lines = ["", f"{'1,000 calls of each example, ms':40}" + "".join(f"{f'p{p}':>10}" for p in PERCENTILES) + f"{'max':>10}"]
    lines += [f"{name:40}" + "".join(f"{value:10.3f}" for value in row.values()) for name, row in rows.items()]
    return "\n".join(lines)


def markdown(rows: dict) -> str:
    if not rows:
        return ""
    head = [*(f"p{p}" for p in PERCENTILES), "max"]
    lines = ["", "## 1,000 calls of each example", "",
             "One connection, one call after another, the example input that it was published with, as JSON or .npy, and no answer "
             "from the memo; milliseconds.", "",
             "![The distributions: from p1 to p99 a line, from p25 to p75 a bar, the median a mark](bench-examples.svg)", "",
             "| example | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    lines += [f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def picture(latencies: dict) -> str:
    """One row an example on a logarithmic axis of milliseconds."""
    rows = sorted(latencies.items(), key=lambda item: percentile(item[1], 50))
    low = math.floor(math.log10(min(percentile(rising, 1) for _, rising in rows) / 1e3))
    high = math.ceil(math.log10(max(percentile(rising, 99) for _, rising in rows) / 1e3))
    height = TOP + ROW * len(rows) + 30

    def x(us: float) -> float:
        return LEFT + (math.log10(us / 1e3) - low) / max(high - low, 1) * (WIDTH - LEFT - RIGHT)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="{LEFT}" y="18" fill="{INK}">milliseconds a call: line p1 to p99, bar p25 to p75, mark p50</text>']
    for power in range(low, high + 1):
        at = x(10.0**power * 1e3)
        out += [f'<line x1="{at:.1f}" y1="{TOP - 6}" x2="{at:.1f}" y2="{height - 24}" stroke="#ddd"/>',
                f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle" fill="{INK}">{10.0**power:g}</text>']
    for i, (name, rising) in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        p1, p25, p50, p75, p99 = (x(percentile(rising, p)) for p in PERCENTILES)
        out += [f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{name}</text>',
                f'<line x1="{p1:.1f}" y1="{y:.1f}" x2="{p99:.1f}" y2="{y:.1f}" stroke="{STRONG}"/>',
                f'<rect x="{p25:.1f}" y="{y - 6:.1f}" width="{max(p75 - p25, 1):.1f}" height="12" fill="{PALE}" stroke="{STRONG}"/>',
                f'<line x1="{p50:.1f}" y1="{y - 8:.1f}" x2="{p50:.1f}" y2="{y + 8:.1f}" stroke="{INK}" stroke-width="2"/>',
                f'<text x="{WIDTH - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{percentile(rising, 50) / 1e3:.3g} ms</text>']
    return "\n".join([*out, "</svg>", ""])
