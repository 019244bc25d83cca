"""What is measured, and how: load by wrk and latency.c, CPU time and memory of processes out of /proc."""

import json
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import time

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
HERE = pathlib.Path(__file__).parent


class Failed(Exception):
    """A measurement that could not be taken; its rows say why."""


# --- processes ---


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def command_of(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().rpartition("/")[2]
    except OSError:
        return ""


def cpu_s(pids: list[int]) -> float:
    """User and system time that the processes have used, the children that they waited for and who has ended not counted."""
    total = 0.0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) * TICK_S
    return total


def pin(pids: list[int], cpus: set[int]) -> None:
    """Every thread of the processes, of those that are left, onto these CPUs."""
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)
        except OSError:
            continue


def resident_mb(pid: int) -> float:
    return _kb(f"/proc/{pid}/status", ("VmRSS:",)) / 1024


def private_mb(pids: list[int]) -> float:
    """Pages that no other process shares."""
    return sum(_kb(f"/proc/{pid}/smaps_rollup", ("Private_Clean:", "Private_Dirty:")) for pid in pids) / 1024


def _kb(path: str, names: tuple[str, ...]) -> int:
    lines = (line.split() for line in pathlib.Path(path).read_text().splitlines())
    return sum(int(words[1]) for words in lines if words and words[0] in names)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what: str, ready, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise Failed(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.02)


# --- load ---


class Target:
    """One request, sent again and again: to whom, what, and whose CPU time it costs."""

    def __init__(self, port, path, body: bytes, pids, token="", content_type="application/json", headers=()):
        self.port, self.path, self.body, self.pids, self.token = port, path, body, pids, token
        self.content_type, self.headers = content_type, headers

    def at(self, path: str) -> "Target":
        """The same request elsewhere."""
        return Target(self.port, path, self.body, self.pids, self.token, self.content_type, self.headers)

    def request(self) -> bytes:
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *self.headers,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


class Load:
    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def latency(self, target: Target, count: int, warm_up: int, cpu: int) -> dict:
        """One connection; the servers and the client on one CPU, so that the CPU's sleep is not what is measured."""
        file = self.folder / "request"
        file.write_bytes(target.request())
        pids = target.pids()
        pin(pids, {cpu})
        try:
            command = [self.folder / "latency", "127.0.0.1", target.port, file, count, warm_up]
            before = cpu_s(pids)
            result = _json(["taskset", "-c", cpu, *command])
            result["cpu_us"] = (cpu_s(pids) - before) / (count + warm_up) * 1e6
            return result
        finally:
            pin(pids, os.sched_getaffinity(0))

    def each(self, target: Target, count: int, warm_up: int) -> list[float]:
        """The microseconds of each call, rising; one connection, placed by the kernel as in daily use."""
        file, latencies = self.folder / "request", self.folder / "latencies"
        file.write_bytes(target.request())
        _json([self.folder / "latency", "127.0.0.1", target.port, file, count, warm_up, latencies])
        return [float(line) for line in latencies.read_text().split()]

    def rate(self, target: Target, connections: int, seconds: float, paths=(), may_refuse=False,
             bodies=()) -> dict:
        """Many connections; the kernel places servers and client as it likes. `paths`: to each at random; so `bodies`. `may_refuse`: what
        is told to come back is no failure of the measurement; result["good"] were answered."""
        file = self.folder / "body"
        file.write_bytes(target.body)
        environment = dict(os.environ, BENCH_BODY=str(file), BENCH_TOKEN=target.token, BENCH_TYPE=target.content_type,
                           BENCH_HEADERS="\n".join(target.headers), BENCH_PATHS="\n".join(paths))
        if bodies:
            several = self.folder / "bodies"
            several.write_bytes(b"".join(b"%d\n" % len(body) + body for body in bodies))
            environment["BENCH_BODIES"] = str(several)
        if may_refuse:
            environment["BENCH_MAY_REFUSE"] = "1"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s", "-s", HERE / "load.lua"]
        pids = target.pids()
        before = cpu_s(pids)
        result = _json([*command, f"http://127.0.0.1:{target.port}{target.path}"], environment)
        result["good"] = result["requests"] - result["failed"]
        if result["failed"] and not may_refuse:
            raise Failed(f"{result['failed']} of {result['requests']} requests failed")
        result["rate"] = result["requests"] / result["seconds"]
        result["cpu_us"] = (cpu_s(pids) - before) / result["requests"] * 1e6
        return result


    def grpc_rate(self, target, connections: int, calls: int, seconds: float) -> dict:
        """So many calls under way on each of so many connections."""
        file = self.folder / "message"
        file.write_bytes(target.message)
        pids = target.pids()
        before = cpu_s(pids)
        result = _json([self.folder / "grpc_load", target.port, target.path, file, connections, calls, seconds, target.token])
        if result["failed"] or not result["requests"]:
            raise Failed(f"{result['failed']} of {result['requests']} calls failed: {result['why']}")
        result["rate"] = result["requests"] / result["seconds"]
        result["cpu_us"] = (cpu_s(pids) - before) / result["requests"] * 1e6
        return result


def _json(command, environment=None) -> dict:
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise Failed(f"{pathlib.Path(str(command[0])).name}: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# --- results ---


class Samples:
    """Values by name, one for each round; a row takes the median."""

    def __init__(self):
        self.values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def median(self, name: str):
        return statistics.median(self.values[name]) if name in self.values else None


def machine() -> dict:
    cpu = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "memory_gb": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }
