"""Sending content to a hub: one file as it is, anything else as an archive; streamed, never whole in memory."""

import contextlib
import pathlib
import secrets
import tarfile
import tempfile

from .errors import InvalidArgument

PIECE = 256 << 10


@contextlib.contextmanager
def content(path, files=()):
    """(open file, its name, its size) of what is published: `path`, and `files` beside it."""
    path = pathlib.Path(path)
    if not path.exists():
        raise InvalidArgument(f"{path}: no such file or folder")
    if path.is_file() and not files:
        with open(path, "rb") as file:
            yield file, path.name, path.stat().st_size
        return
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            # A folder's content lies at the archive's root, unless something is put beside it.
            archive.add(path, arcname="." if path.is_dir() and not files else path.name, filter=_plain)
            for extra in map(pathlib.Path, files):
                if not extra.exists():
                    raise InvalidArgument(f"{extra}: no such file or folder")
                archive.add(extra, arcname=extra.name, filter=_plain)
        size = file.tell()
        file.seek(0)
        yield file, f"{path.name}.tar", size


def _plain(member):
    """No links or devices, nobody's names: what the hub would refuse is refused here, with its path."""
    if not (member.isfile() or member.isdir()):
        raise InvalidArgument(f"{member.name}: is a link or a special file; only files and folders can be published")
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


class Multipart:
    """The body of a publish, as `requests` reads it: the metadata document, then the file."""

    def __init__(self, document, file, filename, size):
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        quoted = filename.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"json\"; filename=\"dlhub.json\"\r\n"
                "Content-Type: application/json\r\n\r\n").encode() + document + \
               (f"\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{quoted}\"\r\n"
                "Content-Type: application/octet-stream\r\n\r\n").encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        self._parts, self._file, self._left = [head, None, tail], file, size
        self._total = len(head) + size + len(tail)

    def __len__(self):
        return self._total

    def read(self, size=-1):
        size = size if 0 <= size < PIECE else PIECE
        while self._parts:
            if self._parts[0] is None:
                piece = self._file.read(min(size, self._left))
                if self._left and not piece:
                    raise InvalidArgument("the file became shorter while it was sent")
                self._left -= len(piece)
                if not self._left:
                    self._parts.pop(0)
            else:
                piece, self._parts[0] = self._parts[0][:size], self._parts[0][size:]
                if not self._parts[0]:
                    self._parts.pop(0)
            if piece:
                return piece
        return b""
