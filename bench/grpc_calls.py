"""gRPC requests of the Open Inference Protocol, written without a library (api/inference.proto), and who gets them."""

from dataclasses import dataclass
from typing import Callable

INFER = "/inference.GRPCInferenceService/ModelInfer"


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def infer_request(model: str, name: str, datatype: str, shape: list[int], data: bytes) -> bytes:
    """A ModelInferRequest with one input in raw contents."""
    tensor = _field(1, name) + _field(2, datatype) + _field(3, b"".join(map(_varint, shape)))
    return _field(1, model) + _field(5, tensor) + _field(7, data)


@dataclass
class GrpcTarget:
    """One call, made again and again: to whom, what, and whose CPU time it costs."""

    port: int
    message: bytes
    pids: Callable[[], list[int]]
    token: str = ""
    path: str = INFER
