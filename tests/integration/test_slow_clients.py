"""Clients that send their bytes slowly, or not at all: they cost themselves their connection and nobody else anything."""
import socket

import pytest
import requests

from support import HubProcess, wait_for

HEAD = b"POST /v2/models/admin/none/infer HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def strict(tmp_path):
    hub = HubProcess(tmp_path / "hub", "--limits.head_s", "1", "--limits.idle_s", "2", "--limits.body_rate", "1M",
                     "--limits.connections", "64", "--metrics.public")
    yield hub
    assert hub.stop() == 0, hub.log_text()


def connect(hub, data=b""):
    host, port = hub.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=30)
    line.sendall(data)
    return line


def is_closed(line):
    """Waits for the hub's end of the connection."""
    try:
        while line.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def hung_up(hub):
    text = requests.get(hub.url + "/metrics", timeout=30).text
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("dlhub_http_hung_up_total ")))


def test_a_head_that_never_ends(strict):
    line = connect(strict, HEAD)
    assert is_closed(line)
    assert hung_up(strict) >= 1


def test_a_head_that_is_dribbled(strict):
    """Never silent for long, so that only the time since its begin tells."""
    line = connect(strict, HEAD)
    line.settimeout(0.1)
    for _ in range(300):
        try:
            line.sendall(b"X-A: b\r\n")
            if line.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        raise AssertionError("the connection lived on")


def test_a_body_that_crawls(strict, identity_onnx):
    from support import document
    assert strict.publish(document("identity"), identity_onnx)["status"] == "succeeded"
    line = connect(strict, b"POST /v2/models/admin/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
    assert is_closed(line)


def test_a_kept_connection_may_rest(strict):
    """Longer than a head may take: it has shown that it can."""
    with requests.Session() as session:
        assert session.get(strict.url + "/v2", timeout=30).status_code == 200
        other = connect(strict, HEAD)
        assert is_closed(other)  # limits.head_s has passed
        before = hung_up(strict)
        assert session.get(strict.url + "/v2", timeout=30).status_code == 200
        assert hung_up(strict) == before


def test_many_slow_clients_keep_nobody_out(strict):
    """Three times as many as there are places."""
    slow = [connect(strict, HEAD) for _ in range(192)]
    for _ in range(50):
        assert requests.get(strict.url + "/v2/health/live", timeout=30).status_code == 200
    assert hung_up(strict) > 0
    for line in slow:
        line.close()
    wait_for(lambda: "dlhub_http_connections 1\n" in requests.get(strict.url + "/metrics", timeout=30).text,
             what="the end of the slow connections")
