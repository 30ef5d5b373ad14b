"""How a model's memory is divided over several devices. Pure arithmetic.

A split model costs more than a whole one: every device has compute buffers and a context of its own, and
layers are not divided. So each device of a split is asked for `SPLIT_BYTES` and a share of the model more.
"""

from collections.abc import Iterator, Mapping

SPLIT_BYTES = 256 * 1024 * 1024
"""For a device's own context and buffers."""
_SPLIT_SHARE = 0.03
"""Of the model, for the layer that lies on one side of a border or the other."""


def split_candidates(free: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """The two devices with the most room, the three …; names in the order of the devices."""
    by_room = sorted(free, key=lambda name: -free[name])
    for count in range(2, len(free) + 1):
        chosen = set(by_room[:count])
        yield tuple(name for name in free if name in chosen)


def room(free: Mapping[str, int], need_bytes: int) -> int:
    """Bytes that a model of about this size can have of these devices together; negative: none of it fits."""
    if len(free) == 1:
        return next(iter(free.values()))
    own = _own_bytes(need_bytes)
    # A device without room for its own part is no part of a split.
    return sum(size - own for size in free.values()) if all(size > own for size in free.values()) else -1


def share_out(free: Mapping[str, int], need_bytes: int) -> dict[str, int]:
    """Bytes for each device, larger where more is free; `room(free, need_bytes)` must suffice."""
    if len(free) == 1:
        return dict.fromkeys(free, need_bytes)
    own = _own_bytes(need_bytes)
    together = sum(size - own for size in free.values())
    # Rounded down: no device may be asked for more than it has. The parts' own bytes cover the rest.
    return {name: own + need_bytes * (size - own) // together for name, size in free.items()}


def _own_bytes(need_bytes: int) -> int:
    return SPLIT_BYTES + int(need_bytes * _SPLIT_SHARE)
