"""How many threads `auto` stands for. Light: no library is asked."""

import math
import os
from pathlib import Path


def own_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def usable_cores() -> int:
    """Of these, as many as the quota of its cgroup pays for."""
    cores = own_cores()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no cgroup, or no quota ("max")
    return max(cores, 1)
