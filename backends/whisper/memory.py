"""Memory that the encoder has used is kept for its next window.

Owns what the C library's allocator is told. By default it maps each large buffer anew and gives it back, and
the system clears its pages every time: a quarter of the encoder's processor time in a full window.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Names of malloc.h."""
_KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """For the whole process, before it has threads. Does nothing where the C library is not glibc."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)  # those of further threads hold no large buffers
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
