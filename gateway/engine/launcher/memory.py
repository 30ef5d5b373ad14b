"""How much memory a worker's processes hold, and whether all of it has come back.

Reads /proc; every call takes milliseconds, and more for many gigabytes: not to be made on the event loop.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from msgspec import Struct

_POLL_S = 0.01
_KB = 1024


class GroupMemory(Struct, frozen=True):
    """Of a process and all its children. Shared pages count by halves, thirds … (PSS)."""

    bytes: int = 0
    kept_bytes: int = 0
    """Without mapped files, which the system could drop: what an out-of-memory would be about."""
    pids: tuple[int, ...] = ()


def group_memory(pid: int) -> GroupMemory:
    """Zero once it is gone."""
    pids = tuple(_family(pid))
    sizes = [_process_memory(member) for member in pids]
    return GroupMemory(sum(size for size, _ in sizes), sum(kept for _, kept in sizes), pids)


def wait_gone(group: int, timeout_s: float) -> bool:
    """Wait until no process of the group is left but the dead whom nobody has reaped. True: all are gone."""
    deadline = time.monotonic() + timeout_s
    while _has_members(group):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from _family(child)


def children(pid: int) -> list[int]:
    """Process ids. From the kernel's list of each thread: psutil would read all of /proc."""
    try:
        if sys.platform != "linux":
            return [child.pid for child in psutil.Process(pid).children()]
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (OSError, psutil.Error):
        return []


def _process_memory(pid: int) -> tuple[int, int]:
    """PSS, and what of it is no file. Format: proc_pid_smaps_rollup(5)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident(pid)
    fields = {}
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) * _KB
    pss = fields.get("Pss", 0)
    return pss, fields.get("Pss_Anon", pss) + fields.get("Pss_Shmem", 0)


def _resident(pid: int) -> tuple[int, int]:
    """Where the system does not tell PSS (macOS): shared pages count in full."""
    if sys.platform == "linux":
        return 0, 0
    try:
        size = int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0, 0
    return size, size


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS, of a group of zombies
        return False
    if sys.platform != "linux":
        return False
    return any(_is_alive_in(group, Path("/proc", name)) for name in os.listdir("/proc") if name.isdigit())


def _is_alive_in(group: int, process: Path) -> bool:
    """Format: proc_pid_stat(5); the name in brackets may hold anything."""
    try:
        state, _, pgrp = (process / "stat").read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(pgrp) == group and state not in ("Z", "X")
