"""Whether the memory of a worker that has ended is back: its processes gone, the driver done with it.

Waits in a thread: not to be used on the event loop.
"""

import time
from collections.abc import Sequence

from gateway.engine.gpus import Gpus
from gateway.engine.launcher.memory import wait_gone

_POLL_S = 0.1
_STILL_BYTES = 1024 * 1024
"""Use of a GPU that falls by less between two looks falls no more."""


def wait_returned(
    gpus: Gpus, group: int, pids: Sequence[int], devices: Sequence[str], timeout_s: float
) -> bool:
    """True: it is back. False: it was waited for in vain. `pids`: of all processes that it had."""
    deadline = time.monotonic() + timeout_s
    if not wait_gone(group, timeout_s):
        return False
    names = {device for device in devices if device != "cpu"}
    if not names:
        return True
    used = _used(gpus, names)
    while True:
        time.sleep(_POLL_S)
        before, used = used, _used(gpus, names)
        if not _holds(gpus, names, pids) and before - used < _STILL_BYTES:
            return True
        if time.monotonic() >= deadline:
            return False


def _holds(gpus: Gpus, names: set[str], pids: Sequence[int]) -> bool:
    return any(gpu.by_pid.keys() & set(pids) for gpu in gpus.last if gpu.name in names)


def _used(gpus: Gpus, names: set[str]) -> int:
    return sum(gpu.used_bytes for gpu in gpus.read() if gpu.name in names)
