"""The hub's side of a worker's socket: the frames of src/wire/frame.h, for tests."""

import fcntl
import json
import mmap
import os
import socket
import struct

VERSION = 1
LOAD, READY, RUN, RESULT, ERROR, SLAB, RELEASE, CANCEL, LOG, FORK, FORKED, REFUSED, EXITED, PROGRESS = range(1, 15)
WANTS_OUTPUT = 1
INLINE = 0xFFFFFFFF
INLINE_MAX = 16384
LENGTH_MAX = 64 << 20
DTYPES = [
    "INVALID",
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
    "JSON",
    "FILE",
]
HEADER = struct.Struct("=IHHQQ")
HEAD = struct.Struct("=IIH6x")
RECORD = struct.Struct("=BBHIQQ")
SLAB_FRAME = struct.Struct("=IIQ")
SEALS = 0x0002 | 0x0004  # F_SEAL_SHRINK, F_SEAL_GROW
F_ADD_SEALS = 1033


def _up(n, to):
    return (n + to - 1) // to * to


def encode(kind, payload=b"", run=0, flags=0, deadline_ns=0):
    return HEADER.pack(len(payload), kind, flags, run, deadline_ns) + payload


def encode_run(method, tensors, parameters="", slabs=None):
    """`tensors`: [(name, datatype, shape, bytes)]; `slabs`: {index: (slab, offset)} for bytes that lie there."""
    slabs = slabs or {}
    text = method.encode() + parameters.encode()
    head = HEAD.pack(len(tensors), len(parameters.encode()), len(method)) + text.ljust(_up(len(text), 8), b"\0")
    size = len(head) + sum(RECORD.size + 8 * len(shape) + _up(len(name.encode()), 8) for name, _, shape, _ in tensors)
    records, data, at = b"", b"", size
    for i, (name, datatype, shape, content) in enumerate(tensors):
        slab, offset = slabs.get(i, (INLINE, 0))
        if slab == INLINE:
            pad = _up(at, 16) - at
            data += b"\0" * pad + content
            offset = at + pad
            at = offset + len(content)
        raw = name.encode()
        records += RECORD.pack(DTYPES.index(datatype), len(shape), len(raw), slab, offset, len(content))
        records += struct.pack(f"={len(shape)}q", *shape) + raw.ljust(_up(len(raw), 8), b"\0")
    return head + records + data


def decode_run(payload, slabs):
    count, parameters_bytes, method_bytes = HEAD.unpack_from(payload)
    at = HEAD.size
    parameters = payload[at + method_bytes : at + method_bytes + parameters_bytes].decode()
    at += _up(method_bytes + parameters_bytes, 8)
    tensors = []
    for _ in range(count):
        dtype, rank, name_bytes, slab, offset, size = RECORD.unpack_from(payload, at)
        at += RECORD.size
        shape = list(struct.unpack_from(f"={rank}q", payload, at))
        at += 8 * rank
        name = payload[at : at + name_bytes].decode()
        at += _up(name_bytes, 8)
        source = payload if slab == INLINE else slabs[slab]
        tensors.append((name, DTYPES[dtype], shape, bytes(source[offset : offset + size])))
    return tensors, json.loads(parameters) if parameters else {}


class WorkerGone(Exception):
    pass


class WorkerFailed(Exception):
    """The worker answered with ERROR; `document` is what it said."""

    def __init__(self, document):
        super().__init__(f"{document['code']}: {document['message']}")
        self.document = document


