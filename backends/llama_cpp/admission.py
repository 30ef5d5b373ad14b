"""Decides which waiting sequences may join now, and whose turn it is among those with other adapters.

Pure: no library, no clock.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.prefixes import common_prefix

_WORTH_WAITING = 32
"""Tokens: a prompt waits while somebody else computes so many of its first ones."""


class Row(Protocol):
    @property
    def history(self) -> TokenArray: ...
    @property
    def length(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Row)


def joinable(
    waiting: Sequence[R], running: Sequence[R], places: int, reusable: Callable[[R], int] | None
) -> list[R]:
    """The first of the waiting that may join, at most `places`.

    A prompt that begins as one does that is being computed waits for it, so that what they share is computed
    once. `reusable` says how much of a prompt the cache holds already; None: nothing is ever shared.
    """
    if reusable is None:
        return list(waiting[:places])
    chosen: list[R] = []
    for row in waiting:
        if len(chosen) >= places:
            break
        ahead = [other for other in (*running, *chosen) if other.held < other.length - 1]
        shared = max((_shared(row, other) for other in ahead), default=0)
        # Of a whole prompt nothing is gained by computing a part of it beside the other.
        worth = _WORTH_WAITING if shared < row.length - 1 else 1
        if shared < _WORTH_WAITING or shared - reusable(row) < worth:
            chosen.append(row)
    return chosen


def _shared(row: Row, other: Row) -> int:
    """How many of its first tokens `row` could take over once `other` has computed them."""
    if row.key != other.key:
        return 0
    return common_prefix(row.history[: row.length - 1], other.history[: other.length])


class Turns:
    """Sequences with other adapters cannot share a decode: the groups take turns, step by step."""

    def __init__(self) -> None:
        self._last = ""

    def choose(self, keys: Sequence[str]) -> str:
        """Whose turn it is of those that have something to do; not empty."""
        groups = sorted(set(keys))
        later = [key for key in groups if key > self._last]
        self._last = (later or groups)[0]
        return self._last
