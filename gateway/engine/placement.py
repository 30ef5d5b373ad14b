"""Which device a model goes to, and which idle models must leave for it. Pure.

Answers `(target, resident, devices) -> Plan | NoRoomFor`; never starts or stops anything.
"""

from collections.abc import Sequence

from msgspec import Struct


class Device(Struct, frozen=True):
    """A place with memory. `budget_bytes`: what models may take of it, all together."""

    name: str
    budget_bytes: int

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` …"""
        return self.name.partition(":")[0]


class Target(Struct, frozen=True):
    """A model that wants a place."""

    model: str
    memory_bytes: int
    pinned: str = "auto"
    kinds: tuple[str, ...] = ("cpu",)
    """Kinds of device that its backend can use, best first."""


class Resident(Struct, frozen=True):
    """A worker that takes memory now."""

    worker_id: int
    device: str
    memory_bytes: int
    idle: bool
    last_used: float


class Plan(Struct, frozen=True):
    device: str
    evict: tuple[int, ...] = ()
    """Workers to stop first."""


class NoRoomFor(Struct, frozen=True):
    """It does not fit. `ever`: it would, once busy models leave."""

    needed_bytes: int
    largest_budget_bytes: int
    ever: bool


def place(target: Target, resident: Sequence[Resident], devices: Sequence[Device]) -> Plan | NoRoomFor:
    """Best fit without eviction, else the device that loses the least recently used idle models.

    Devices of a better kind come first: a model goes to the CPU only if no GPU can take it.
    """
    usable = [device for device in devices if _allowed(target, device)]
    for kind in target.kinds:
        of_kind = [device for device in usable if device.kind == kind]
        plans = [plan for device in of_kind if (plan := _plan(target, resident, device)) is not None]
        if plans:
            # Fewest evictions, then the tightest fit, so that large gaps stay for large models.
            return min(plans, key=lambda plan: (len(plan[0].evict), plan[1]))[0]
    largest = max((device.budget_bytes for device in usable), default=0)
    return NoRoomFor(target.memory_bytes, largest, ever=target.memory_bytes <= largest)


def _allowed(target: Target, device: Device) -> bool:
    if target.pinned != "auto":
        return device.name == target.pinned
    return device.kind in target.kinds


def _plan(target: Target, resident: Sequence[Resident], device: Device) -> tuple[Plan, int] | None:
    """The plan on this device and the bytes left free after it; None where it does not fit."""
    here = [worker for worker in resident if worker.device == device.name]
    free = device.budget_bytes - sum(worker.memory_bytes for worker in here)
    evict: list[int] = []
    for worker in sorted((w for w in here if w.idle), key=lambda w: w.last_used):
        if free >= target.memory_bytes:
            break
        evict.append(worker.worker_id)
        free += worker.memory_bytes
    if free < target.memory_bytes:
        return None
    return Plan(device.name, tuple(evict)), free - target.memory_bytes
