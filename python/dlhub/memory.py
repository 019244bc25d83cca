"""Shared memory that a hub on this machine lends (api/local-memory.md): arrays in it go by reference, not by copy."""

import array
import json
import mmap
import os
import socket
import weakref

import numpy as np

from . import errors, tensors

MESSAGE_BYTES = 4096
TIMEOUT_S = 30


class SharedMemory:
    """`size` bytes that the hub and this process both see. Arrays made in it can be inputs and outputs of runs:

        with hub.shared_memory(64 << 20) as memory:
            images = memory.array((256, 64, 64, 1), "float32")
            code = memory.array((256, 100), "float32")
            images[:] = ...
            hub.run("alice/encoder", images, out=code)

    It ends with close(), and with the process. Whoever still has its arrays may use them; the hub does not know them then.
    """

    def __init__(self, path, token, size):
        self.size, self._at = size, 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(path)
            self._ask({"token": token or ""})
            reply, fd = self._ask({"lend": int(size)})
        except OSError as error:
            self._socket.close()
            raise errors.Unavailable(f"{path}: {error.strerror or error}", "the hub must run on this machine, and let you write "
                                     "to its local socket (settings local and local.mode)") from error
        except errors.DLHubError:
            self._socket.close()
            raise
        try:
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self.region = reply["region"]
        whole = np.frombuffer(self._map, np.uint8)
        self._begin = whole.__array_interface__["data"][0]

    def _ask(self, message):
        try:
            self._socket.send(json.dumps(message).encode())
        except BrokenPipeError:
            pass  # refused already; why can still be read
        data, ancillary, _, _ = self._socket.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(array.array("i").itemsize))
        reply = json.loads(data) if data else {"error": "the hub closed the connection", "code": "UNAVAILABLE"}
        if "error" in reply:
            raise errors.from_document(reply)
        return reply, array.array("i", ancillary[0][2])[0] if ancillary else None

    def array(self, shape, dtype="float32"):
        """The next free part of it as an array."""
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        begin = -(-self._at // 64) * 64
        if dtype.hasobject or begin + count * dtype.itemsize > self.size:
            raise errors.ResourceExhausted(f"{count * dtype.itemsize} bytes do not fit into what is left of {self.size}",
                                           "ask for more: hub.shared_memory(BYTES)")
        self._at = begin + count * dtype.itemsize
        return np.frombuffer(self._map, dtype, count, begin).reshape(shape)

    def clear(self):
        """Makes all of it free again; what array() gave before is then shared with what it gives next."""
        self._at = 0

    def part(self, value):
        """What a request says of an array that lies in here, whole and in order; else None."""
        if not isinstance(value, np.ndarray) or not value.flags.c_contiguous or value.dtype.byteorder == ">":
            return None
        offset = value.__array_interface__["data"][0] - self._begin
        if not 0 <= offset <= self.size - value.nbytes:
            return None
        return {"shared_memory_region": self.region, "shared_memory_offset": offset, "shared_memory_byte_size": value.nbytes}

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Memories:
    """Those of one Hub that are still there."""

    def __init__(self):
        self._all = weakref.WeakSet()

    def add(self, memory):
        self._all.add(memory)
        return memory

    def part(self, value, datatype=None):
        """As SharedMemory.part(), of an array of that datatype (None: of any that can be sent)."""
        if not self._all or not isinstance(value, np.ndarray) or value.dtype not in tensors.NAMES or \
                datatype not in (None, tensors.NAMES[value.dtype]):
            return None
        return next((part for memory in self._all if memory._socket.fileno() >= 0 and (part := memory.part(value))), None)
