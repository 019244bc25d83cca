"""Traces, the log as JSON, and slow runs: what an operator's tools read."""
import http.server
import json
import queue
import threading

import pytest

from support import HubProcess, document, wait_for

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """An OTLP/HTTP receiver that keeps what it is sent."""

    def __init__(self, status=200):
        spans = self.spans = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
                for resource in body["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        spans.put(scope["spans"])
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def infer(hub, **headers):
    return hub.post("/v2/models/admin/identity/infer", headers=headers, json={
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]})


def attributes(span):
    return {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}


def test_a_callers_trace_is_joined(tmp_path, collector, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--trace.otlp", collector.url, "--trace.sample", "0")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    assert infer(hub).status_code == 200  # not sampled
    assert infer(hub, traceparent=f"00-{TRACE}-{PARENT}-00").status_code == 200  # the caller says no
    assert infer(hub, traceparent=f"00-{TRACE}-{PARENT}-01", **{"X-Request-Id": "mine"}).status_code == 200
    spans = collector.spans.get(timeout=30)
    assert {span["traceId"] for span in spans} == {TRACE}
    root = next(span for span in spans if span["kind"] == 2)
    assert root["parentSpanId"] == PARENT and root["name"] == "run"
    said = attributes(root)
    assert said["dlhub.servable"] == "admin/identity" and said["dlhub.version"] == "1"
    assert said["enduser.id"] == "admin" and said["dlhub.request_id"] == "mine"
    children = [span for span in spans if span is not root]
    assert [span["name"] for span in children] == ["decode", "queue", "run", "encode"]
    assert all(span["parentSpanId"] == root["spanId"] for span in children)
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)
    assert collector.spans.empty()
    assert hub.stop() == 0


def test_a_pipelines_steps_are_spans(tmp_path, collector, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--trace.otlp", collector.url, "--trace.sample", "0")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    servable = {"type": "Pipeline", "shim": "hub.Pipeline", "pipeline": {
        "steps": [{"name": "one", "servable": "admin/identity", "inputs": "input"},
                  {"name": "two", "combine": "mean", "inputs": ["one", "input"]}], "outputs": "two"}}
    reply = hub.post("/api/v1/publish", files={"json": ("dlhub.json", json.dumps({**document("line"), "servable": servable}),
                                                        "application/json")})
    assert hub.wait_task(reply.json()["task_id"])["status"] == "succeeded"
    answer = hub.post("/api/v1/servables/admin/line/run", json={"data": [1, 2]}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert answer.status_code == 200, answer.text
    spans = collector.spans.get(timeout=30)
    root = next(span for span in spans if span["kind"] == 2)
    steps = {span["name"]: span for span in spans if span["name"].startswith("step ")}
    assert list(steps) == ["step one", "step two"] and all(span["parentSpanId"] == root["spanId"] for span in steps.values())
    assert attributes(steps["step one"]) == {"dlhub.memo": "off"} and attributes(steps["step two"]) == {"dlhub.combine": "mean"}
    assert hub.stop() == 0


def test_others_are_sampled_and_errors_are_told(tmp_path, collector, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--trace.otlp", collector.url, "--trace.sample", "1000")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    for malformed in ("", "00", f"00-{TRACE.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"):
        assert infer(hub, traceparent=malformed).status_code == 200
    traces = set()
    while len(traces) < 5:
        traces |= {span["traceId"] for span in collector.spans.get(timeout=30)}
    assert TRACE not in traces and TRACE.upper() not in traces
    assert hub.stop() == 0


def test_a_collector_that_refuses_costs_nothing_but_its_traces(tmp_path, identity_onnx):
    collector = Collector(status=503)
    hub = HubProcess(tmp_path / "hub", "--trace.otlp", collector.url, "--trace.sample", "1000", "--metrics.public")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    assert infer(hub).status_code == 200
    collector.spans.get(timeout=30)
    wait_for(lambda: 'dlhub_trace_spans_total{state="dropped"} 5' in hub.get("/metrics").text, what="the count of dropped spans")
    assert "traces are lost" in hub.log_text() and "HTTP 503" in hub.log_text()
    assert infer(hub).status_code == 200
    assert hub.stop() == 0
    collector.close()


def test_the_log_as_json_and_a_slow_run(tmp_path, identity_onnx):
    hub = HubProcess(tmp_path / "hub", "--log.format", "json", "--log.slow_ms", "1")
    assert hub.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    hub.stop()
    hub.start()
    assert infer(hub, **{"X-Request-Id": "abc-1"}).status_code == 200  # its worker has to start: more than 1 ms
    assert hub.stop() == 0
    lines = [json.loads(line) for line in hub.log_text().splitlines() if line.startswith("{")]
    assert all({"time", "level", "message"} <= line.keys() for line in lines) and len(lines) > 2
    slow = next(line for line in lines if line["message"].startswith("a slow run"))
    assert slow["servable"] == "admin/identity" and slow["request_id"] == "abc-1" and slow["code"] == "OK"
    assert float(slow["decode"]) >= 0 and float(slow["queue"]) + float(slow["run"]) > 0.5
