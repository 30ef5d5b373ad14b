"""The gateway's own folder for files that live as long as a request or a worker.

Owns its making and its end. It is locked for as long as the process lives: the lock tells a later gateway
which folders are left over from dead ones, and cleaners of temporary folders to leave it alone.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

_NAME = re.compile(r"llm-cortex-(\d+)-[a-z0-9_]+")


class Spool:
    """`folder` exists, readable by this user alone, until `close`; a forked child does not keep it alive."""

    def __init__(self, parent: Path) -> None:
        """Removes what dead gateways have left in `parent`. Raises OSError."""
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=f"llm-cortex-{os.getpid()}-", dir=parent))
        self._lock = _lock(self.folder)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _sweep(parent: Path) -> None:
    for folder in _left_over(parent):
        with contextlib.suppress(OSError):
            lock = _lock(folder)  # refused while its gateway lives, in another container too
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _left_over(parent: Path) -> Iterator[Path]:
    """Folders of gateways that are gone; one just made, and not locked yet, is not among them."""
    for entry in os.scandir(parent):
        found = _NAME.fullmatch(entry.name)
        if found is None or not entry.is_dir(follow_symlinks=False):
            continue
        pid = int(found[1])
        # In a container every gateway may have the same pid: ours has made no folder so far.
        if pid == os.getpid() or not psutil.pid_exists(pid):
            yield Path(entry.path)


def _lock(folder: Path) -> int:
    """Raises OSError if another process has it locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):  # a file system without locks
            os.close(descriptor)
            raise
    return descriptor
