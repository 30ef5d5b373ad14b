"""How many denoising steps a picture takes, and after which of them a preview of it goes out. Pure."""

import math
from collections.abc import Sequence

from msgspec import Struct

FEW = {"low": 1, "medium": 2, "high": 4}
"""Of models distilled to few steps."""
MANY = {"low": 15, "medium": 30, "high": 50}


class StepPlan(Struct, frozen=True):
    asked: int
    """What the scheduler's timesteps are spread over."""
    done: int
    """Of these, the last ones, which are computed: an edit begins in the midst."""


def plan(steps: int, strength: float) -> StepPlan:
    """`strength` 1: all of them. There are so many that at least one is done."""
    asked = max(steps, math.ceil(1 / strength))
    while (done := int(asked * strength)) < 1:  # 1 / strength may have been rounded down
        asked += 1
    return StepPlan(asked, done)


def preview_positions(positions: int, previews: int) -> Sequence[int]:
    """After which of `positions` steps (counted from 1) previews go out, evenly spread, never after the last.

    `previews` is below `positions`.
    """
    return [round(number * positions / (previews + 1)) for number in range(1, previews + 1)]