class Hub:
    """One worker's socket, as the hub has it."""

    def __init__(self, sock, timeout_s=60):
        self.sock = sock
        self.sock.settimeout(timeout_s)
        self.buffer = bytearray()
        self.fds, self.slabs, self.own, self.logs, self.released = [], {}, {}, [], []
        self.progress = []
        self.run_id = 0
        self.run_ns = 0

    def send(self, data, fd=None):
        if fd is None:
            self.sock.sendall(data)
        else:
            socket.send_fds(self.sock, [data], [fd])

    def share(self, content):
        """Announces a new slab that holds `content`; returns its number."""
        size = max(65536, 1 << (len(content) - 1).bit_length())
        fd = os.memfd_create("slab", os.MFD_CLOEXEC | 2)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
        os.pwrite(fd, content, 0)
        number = len(self.own)
        self.send(encode(SLAB, SLAB_FRAME.pack(number, 0, size)), fd)
        self.own[number] = fd
        return number

    def receive(self):
        """The next frame: (kind, flags, run, deadline, payload)."""
        while True:
            if len(self.buffer) >= HEADER.size:
                length, kind, flags, run, deadline = HEADER.unpack_from(self.buffer)
                if length > LENGTH_MAX or not READY <= kind <= PROGRESS:
                    raise WorkerGone("the worker sent what is no frame")
                if len(self.buffer) >= HEADER.size + length:
                    payload = bytes(self.buffer[HEADER.size : HEADER.size + length])
                    del self.buffer[: HEADER.size + length]
                    return kind, flags, run, deadline, payload
            data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 16)
            self.fds += fds
            if not data:
                raise WorkerGone("the worker closed its socket")
            self.buffer += data

    def next_answer(self):
        """The next READY, RESULT or ERROR: (kind, run, payload); logs and slabs are kept on the way."""
        while True:
            kind, _, run, deadline, payload = self.receive()
            if kind == LOG:
                self.logs.append(payload.decode())
            elif kind == PROGRESS:
                self.progress.append((run, json.loads(payload)))
            elif kind == SLAB:
                number, _, size = SLAB_FRAME.unpack(payload)
                self.slabs[number] = mmap.mmap(self.fds.pop(0), size, mmap.MAP_SHARED, mmap.PROT_READ)
            elif kind == RELEASE:
                self.released.append(SLAB_FRAME.unpack(payload)[0])
            else:
                self.run_ns = deadline
                return kind, run, payload

    def load(self, document):
        self.send(encode(LOAD, json.dumps({"frame_version": VERSION, "threads": 1, **document}).encode()))
        kind, _, payload = self.next_answer()
        document = json.loads(payload)
        if kind == ERROR:
            raise WorkerFailed(document)
        assert kind == READY
        return document

    def run_raw(self, tensors, method="run", parameters=None, output=False, slabs=None):
        """The output tensors and the metadata."""
        self.run_id += 1
        payload = encode_run(method, tensors, json.dumps(parameters) if parameters is not None else "", slabs)
        self.send(encode(RUN, payload, self.run_id, WANTS_OUTPUT if output else 0))
        kind, run, payload = self.next_answer()
        assert run == self.run_id
        if kind == ERROR:
            raise WorkerFailed(json.loads(payload))
        tensors, metadata = decode_run(payload, self.slabs)
        for number in self._slabs_of(payload):
            self.send(encode(RELEASE, SLAB_FRAME.pack(number, 0, 0)))
        return tensors, metadata

    @staticmethod
    def _slabs_of(payload):
        count, parameters_bytes, method_bytes = HEAD.unpack_from(payload)
        at = HEAD.size + _up(method_bytes + parameters_bytes, 8)
        found = set()
        for _ in range(count):
            _, rank, name_bytes, slab, _, _ = RECORD.unpack_from(payload, at)
            at += RECORD.size + 8 * rank + _up(name_bytes, 8)
            if slab != INLINE:
                found.add(slab)
        return found

    def run_json(self, *values, **options):
        """Runs with JSON arguments; the lone JSON output, parsed."""
        tensors = [(f"input_{i}", "JSON", [], json.dumps(value).encode()) for i, value in enumerate(values)]
        outputs, _ = self.run_raw(tensors, **options)
        assert outputs[0][1] == "JSON"
        return json.loads(outputs[0][3])

    def run_arrays(self, *arrays, **options):
        """Runs with numpy arrays; the output arrays."""
        import numpy as np

        names = {
            "float32": "FP32",
            "float64": "FP64",
            "int64": "INT64",
            "int32": "INT32",
            "bool": "BOOL",
            "uint8": "UINT8",
        }
        tensors, slabs = [], {}
        for i, array in enumerate(arrays):
            content = np.ascontiguousarray(array).tobytes()
            tensors.append((f"input_{i}", names[array.dtype.name], list(array.shape), content))
            if len(content) > INLINE_MAX:
                slabs[i] = (self.share(content), 0)
        outputs, _ = self.run_raw(tensors, slabs=slabs, **options)
        back = {datatype: name for name, datatype in names.items()}
        return [np.frombuffer(content, back[datatype]).reshape(shape) for _, datatype, shape, content in outputs]

    def close(self):
        self.sock.close()


class Zygote:
    """A zygote; `hub` is the socket of a program that was started with --zygote."""

    def __init__(self, hub):
        self.hub = hub
        self.count = 0

    def next(self):
        """The next frame that is no LOG: (kind, run, payload)."""
        while True:
            kind, _, run, _, payload = self.hub.receive()
            if kind != LOG:
                return kind, run, payload
            self.hub.logs.append(payload.decode())

    def load(self, document):
        """(READY, its document), (ERROR, its document) or (REFUSED, the reason)."""
        self.document = document
        self.hub.send(encode(LOAD, json.dumps({"frame_version": VERSION, "threads": 1, **document}).encode()))
        kind, run, payload = self.next()
        assert run == 0
        return kind, payload.decode() if kind == REFUSED else json.loads(payload)

    def fork(self):
        """A worker that has loaded: a Hub, with `name` and `pidfd`, and `ready`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.count += 1
        self.hub.send(encode(FORK, b"", self.count), theirs.fileno())
        theirs.close()
        kind, run, payload = self.next()
        assert (kind, run) == (FORKED, self.count), payload
        worker = Hub(ours)
        worker.name, worker.pidfd = run, self.hub.fds.pop(0)
        worker.ready = worker.load(self.document)
        return worker

    def exited(self):
        """The next worker that ends: (name, wait status)."""
        kind, run, payload = self.next()
        assert kind == EXITED
        return run, struct.unpack("=iI", payload)[0]
