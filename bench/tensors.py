"""Large tensors: their way through the hub against a bare echo, and what JSON costs."""

import re
import subprocess

from measure import Failed
from peers.echo import Echo

LARGE_BYTES = 4 << 20
LARGE_COUNT, LARGE_WARM_UP = 300, 30
# The lines of wire_bench that have a row.
WIRE = {"parse FP32, 17 digits": "scan 17 digits", "parse FP32, 6 decimals": "scan 6 decimals",
        "write FP32, of 17 digits": "print 17 digits", "write FP32, of 6 decimals": "print 6 decimals"}


def large(bench, identity: bytes) -> None:
    """4 MB in and out, binary, one connection, turn about; unpinned: two processes of ours share what the echo does alone."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-large") as hub, Echo(bench.folder / "echo-run", bench.folder / "echo") as echo:
        hub.publish_native(identity)
        ours = hub.tensor("identity", "x", [LARGE_BYTES // 4], bytes(LARGE_BYTES))
        if len(hub.answer(ours)) <= LARGE_BYTES:
            raise Failed("the hub did not give the tensor back")
        theirs = echo.target(ours)
        for _ in range(bench.rounds):
            for name, target in (("echo", theirs), ("large", ours)):
                result = load.latency(target, LARGE_COUNT, LARGE_WARM_UP, bench.cpu)
                samples.add(f"{name} 4 MB rate", 1e6 / result["mean_us"])


def wire(bench) -> None:
    """The parsers and writers alone, on one core."""
    subprocess.run(["ninja", "-C", str(bench.build), "bench/wire_bench"], check=True, capture_output=True)
    for _ in range(bench.rounds):
        done = subprocess.run([bench.build / "bench" / "wire_bench", "0.1"], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            found = re.match(r"(.+?)\s+\d+ bytes\s+[\d.]+ us\s+([\d.]+) MB/s", line)
            if found and found.group(1) in WIRE:
                bench.samples.add(f"wire {WIRE[found.group(1)]}", float(found.group(2)))
