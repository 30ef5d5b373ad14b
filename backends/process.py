"""What every process on the worker's side does first: die with its parent, find its backend.

Must not load weights.
"""

import ctypes
import os
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from backends.base import Backend
from backends.protocol import Load

ENTRY_POINT_GROUP = "llm_cortex.backends"
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere the closed channel does it).

    Source: prctl(2). The parent may have died before the call, so its pid is compared afterwards.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def open_backend(load: Load) -> Backend[Any]:
    """The backend that the model names, not loaded yet. Raises ValueError if no package registers it."""
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=load.spec.backend):
        backend: Backend[Any] = entry.load()(load.spec, Path(load.weights))
        backend.spread = load.spread
        return backend
    known = sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})
    raise ValueError(f"no backend named {load.spec.backend!r} is installed; there are: {', '.join(known)}")
