"""Reads how much memory is left, again and again, in a thread beside the event loop. Decides nothing.

Must not be confused with what models are measured to hold: this is about the machine running out.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.engine.events import MemoryRead
from gateway.engine.host_memory import host_memory
from gateway.engine.pressure import Reading

log = structlog.get_logger(__name__)

_STALLS = (Path("/sys/fs/cgroup/memory.pressure"), Path("/proc/pressure/memory"))


async def watch_memory(period_s: float, post: Callable[[MemoryRead], None]) -> None:
    """For ever."""
    while True:
        try:
            reading = await asyncio.to_thread(read_memory)
        except (OSError, ValueError, KeyError) as error:  # the next look may succeed
            log.warning("the memory that is left cannot be read", reason=str(error))
        else:
            post(MemoryRead(reading))
        await asyncio.sleep(period_s)


def read_memory() -> Reading:
    memory = host_memory()
    return Reading(memory.total_bytes, memory.available_bytes, max(map(stalled_share, _STALLS)))


def stalled_share(path: Path) -> float:
    """Of the last ten seconds; 0 where there is no such file. Format: the kernel's page on PSI (per cent)."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        kind, *fields = line.split()
        if kind == "full":
            values = dict(field.split("=") for field in fields)
            return float(values["avg10"]) / 100
    return 0.0
