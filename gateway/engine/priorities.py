"""The priority classes that a request can have, and what they are called. Pure."""

from typing import Literal, get_args

PriorityClass = Literal["interactive", "normal", "batch"]
"""From the first to be served to the last."""

CLASSES: tuple[PriorityClass, ...] = get_args(PriorityClass)
LEVELS: dict[str, int] = {"interactive": 1, "normal": 0, "batch": -1}
"""What a job carries as its priority: the larger goes first."""
HIGHEST, LOWEST = LEVELS["interactive"], LEVELS["batch"]


def level_of(priority: int) -> int:
    """The level of a job's priority, which may be any number."""
    return max(LOWEST, min(HIGHEST, priority))


def class_of(priority: int) -> PriorityClass:
    return CLASSES[HIGHEST - level_of(priority)]


def lower_of(one: PriorityClass, other: PriorityClass) -> PriorityClass:
    return min(one, other, key=LEVELS.__getitem__)
