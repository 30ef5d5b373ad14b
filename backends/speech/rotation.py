"""Whose turn it is: streams speak a piece each, one after the other. Pure.

A long text so holds up a short one by at most one piece for each stream that is speaking.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")


class Rotation(Generic[S]):
    """A round of streams. One in the midst of a piece keeps its turn until the piece ends."""

    def __init__(self, width: int) -> None:
        """`width`: how many speak at the same time."""
        self._width = width
        self._speaking: list[S] = []
        self._waiting: deque[S] = deque()

    def __len__(self) -> int:
        return len(self._speaking) + len(self._waiting)

    def join(self, stream: S) -> None:
        """Wait behind all others."""
        self._waiting.append(stream)

    def turn(self) -> list[S]:
        """Those that speak now: whoever is in the midst of a piece, then those who have waited longest."""
        while self._waiting and len(self._speaking) < self._width:
            self._speaking.append(self._waiting.popleft())
        return list(self._speaking)

    def yield_turn(self, stream: S) -> None:
        """Its piece has ended, and there are more: go behind all others."""
        self._speaking.remove(stream)
        self._waiting.append(stream)

    def leave(self, is_leaving: Callable[[S], bool]) -> list[S]:
        """Take out those for which this is true, wherever they are; the ones taken out."""
        everyone = [*self._speaking, *self._waiting]
        self._speaking = [stream for stream in self._speaking if not is_leaving(stream)]
        self._waiting = deque(stream for stream in self._waiting if not is_leaving(stream))
        return [stream for stream in everyone if is_leaving(stream)]
