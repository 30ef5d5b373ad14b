"""The machine under the measurement: what it is, and who used its processor meanwhile.

Owns the reading of /proc/stat and of process times. On a shared machine a figure is only worth something with
the steal and the other processes' share beside it.
"""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from msgspec import Struct

from benchmarks.figures import median

QUIET_PCT = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Machine(Struct, frozen=True):
    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    measured_at: str


class CpuTimes(Struct, frozen=True):
    """Seconds since boot, over all cores."""

    busy_s: float
    idle_s: float
    steal_s: float


class CpuUse(Struct, frozen=True):
    """Processor time of one measurement; percentages are of all that could have been had."""

    client_s: float
    measured_s: float
    """The server under measurement with all its children."""
    idle_side_s: float
    """The server that waits for its turn: should be near nothing."""
    others_pct: float
    """Everything else on the machine."""
    steal_pct: float


def describe() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        kernel=platform.release(),
        python=platform.python_version(),
        measured_at=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def parse_stat(text: str) -> CpuTimes:
    """The first line of /proc/stat: user nice system idle iowait irq softirq steal … (proc(5))."""
    ticks = [int(value) / _TICKS_PER_S for value in text.split("\n", 1)[0].split()[1:]]
    user, nice, system, idle, iowait, irq, softirq, steal = ticks[:8]
    return CpuTimes(busy_s=user + nice + system + irq + softirq, idle_s=idle + iowait, steal_s=steal)


def cpu_times() -> CpuTimes:
    """Zeros where the system has no /proc/stat: steal is then not known."""
    try:
        return parse_stat(Path("/proc/stat").read_text())
    except OSError:
        return CpuTimes(0.0, 0.0, 0.0)


def tree_cpu_s(pid: int) -> float:
    """Processor time that a process and its living children have used."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_cpu_s(process) for process in processes)


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def disturbance(uses: Sequence[CpuUse]) -> str:
    """A warning for the summary; empty if the machine was quiet enough for the figures to count."""
    others, steal = median([use.others_pct for use in uses]), median([use.steal_pct for use in uses])
    if others <= QUIET_PCT and steal <= QUIET_PCT:
        return ""
    return f"DISTURBED: others used {others:.0f} % of the machine, steal took {steal:.0f} %. Measure again.\n"


class CpuMeter:
    """Started before a measurement, read once after it."""

    def __init__(self, measured_pid: int, idle_pids: list[int]) -> None:
        self._measured_pid = measured_pid
        self._idle_pids = idle_pids
        self._before = cpu_times()
        self._measured_before = tree_cpu_s(measured_pid)
        self._idle_before = sum(map(tree_cpu_s, idle_pids))

    def read(self, client_s: float, ended_s: float = 0.0) -> CpuUse:
        """`ended_s`: processor time of measured processes that have ended."""
        now = cpu_times()
        measured = tree_cpu_s(self._measured_pid) - self._measured_before + ended_s
        idle_side = sum(map(tree_cpu_s, self._idle_pids)) - self._idle_before
        busy, idle, steal = (
            now.busy_s - self._before.busy_s,
            now.idle_s - self._before.idle_s,
            now.steal_s - self._before.steal_s,
        )
        total = busy + idle + steal
        return CpuUse(
            client_s=client_s,
            measured_s=measured,
            idle_side_s=idle_side,
            others_pct=100 * max(0.0, busy - measured - idle_side - client_s) / total if total else 0.0,
            steal_pct=100 * steal / total if total else 0.0,
        )
