"""HTTP/2 frames by hand, for what no well-behaved client does."""
import contextlib
import socket
import struct

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    """An HPACK string, not compressed."""
    value = value.encode() if isinstance(value, str) else value
    length = b"" if len(value) >= 127 else bytes([len(value)])
    if not length:
        rest, length = len(value) - 127, b"\x7f"
        while rest > 127:
            length, rest = length + bytes([rest & 127 | 128]), rest >> 7
        length += bytes([rest])
    return length + value


def headers(path, **more):
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "hub", "content-type": "application/grpc", "te": "trailers"}
    pairs |= {key.replace("_", "-"): value for key, value in more.items()}
    return b"".join(b"\x00" + text(key) + text(value) for key, value in pairs.items())


def message(payload=b"", compressed=0):
    return struct.pack(">BI", compressed, len(payload)) + payload


class Line:
    """One connection."""

    def __init__(self, address, greet=True, window=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.buffer, self.decoder = b"", hpack.Decoder()
        if greet:
            settings = b"" if window is None else struct.pack(">HI", 4, window)
            self.send(PREFACE + frame(SETTINGS, payload=settings))
            self.settings = dict(struct.iter_unpack(">HI", self.until(SETTINGS)[3]))
            self.send(frame(SETTINGS, ACK))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *data):
        self.socket.sendall(b"".join(data))

    def read(self):
        """The next frame, as (kind, flags, stream, payload), of HEADERS a dict; None at the end."""
        for need in (9, None):
            need = need or 9 + int.from_bytes(self.buffer[:3], "big")
            while len(self.buffer) < need:
                try:
                    piece = self.socket.recv(65536)
                except ConnectionResetError:
                    piece = b""
                if not piece:
                    return None
                self.buffer += piece
        kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
        payload, self.buffer = self.buffer[9:need], self.buffer[need:]
        return kind, flags, stream, dict(self.decoder.decode(payload)) if kind == HEADERS else payload

    def until(self, kind, stream=None):
        """The first frame of that kind (and stream); those before it are passed over."""
        while one := self.read():
            if one[0] == kind and stream in (None, one[2]):
                return one
        raise AssertionError(f"the connection ended without a frame of kind {kind}")

    def status(self, stream):
        """The grpc-message that ends the call, or the grpc-status where there is none."""
        fields = {}
        while "grpc-status" not in fields:
            fields = self.until(HEADERS, stream)[3]
        return fields.get("grpc-message", fields["grpc-status"])

    def rest(self):
        """All frames until the end."""
        with contextlib.closing(self.socket):
            return list(iter(self.read, None))

    def ping(self):
        """Waits until the hub has seen all that was sent."""
        self.send(frame(PING, payload=b"8 bytes!"))
        while self.until(PING)[1] != ACK:
            pass
