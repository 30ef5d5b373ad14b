"""Saved states as files of one folder, which several workers may share.

Owns the file format, the folder's bound and who may be trusted: only regular files of this user are read,
never links, and a file's content counts only after its checksum. Names say nothing of the content. Must not
know what the data means, and never logs tokens.

    magic, version, lengths | fingerprint | key | tokens (int32) | data | blake2b of all before

All numbers are little-endian. A file's time of change is when its state was last used.
"""

import errno
import fcntl
import os
import re
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np
from msgspec import Struct

from backends.llama_cpp.model import TokenArray

Data = bytes | bytearray | memoryview

_MAGIC = b"LCXSTATE"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIIQ")
"""Magic, version, bytes of the fingerprint, bytes of the key, number of tokens, bytes of data."""
_DIGEST_BYTES = 32
_CHUNK_BYTES = 8 * 1024 * 1024
_NAME = re.compile(r"[0-9a-f]{32}\.state")
_PARTIAL = re.compile(r"[0-9a-f]{32}\.partial")
_LOCK_POLL_S = 0.02


class Header(Struct, frozen=True):
    """What a state file says of itself; not proven before its data has been read."""

    name: str
    key: str
    tokens: TokenArray
    data_bytes: int


class Facts(Struct, frozen=True):
    """A file of the folder, whoever's it is."""

    name: str
    size_bytes: int
    used_ns: int


def state_name(fingerprint: str, key: str, tokens: TokenArray) -> str:
    """The same for the same state in every worker."""
    digest = blake2b(digest_size=16)
    for part in (fingerprint.encode(), key.encode(), tokens.astype("<i4", copy=False).tobytes()):
        digest.update(struct.pack("<Q", len(part)) + part)
    return f"{digest.hexdigest()}.state"


