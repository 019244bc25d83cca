"""The memo: what an answer from memory costs, and what memo and batches save on calls as the DLHub papers made them."""

import json

from measure import Failed

CONNECTIONS, SECONDS, PAPERS_SECONDS = 64, 3, 6
DISTINCT = 128  # formulas, called at random: most come again, as when a study is repeated and widened
# In the likeness of the papers' matminer servables, which take some ten times as long: a formula becomes statistics over its
# elements' properties.
FEATURIZE = '''
import re

ELEMENTS = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
            "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"]
PROPERTIES = {name: [((k * 31 + i * 17) % 97) / 97 for k in range(132)] for i, name in enumerate(ELEMENTS)}


def featurize(formula: str) -> dict:
    parts = [(name, float(count or 1)) for name, count in re.findall(r"([A-Z][a-z]?)([0-9.]*)", formula)] or [("H", 1.0)]
    total = sum(count for _, count in parts)
    features = []
    for k in range(132):
        values = [(PROPERTIES[name][k], count / total) for name, count in parts]
        mean = sum(value * share for value, share in values)
        features += [mean, sum(abs(value - mean) * share for value, share in values), min(values)[0], max(values)[0]]
    means = features[::4]
    features += [sum((PROPERTIES[name][k] - means[k]) * (PROPERTIES[name][j] - means[j]) * count / total for name, count in parts)
                 for k in range(0, 132, 4) for j in range(0, k, 4)]  # how they go together
    return {"formula": formula, "features": [round(one, 9) for one in features]}
'''


def hit(bench, model: bytes, nginx) -> None:
    """The native no-op answered from memory, against nginx's constant, turn about. `nginx` makes that peer."""
    samples, load = bench.samples, bench.load
    with bench.hub("hub-memo") as hub:
        ours = hub.publish_native(model)
        hub.serve_as("identity", {"memo": True})
        with nginx(hub.answer(ours)) as peer:
            limit = peer.target(ours)
            for _ in range(bench.rounds):
                for name, target in (("memo peer", limit), ("memo hit", ours)):
                    result = load.rate(target, CONNECTIONS, SECONDS)
                    samples.add(f"{name} rate", result["rate"])
                    samples.add(f"{name} CPU", result["cpu_us"])
        hits = hub.statistics("identity")["inference_stats"]["cache_hit"]["count"]
        if hits < samples.median("memo hit rate") * SECONDS * 0.9:
            raise Failed(f"only {hits} answers came from memory")


def formulas() -> list[str]:
    names = ["H", "Li", "C", "N", "O", "Na", "Mg", "Al", "Si", "S", "Cl", "Ca", "Ti", "Fe", "Cu", "Zn"]
    return [f"{names[i % 16]}{i // 256 + 1}{names[i // 16 % 16]}{i % 7 + 1}{names[i * 5 % 16]}{i % 3 + 1}O{i % 5 + 1}" for i in range(DISTINCT)]


def papers(bench) -> None:
    """The same calls one at a time without memo and batches, and from 64 clients with both."""
    samples, load = bench.samples, bench.load
    bodies = [json.dumps({"data": formula}).encode() for formula in formulas()]
    with bench.hub("hub-papers") as hub:
        module = hub.folder / "features.py"
        module.write_text(FEATURIZE)
        hub.publish(module, "featurize", "--function", "featurize")
        ours = hub.plain("featurize", bodies[0]).at("/api/v1/servables/admin/featurize/run")
        for _ in range(bench.rounds):
            hub.serve_as("featurize", {"memo": False, "batch": False, "replicas": {"min": 1, "max": 1}})
            hub.answer(ours)
            samples.add("papers one at a time us", 1e6 / load.rate(ours, 1, PAPERS_SECONDS, bodies=bodies)["rate"])
            hub.serve_as("featurize", {"memo": True, "replicas": {"min": 1, "max": 1}})
            hub.answer(ours)
            samples.add("papers memo and batches us", 1e6 / load.rate(ours, CONNECTIONS, PAPERS_SECONDS, bodies=bodies)["rate"])
