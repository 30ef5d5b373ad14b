"""Which windows are heard together, and in how long an encoder window.

Pure. The model was trained on 30 s, and its encoder is most of the work; a clip of 3 s is heard as well in a
window of a few seconds. Windows come in few lengths, so that those of different requests can share a call.
"""

from collections.abc import Sequence
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
    """The language is still to be found out."""
    logprobs: bool


class Candidate(Struct, Generic[T], frozen=True):
    """A window that could be heard now."""

    window: T
    key: Key
    priority: int
    turn: int
    """Windows of the same recording that stand before it: a long one takes turns with short ones."""
    arrival: int


def choose(candidates: Sequence[Candidate[T]], most_rows: int) -> list[T]:
    """The windows of the next call: the first in line, and those that can go with it."""
    line = sorted(candidates, key=lambda c: (-c.priority, c.turn, c.arrival))
    if not line:
        return []
    return [c.window for c in line if c.key == line[0].key][:most_rows]


class StepBudget:
    """How many windows one call may have, so that it takes no longer than it should; learned by measuring."""

    def __init__(self, max_s: float, max_rows: int) -> None:
        self._max_s = max_s
        self._max_rows = max_rows
        self._frame_s = 0.0
        """Seconds that a call took for each frame of each row, lately."""

    def rows(self, frames: int) -> int:
        if self._frame_s == 0.0:
            return self._max_rows
        return max(1, min(self._max_rows, int(self._max_s / (self._frame_s * frames))))

    def took(self, rows: int, frames: int, seconds: float) -> None:
        measured = seconds / (rows * frames)
        self._frame_s = measured if self._frame_s == 0.0 else (self._frame_s + measured) / 2

    def shrink(self, rows: int) -> None:
        """There was no room for so many."""
        self._max_rows = max(1, rows // 2)
