"""Which windows are heard together, and in how long an encoder window.

Pure. The model was trained on 30 s, and its encoder is most of the work; a clip of 3 s is heard as well in a
window of a few seconds. Windows come in few lengths, so that those of different requests can share a call.
"""

import math
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

FRAMES_PER_S = 100
SAMPLES_PER_FRAME = 160
FULL_FRAMES = 3000
_LENGTHS = (300, 500, 750, 1000, 1250, 1500, 2000, 2500, FULL_FRAMES)
"""Encoder windows in frames of 10 ms."""

T = TypeVar("T")


def window_frames(samples: int, margin_s: float, least_s: float) -> int:
    """The encoder window for so many samples: with a margin, at least so long, rounded up."""
    needed = max(samples / SAMPLES_PER_FRAME + margin_s * FRAMES_PER_S, least_s * FRAMES_PER_S)
    return next((length for length in _LENGTHS if length >= needed), FULL_FRAMES)


class Key(Struct, frozen=True):
    """What the rows of one call must have in common."""

    frames: int
    context_tokens: int
    temperature: float
    detect: bool
    """The language is to be found out, before anything is written."""
    logprobs: bool


class Candidate(Struct, Generic[T], frozen=True):
    """A window that could be heard now."""

    window: T
    key: Key
    priority: int
    turn: int
    """Windows of the same recording that stand before it: a long one takes turns with short ones."""
    arrival: int


def choose(
    candidates: Sequence[Candidate[T]], most_rows: Callable[[int], int], calls: int = 1, running: int = 0
) -> list[T]:
    """The windows of the next call: the first in line, and those that can go with it.

    `most_rows` says how many there may be of a length in frames. Where several `calls` can run at once, this
    one gets its share of these windows and of those that are `running` in the others.
    """
    line = sorted(candidates, key=lambda c: (-c.priority, c.turn, c.arrival))
    if not line:
        return []
    key = line[0].key
    same = [c.window for c in line if c.key == key]
    share = math.ceil((len(same) + running) / calls)
    return same[: min(most_rows(key.frames), share)]


class StepBudget:
    """How much one call may hear, so that it takes no longer than it should; learned by measuring.

    Counted in frames of all rows together: a call costs about that, and something for being a call.
    """

    def __init__(self, max_s: float, max_rows: int) -> None:
        self._max_s = max_s
        self._max_rows = max_rows
        self._most = max_rows * FULL_FRAMES
        self._frames = self._most

    def rows(self, frames: int) -> int:
        return max(1, min(self._max_rows, self._frames // frames))

    def took(self, rows: int, frames: int, seconds: float) -> None:
        """A call was too long: less from now on. It was short and as large as was allowed: more."""
        heard = rows * frames
        if seconds > self._max_s:
            self._frames = max(frames, int(heard * self._max_s / seconds))
        elif seconds < self._max_s / 2 and 2 * heard > self._frames:
            self._frames = min(self._most, 2 * self._frames)

    def begin(self, frames: int, seconds: float) -> None:
        """What one row took, before there is anything to hear."""
        self._frames = max(frames, min(self._most, int(frames * self._max_s / max(seconds, 1e-6))))

    def shrink(self, rows: int) -> None:
        """There was no room for so many."""
        self._max_rows = max(1, rows // 2)
