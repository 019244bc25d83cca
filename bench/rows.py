"""The table: what is compared with what, and the bar. A row is a measured median, or the ratio of two."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    title: str
    value: str  # the name of a measured value
    over: str  # what it is divided by; empty: nothing
    bar: str  # "<=" or ">="
    limit: float
    unit: str = ""
    peer: str = ""
    inverse: bool = False  # the peer's over ours, as for times that say how much faster we are

    def result(self, samples):
        """The ratio or value; None where something was not measured."""
        value, over = samples.median(self.value), samples.median(self.over) if self.over else 1.0
        if not value or not over:
            return value if not self.over else None
        return over / value if self.inverse else value / over

    def held(self, result: float) -> bool:
        return result <= self.limit if self.bar == "<=" else result >= self.limit


ROWS = (
    Row("native no-op, 1 connection, one CPU: p50", "native p50", "nginx p50", "<=", 3, "us", "nginx, a constant"),
    Row("native no-op, 64 connections: server CPU a request", "native CPU", "nginx CPU", "<=", 3.5, "us", "nginx, a constant"),
    Row("native no-op, 64 connections: requests a second", "native rate", "nginx rate", ">=", 0.4, "/s", "nginx, a constant"),
    Row("answer from memory, 64 connections: server CPU a request", "memo hit CPU", "memo peer CPU", "<=", 2, "us",
        "nginx, a constant"),
    Row("answer from memory, 64 connections: requests a second", "memo hit rate", "memo peer rate", ">=", 0.55, "/s",
        "nginx, a constant"),
    Row("calls as in the papers, memo and batches: time a call", "papers memo and batches us", "papers one at a time us", "<=", 0.05,
        "us", "one at a time without"),
    Row("Python no-op, 64 connections: requests a second", "python rate", "triton rate", ">=", 2, "/s", "Triton, Python backend"),
    Row("gRPC no-op, Python servable, 64 calls under way: calls a second", "python gRPC rate", "triton gRPC rate", ">=", 2, "/s",
        "Triton, Python backend"),
    Row("Python no-op, 64 connections, against tasks a second", "python rate", "parsl rate", ">=", 40, "/s", "Parsl HTEX"),
    Row("encoder SavedModel, batch 1: p50, how many times faster", "encoder p50", "tensorflow p50", ">=", 4, "us",
        "TensorFlow in-process", inverse=True),
    Row("encoder SavedModel: largest difference from TensorFlow", "encoder difference", "", "<=", 1e-5),
    *(Row(f"encoder, 1 row a request, {n} clients: rows a second", f"encoder {n} clients rows", f"encoder {n} alone", ">=", 0.8,
          "/s", "OpenVINO alone at that batch") for n in (1, 8, 64)),
    Row("MLP, 256 rows a request: rows a second", "mlp rows", "mlp alone", ">=", 0.8, "/s", "OpenVINO alone at that batch"),
    Row("512 workers of one servable: requests a second", "512 workers rate", "best count rate", ">=", 0.9, "/s",
        "the best count of 1, 2, 4 ... 512"),
    Row("512 servables, one worker each, at random: requests a second", "512 servables rate", "one servable rate", ">=", 0.3, "/s",
        "one of them alone"),
    Row("512 servables: workers that served", "512 servables served", "", ">=", 512),
    Row("site on loopback, 64 connections: requests a second", "site rate", "local rate", ">=", 0.6, "/s", "the same hub alone"),
    Row("site on loopback, 64 connections: server CPU a request", "site CPU", "local CPU", "<=", 2, "us", "the same hub alone"),
    Row("asynchronous runs accepted, 64 connections, each synced: a second", "tasks accepted", "", ">=", 5000, "/s"),
    Row("p99 beside a run of 60 s and JSON bodies of 64 MB", "neighbours p99", "", "<=", 5, "ms"),
    Row("ten times as many callers, 60 s: answers a second", "overload goodput", "peak goodput", ">=", 0.9, "/s", "the peak"),
    Row("ten times as many callers: neither answered nor told to come back", "overload other failures", "", "<=", 0),
    Row("ten times as many callers: memory that the hub grew by", "overload memory growth", "", "<=", 64, "MB"),
    Row("4 MB tensor in and out, binary: requests a second", "large 4 MB rate", "echo 4 MB rate", ">=", 0.7, "/s",
        "a bare socket echo in C"),
    Row("JSON to FP32, 150,528 values of 17 to 19 digits, one core", "wire scan 17 digits", "", ">=", 400, "MB/s"),
    Row("JSON to FP32, six decimals", "wire scan 6 decimals", "", ">=", 400, "MB/s"),
    Row("FP32 to JSON, 17 to 19 digits", "wire print 17 digits", "", ">=", 250, "MB/s"),
    Row("FP32 to JSON, six decimals", "wire print 6 decimals", "", ">=", 250, "MB/s"),
    Row("hub: start to ready", "ready", "", "<=", 100, "ms"),
    Row("hub: resident when idle", "hub resident", "", "<=", 25, "MB"),
    Row("native worker after load: private memory", "native private", "", "<=", 12, "MB"),
    Row("native workers of one servable, 512, idle: private memory each", "idle native private", "", "<=", 8, "MB"),
    Row("native workers of one servable: 1 to 512 started", "512 native started", "", "<=", 8, "s"),
    Row("Python workers of one servable, 64, idle: private memory each", "idle Python private", "", "<=", 8, "MB"),
    Row("native servable, cold: first answer", "cold", "", "<=", 300, "ms"),
)