class StateFolder:
    """All methods raise OSError where the disk does not play along, and may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        fingerprint: str,
        lock_s: float = 5.0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.max_bytes = max_bytes
        self.fingerprint = fingerprint
        self._clock_ns = clock_ns
        self._lock_s = lock_s
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Everything happens below this handle: nobody can put another folder in its place later.
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._claim()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def scan(self) -> list[Facts]:
        """The state files that are there, least recently used first."""
        found = [self._facts(name) for name in os.listdir(self._folder) if _NAME.fullmatch(name)]
        return sorted((facts for facts in found if facts), key=lambda facts: (facts.used_ns, facts.name))

    def header(self, name: str) -> Header | None:
        """None: no file of this fingerprint that is as long as it says."""
        try:
            with self._open(name) as file:
                return self._read_header(file, name)
        except (OSError, ValueError):
            return None

    def read(self, name: str, key: str, tokens: TokenArray) -> memoryview | None:
        """The data, proven to be whole and of exactly this key and these tokens; None otherwise."""
        try:
            with self._open(name) as file:
                header = self._read_header(file, name)
                if header.key != key or not np.array_equal(header.tokens, tokens):
                    return None
                return self._read_data(file, header)
        except (OSError, ValueError):
            return None

    def file_bytes(self, key: str, tokens: TokenArray, data_bytes: int) -> int:
        """How large the file of a state is."""
        return len(self._head(key, tokens, data_bytes)) + data_bytes + _DIGEST_BYTES

    def write(self, name: str, key: str, tokens: TokenArray, data: Data, used_ns: int) -> bool:
        """Put a state in place of what was used less recently, whoever wrote that. False: all is newer."""
        head = self._head(key, tokens, len(data))
        with self._lock():
            if not self._make_room(self.file_bytes(key, tokens, len(data)), name, used_ns):
                return False
            partial = name.replace(".state", ".partial")
            try:
                self._write_file(partial, head, data, used_ns)
                os.rename(partial, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except OSError:
                self.remove(partial)
                raise
        return True

    def touch(self, name: str, used_ns: int) -> None:
        """Note a use, as far as the disk allows."""
        try:
            os.utime(name, ns=(used_ns, used_ns), dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return

    def remove(self, name: str) -> bool:
        try:
            os.unlink(name, dir_fd=self._folder)
        except OSError:
            return False
        return True

    # --- reading ------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        """Not blocking: a pipe by that name must not hold a request up."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=self._folder), "rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
                raise ValueError("no file of ours")
            yield file

    def _read_header(self, file: IO[bytes], name: str) -> Header:
        """Raises ValueError if the file is another's, or longer or shorter than it says."""
        fixed = file.read(_HEADER.size)
        if len(fixed) < _HEADER.size:
            raise ValueError("too short")
        magic, version, fingerprint_bytes, key_bytes, count, data_bytes = _HEADER.unpack(fixed)
        variable = fingerprint_bytes + key_bytes + 4 * count
        size = _HEADER.size + variable + data_bytes + _DIGEST_BYTES
        if magic != _MAGIC or version != _VERSION or os.fstat(file.fileno()).st_size != size:
            raise ValueError("no state file of this version, or not whole")
        rest = file.read(variable)
        if len(rest) < variable or rest[:fingerprint_bytes] != self.fingerprint.encode():
            raise ValueError("of another model")
        key = rest[fingerprint_bytes : fingerprint_bytes + key_bytes].decode()
        tokens = np.frombuffer(rest, dtype="<i4", offset=fingerprint_bytes + key_bytes).astype(np.int32)
        tokens.flags.writeable = False
        return Header(name, key, tokens, data_bytes)

    def _read_data(self, file: IO[bytes], header: Header) -> memoryview | None:
        digest = blake2b(self._head(header.key, header.tokens, header.data_bytes), digest_size=_DIGEST_BYTES)
        # An array need not be cleared first, as a bytearray of this size would be.
        data = np.empty(header.data_bytes, dtype=np.uint8).data
        start = 0
        while start < len(data):
            count = file.readinto(data[start : start + _CHUNK_BYTES])  # type: ignore[attr-defined]
            if not count:
                return None
            digest.update(data[start : start + count])
            start += count
        return data if file.read(_DIGEST_BYTES) == digest.digest() else None

    def _facts(self, name: str) -> Facts | None:
        try:
            facts = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return None  # removed by another worker
        # A time yet to come would keep a file for ever.
        used_ns = facts.st_mtime_ns if facts.st_mtime_ns <= self._clock_ns() else 0
        return Facts(name, facts.st_size, used_ns)

    # --- writing ------------------------------------------------------------------------------------------

    def _head(self, key: str, tokens: TokenArray, data_bytes: int) -> bytes:
        fingerprint, encoded = self.fingerprint.encode(), key.encode()
        lengths = (len(fingerprint), len(encoded), len(tokens), data_bytes)
        fixed = _HEADER.pack(_MAGIC, _VERSION, *lengths)
        return fixed + fingerprint + encoded + tokens.astype("<i4", copy=False).tobytes()

    def _write_file(self, name: str, head: bytes, data: Data, used_ns: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest = blake2b(digest_size=_DIGEST_BYTES)
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=self._folder), "wb", buffering=0) as file:
            whole = memoryview(data)
            chunks = (whole[start : start + _CHUNK_BYTES] for start in range(0, len(whole), _CHUNK_BYTES))
            for chunk in (memoryview(head), *chunks):
                digest.update(chunk)
                _write_all(file, chunk)
            _write_all(file, memoryview(digest.digest()))
            os.utime(file.fileno(), ns=(used_ns, used_ns))

    def _make_room(self, size_bytes: int, name: str, used_ns: int) -> bool:
        """Only with the lock: whoever else writes waits, so partial files are of workers that have died."""
        for left in os.listdir(self._folder):
            if _PARTIAL.fullmatch(left):
                self.remove(left)
        others = [facts for facts in self.scan() if facts.name != name]
        used = sum(facts.size_bytes for facts in others)
        for facts in others:
            if used + size_bytes <= self.max_bytes or facts.used_ns > used_ns:
                break
            if self.remove(facts.name):
                used -= facts.size_bytes
        return used + size_bytes <= self.max_bytes

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer at a time, over all workers. Waits in vain only if another one hangs."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open("lock", flags, 0o600, dir_fd=self._folder)
        deadline = time.monotonic() + self._lock_s
        try:
            while not _locked(lock):
                if time.monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "another worker holds the folder's lock")
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(lock)

    def _claim(self) -> None:
        """The folder must be ours and closed to others: what lies in it is somebody's conversation."""
        facts = os.fstat(self._folder)
        if facts.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "the folder belongs to another user")
        if stat.S_IMODE(facts.st_mode) & 0o077:
            os.fchmod(self._folder, 0o700)


def _write_all(file: IO[bytes], chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[file.write(chunk) :]


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
