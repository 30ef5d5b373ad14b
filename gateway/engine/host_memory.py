"""How much memory the CPU has for us: the machine's, or what the control group leaves of it.

Reads files of the system only. Must not decide anything.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil
from msgspec import Struct

_PROC_CGROUP = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


class HostMemory(Struct, frozen=True):
    total_bytes: int
    available_bytes: int
    """What could be taken now without swapping; the system gives up cached files for it."""


def host_memory(proc_cgroup: Path = _PROC_CGROUP, cgroup_root: Path = _CGROUP_ROOT) -> HostMemory:
    """The least that the machine, our control group and each group around it leave us."""
    machine = psutil.virtual_memory()
    bounds = [HostMemory(machine.total, machine.available), *_groups(proc_cgroup, cgroup_root)]
    return HostMemory(
        min(bound.total_bytes for bound in bounds), min(bound.available_bytes for bound in bounds)
    )


def _groups(proc_cgroup: Path, root: Path) -> Iterator[HostMemory]:
    """Each group with a limit. Formats: cgroups(7), and the kernel's pages on cgroup v1 and v2."""
    try:
        lines = proc_cgroup.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            yield from _limits(root / "memory", path, *names)
        elif not controllers:
            yield from _limits(root, path, "memory.max", "memory.current", "")


def _limits(root: Path, path: str, limit_file: str, usage_file: str, prefix: str) -> Iterator[HostMemory]:
    """Of the group and those around it. In a container the root is often the group itself."""
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            return
        limit, usage = _number(folder / limit_file), _number(folder / usage_file)
        if limit is not None and usage is not None:
            held = max(0, usage - _reclaimable(folder / "memory.stat", prefix))
            yield HostMemory(limit, max(0, limit - held))


def _reclaimable(path: Path, prefix: str) -> int:
    """Cached files: they count as used until somebody needs the room."""
    wanted = {f"{prefix}active_file", f"{prefix}inactive_file"}
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in wanted)


def _number(path: Path) -> int | None:
    """None where there is no such file or no limit (`max`)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
