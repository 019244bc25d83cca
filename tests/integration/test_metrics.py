"""GET /metrics, read by Prometheus' own parser."""
import requests
from prometheus_client.parser import text_string_to_metric_families

from support import HubProcess


def metrics_of(hub):
    answer = hub.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families, name, **labels):
    """The sample of exactly that name whose labels include these; 0 where there is none."""
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0


def test_only_administrators_read_them(hub):
    assert requests.get(hub.url + "/metrics", timeout=10).status_code == 401
    token = hub.user("bob")
    assert hub.get("/metrics", token=token).status_code == 403


def test_the_setting_opens_them(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--metrics.public")
    assert requests.get(hub.url + "/metrics", timeout=10).status_code == 200
    assert hub.stop() == 0


def test_the_process_and_its_answers(hub):
    before = metrics_of(hub)
    assert value(before, "process_resident_memory_bytes") > 1e6
    assert value(before, "process_open_fds") > 3
    assert 0 <= value(before, "dlhub_loop_longest_turn_seconds") < 60
    assert hub.get("/nowhere").status_code == 404
    after = metrics_of(hub)
    assert value(after, "dlhub_http_replies_total", code="404") == value(before, "dlhub_http_replies_total", code="404") + 1
    assert value(after, "dlhub_http_replies_total", code="200") == value(before, "dlhub_http_replies_total", code="200") + 1
