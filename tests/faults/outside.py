"""What can be seen of the gateway without asking it: /proc, as any monitor reads it."""

import os
import time
from pathlib import Path

import psutil

MIB = 2**20
QUIET_S = 1.0
CLOSING_S = 10.0
"""A connection or a pipe may take so long to be closed; what leaks stays."""
REAPED_S = 10.0


def rss_bytes(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss


def family_pss_bytes(pid: int) -> int:
    """Memory of the process and its descendants, each shared page counted once."""
    members = [psutil.Process(pid), *descendants(pid)]
    return sum(_pss_bytes(member.pid) for member in members)


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def quiet_fds(pid: int, before: int | None = None) -> int:
    """The fewest within a while: what comes and goes by itself does not count.

    `before`: an earlier count of the same. Waits until there are no more than that, at most CLOSING_S.
    """
    ends_at = time.monotonic() + (QUIET_S if before is None else CLOSING_S)
    fewest = fds(pid)
    while time.monotonic() < ends_at and (before is None or fewest > before):
        time.sleep(0.05)
        fewest = min(fewest, fds(pid))
    return fewest


def cpu_s(pid: int) -> float:
    """Processor seconds that it has used itself."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def descendants(pid: int) -> list[psutil.Process]:
    """Workers and their helpers, zombies too."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def zombies(pid: int) -> int:
    """Children that have ended and are not reaped within REAPED_S."""
    ends_at = time.monotonic() + REAPED_S
    while (count := _zombies(pid)) and time.monotonic() < ends_at:
        time.sleep(0.05)
    return count


def alive(process: psutil.Process) -> bool:
    return _status(process) not in (None, psutil.STATUS_ZOMBIE)


def any_alive(processes: list[psutil.Process]) -> bool:
    return any(alive(process) for process in processes)


def _zombies(pid: int) -> int:
    return sum(_status(child) == psutil.STATUS_ZOMBIE for child in descendants(pid))


def _status(process: psutil.Process) -> str | None:
    try:
        return process.status() if process.is_running() else None
    except psutil.NoSuchProcess:
        return None


def _pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
