"""Decoded media on their way to the engine: little in the message itself, much through a file.

The file lies in the worker's own temporary folder; whoever takes the item removes it. It has no name until
it is whole (where the system can do that), so that a helper that is killed leaves no part of one behind. The
name tells which process made it, so that whole files of a job that came to nothing can be removed too.
"""

import os
import sys
import tempfile
from pathlib import Path

INLINE_BYTES = 4 * 1024 * 1024
"""Two minutes of sound: far below the cap on a message."""


class Spool:
    """Collects bytes in memory, and in a file once they are more than `inline_bytes`."""

    def __init__(self, name: str, inline_bytes: int) -> None:
        self._prefix = f"{name}{_mark(os.getpid())}"
        self._inline_bytes = inline_bytes
        self._memory = bytearray()
        self._file: int | None = None
        self._path = ""

    def write(self, piece: bytes) -> None:
        self._memory += piece
        if len(self._memory) > self._inline_bytes:
            if self._file is None:
                self._open()
            self._flush()

    def finish(self) -> tuple[bytes, str]:
        """The bytes, or the path of a file that holds them and is not the spool's any more; one is empty."""
        if self._file is None:
            return bytes(self._memory), ""
        self._flush()
        if not self._path:
            path = os.path.join(tempfile.gettempdir(), f"{self._prefix}{os.urandom(8).hex()}")
            self._name(path)
            self._path = path
        path, self._path = self._path, ""
        return b"", path

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        if self._path:
            os.unlink(self._path)

    def _open(self) -> None:
        folder = tempfile.gettempdir()
        if sys.platform == "linux":
            try:
                self._file = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
                return
            except OSError:  # a file system without nameless files
                pass
        self._file, self._path = tempfile.mkstemp(prefix=self._prefix, dir=folder)

    def _name(self, path: str) -> None:
        """Only with a folder's descriptor does os.link follow the link that a nameless file has in /proc."""
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(str(self._file), path, src_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)

    def _flush(self) -> None:
        assert self._file is not None
        view = memoryview(bytes(self._memory))
        while view:
            view = view[os.write(self._file, view) :]
        self._memory.clear()


def spooled_by(pid: int) -> set[str]:
    """Files that this process has named and that nobody has removed yet."""
    folder = tempfile.gettempdir()
    return {os.path.join(folder, name) for name in os.listdir(folder) if _mark(pid) in name}


def _mark(pid: int) -> str:
    return f"-of-{pid}-"


def remove(path: str) -> None:
    """A spooled file that nobody needs any more; empty: there is none."""
    if path:
        Path(path).unlink(missing_ok=True)
