"""What can be seen of the gateway without asking it: /proc, as any monitor reads it."""

import os
import time
from pathlib import Path

import psutil

MIB = 2**20


def rss_bytes(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss


def family_pss_bytes(pid: int) -> int:
    """Memory of the process and its descendants, each shared page counted once."""
    members = [psutil.Process(pid), *descendants(pid)]
    return sum(_pss_bytes(member.pid) for member in members)


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def quiet_fds(pid: int, seconds: float = 1.0) -> int:
    """The fewest within a second: what comes and goes by itself does not count."""
    fewest = fds(pid)
    for _ in range(10):
        time.sleep(seconds / 10)
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
    """Children that have ended and were not reaped."""
    return sum(_status(child) == psutil.STATUS_ZOMBIE for child in descendants(pid))


def alive(process: psutil.Process) -> bool:
    return _status(process) not in (None, psutil.STATUS_ZOMBIE)


def any_alive(processes: list[psutil.Process]) -> bool:
    return any(alive(process) for process in processes)


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
