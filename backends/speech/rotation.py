"""Whose turn it is: streams speak a piece each, one after the other. Pure.

A long text so holds up a short one by at most one piece for each stream that is speaking.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")


class Rotation(Generic[S]):
    """A round of streams. One in the midst of a piece keeps its turn until the piece ends."""

    def __init__(self) -> None:
        self._round: deque[S] = deque()

    def __len__(self) -> int:
        return len(self._round)

    def join(self, stream: S) -> None:
        """Wait behind all others."""
        self._round.append(stream)

    def turn(self) -> S:
        """Who speaks now. Raises IndexError if there is nobody."""
        return self._round[0]

    def yield_turn(self) -> None:
        """The piece of the one who speaks has ended, and there are more: it goes behind all others."""
        self._round.rotate(-1)

    def leave(self, is_leaving: Callable[[S], bool]) -> None:
        """Take out those for which this is true, wherever they are."""
        self._round = deque(stream for stream in self._round if not is_leaving(stream))
