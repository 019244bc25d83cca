#!/usr/bin/env python3
"""Writes the small ONNX files that unit tests run and inspect: make_models.py FOLDER STAMP.

Encodes the protobufs by hand (onnx.proto's field numbers stand beside the calls), so that the tests need no
package, and so that graphs which the onnx package would refuse can be made too.
"""

import pathlib
import struct
import sys

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, UINT32, UINT64 = range(1, 14)
BFLOAT16 = 16


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, value) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def value_info(name: str, dtype: int, shape) -> bytes:
    """ValueInfoProto; an axis is a number, a symbol or None; shape None: unknown."""
    tensor = number(1, dtype)
    if shape is not None:
        axes = b""
        for axis in shape:
            if axis is None:
                axes += data(1, b"")
            else:
                axes += data(1, number(1, axis) if isinstance(axis, int) else data(2, axis))
        tensor += data(2, axes)
    return data(1, name) + data(2, data(1, tensor))  # type.tensor_type


def attribute(name: str, floats) -> bytes:
    return data(5, data(1, name) + b"".join(varint(7 << 3 | 5) + struct.pack("<f", f) for f in floats) + number(20, 6))


def node(op: str, inputs, outputs, domain="", attributes=b"") -> bytes:
    out = b"".join(data(1, i) for i in inputs) + b"".join(data(2, o) for o in outputs)
    return data(1, out + data(4, op) + (data(7, domain) if domain else b"") + attributes)


def initializer(name: str, dims, values) -> bytes:
    """TensorProto of floats."""
    return data(5, b"".join(number(1, d) for d in dims) + number(2, FLOAT) + data(8, name)
                + data(9, struct.pack(f"<{len(values)}f", *values)))


def model(nodes, inputs, outputs, initializers=b"", domains=(), opset=13) -> bytes:
    graph = nodes + data(2, "graph") + initializers
    graph += b"".join(data(11, value_info(*i)) for i in inputs) + b"".join(data(12, value_info(*o)) for o in outputs)
    out = number(1, 8) + data(2, "dlhub-test") + data(3, "1.0") + data(7, graph) + data(8, number(2, opset))
    return out + b"".join(data(8, data(1, d) + number(2, 3)) for d in domains)


def identity(dtype: int, shape) -> bytes:
    return model(node("Identity", ["x"], ["y"]), [("x", dtype, shape)], [("y", dtype, shape)])


MODELS = {
    "identity": identity(FLOAT, [1]),
    "relu": model(node("Relu", ["x"], ["y"]), [("x", FLOAT, ["batch", 4])], [("y", FLOAT, ["batch", 4])]),
    "large": model(node("Neg", ["x"], ["y"]), [("x", FLOAT, [1, 65536])], [("y", FLOAT, [1, 65536])]),
    "large_free": model(node("Neg", ["x"], ["y"]), [("x", FLOAT, [None, 65536])], [("y", FLOAT, [None, 65536])]),
    "two": model(
        node("Sub", ["a", "b"], ["difference"]) + node("Mul", ["a", "b"], ["product"]),
        [("b", FLOAT, ["n"]), ("a", FLOAT, ["n"])],
        [("product", FLOAT, ["n"]), ("difference", FLOAT, ["n"])],
    ),
    "scalar": model(node("Neg", ["x"], ["y"]), [("x", FLOAT, [])], [("y", FLOAT, [])]),
    "weighted": model(
        node("MatMul", ["x", "w"], ["y"]),
        [("x", FLOAT, [None, 2]), ("w", FLOAT, [2, 2])],  # older writers name weights among the inputs
        [("y", FLOAT, [None, 2])],
        initializer("w", [2, 2], [1.0, 2.0, 3.0, 4.0]),
    ),
    "string": identity(STRING, [None]),
    "boolean": model(node("Not", ["x"], ["y"]), [("x", BOOL, [None])], [("y", BOOL, [None])]),
    "int64": model(node("Neg", ["x"], ["y"]), [("x", INT64, [None])], [("y", INT64, [None])]),
    "uint8": identity(UINT8, [None]),
    "float16": identity(FLOAT16, [None]),
    "bfloat16": identity(BFLOAT16, [None]),
    "double": identity(DOUBLE, [None]),
    "unknown_rank": identity(FLOAT, None),
    "unknown_op": model(node("Nonesuch", ["x"], ["y"], "org.example"), [("x", FLOAT, [1])], [("y", FLOAT, [1])],
                        domains=["org.example"]),
    "scaler": model(
        node("Scaler", ["x"], ["y"], "ai.onnx.ml", attribute("offset", [1.0]) + attribute("scale", [2.0])),
        [("x", FLOAT, [None, 1])], [("y", FLOAT, [None, 1])], domains=["ai.onnx.ml"],
    ),
}


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in MODELS.items():
        (folder / f"{name}.onnx").write_bytes(content)
    pathlib.Path(sys.argv[2]).write_text("\n".join(MODELS))


if __name__ == "__main__":
    main()
