"""The same servable on the hub's machine and at a site, turn about."""

from measure import Target
from peers.site import HUB_FLAGS, Site

CONNECTIONS = 64
SECONDS = 3
LATENCY_COUNT, LATENCY_WARM_UP = 5000, 500


def with_pids(target: Target, pids) -> Target:
    """The same request; `pids` are whose CPU time it costs."""
    return Target(target.port, target.path, target.body, pids, target.token, target.content_type, target.headers)


def loopback(bench, model: bytes) -> None:
    samples, load = bench.samples, bench.load
    with bench.hub("hub-here") as here, bench.hub("hub-there", *HUB_FLAGS) as there:
        with Site(bench.folder / "site", there) as site:
            ours = here.publish_native(model)
            away = with_pids(there.publish_native(model), lambda: there.pids() + site.pids())
            here.answer(ours)
            there.answer(away)
            for _ in range(bench.rounds):
                for name, target in (("local", ours), ("site", away)):
                    result = load.rate(target, CONNECTIONS, SECONDS)
                    samples.add(f"{name} rate", result["rate"])
                    samples.add(f"{name} CPU", result["cpu_us"])
                    samples.add(f"{name} p99, {CONNECTIONS} connections", result["p99_us"])
            for _ in range(bench.rounds):
                for name, target in (("local", ours), ("site", away)):
                    result = load.latency(target, LATENCY_COUNT, LATENCY_WARM_UP, bench.cpu)
                    samples.add(f"{name} p50", result["p50_us"])
