"""`/admin/devices`: how devices and what is held of them are shown. Must not know HTTP or the engine."""

from msgspec import Struct


class AdminShare(Struct, frozen=True, kw_only=True):
    """What one worker has of a device."""

    worker: int
    model: str
    reserved_bytes: int
    """Set aside for it: what it was predicted to need, or more if it holds more."""
    used_bytes: int
    """Seen to be held by it; 0: not seen yet."""


class AdminDevice(Struct, frozen=True, kw_only=True):
    """A device as it was seen last."""

    device: str
    """As a model's `device` names it."""
    title: str
    """What its maker calls it."""
    total_bytes: int
    """What it has, or what the configuration says of it."""
    budget_bytes: int
    """What models may take of it now, all together."""
    reserved_bytes: int
    used_bytes: int
    others_bytes: int
    """Held by other processes, the gateway itself among them."""
    utilisation: float | None
    """Share of the last moments in which it computed, 0 to 1; null: not told."""
    workers: list[AdminShare]


class AdminDevices(Struct, frozen=True):
    data: list[AdminDevice]
