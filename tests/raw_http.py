"""HTTP as it lies on the wire, for requests that no client library would send."""
import json
import socket
import urllib.parse


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def stays(self):
        """Whether the connection may be used again."""
        return self.headers.get("connection", "").lower() != "close"

    def json(self):
        return json.loads(self.body)


class Connection:
    """One TCP connection to a hub; replies are read one by one."""

    def __init__(self, hub, timeout=20):
        where = urllib.parse.urlsplit(hub.url)
        self.host = where.netloc
        self.socket = socket.create_connection((where.hostname, where.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def request(self, method, path, body=None, token=None, **headers):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self.read(bare=method == "HEAD")

    def more(self):
        piece = self.socket.recv(65536)
        self.buffer += piece
        return bool(piece)

    def at_end(self):
        """Nothing is left and the hub has closed."""
        try:
            return not self.buffer and not self.more()
        except ConnectionResetError:
            return True

    def read(self, bare=False):
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise AssertionError(f"the hub closed the connection without an answer; there was {self.buffer!r}")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        if status == 100:
            return self.read(bare)
        length = 0 if bare or status == 204 else int(headers.get("content-length", 0))
        while len(self.buffer) < length and self.more():
            pass
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        assert len(body) == length, f"{len(body)} of {length} bytes came"
        return Reply(status, headers, body)
