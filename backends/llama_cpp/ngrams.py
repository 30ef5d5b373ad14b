"""Where each run of two to four tokens was last seen in a growing text.

Owns the index of one text. What was there at first is kept sorted, what came since in a dict, so that a new
token costs microseconds and a long prompt neither time nor memory worth speaking of. Hashes only lead to
a place: a find was compared token by token.
"""

import numpy as np
import numpy.typing as npt

from backends.llama_cpp.model import TokenArray

SIZES = (4, 3, 2)
"""Longest first: the longer the run, the likelier what followed follows again."""
_FACTOR = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_MOST_RECENT = 4096
"""Entries of the dict before they are sorted in with the rest."""


class NgramIndex:
    """From `bulk` new tokens on, everything is sorted anew, instead of adding one by one."""

    def __init__(self, bulk: int = 256) -> None:
        self._bulk = bulk
        self._ends = 1
        """The next end of a run to be indexed: runs are told by where they end, exclusively."""
        self._last = -1
        self._sorted: dict[int, tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]] = {}
        self._recent: dict[int, dict[int, int]] = {size: {} for size in SIZES}

    def continues(self, tokens: TokenArray) -> bool:
        """False if `tokens` cannot be the text of before with more at its end."""
        return len(tokens) >= self._ends and (self._ends == 1 or int(tokens[self._ends - 1]) == self._last)

    def extend(self, tokens: TokenArray) -> None:
        """Take in what is new. The run at the very end is not indexed yet: nothing has followed it."""
        length = len(tokens)
        if length - self._ends >= self._bulk or len(self._recent[2]) >= _MOST_RECENT:
            self._sort(tokens)
        else:
            self._add(tokens)
        self._ends = max(length, 1)
        self._last = int(tokens[-1]) if length else -1

    def find(self, tokens: TokenArray, shortest: int = 2) -> tuple[int, int] | None:
        """Where the longest run at the end of `tokens` last ended before, and its size."""
        length = len(tokens)
        for size in SIZES:
            if size < shortest or length <= size:
                continue
            tail = tokens[length - size :]
            end = self._look_up(size, _hash(tail.tolist()))
            if end >= size and np.array_equal(tokens[end - size : end], tail):
                return end, size
        return None

    def _look_up(self, size: int, key: int) -> int:
        end = self._recent[size].get(key)
        if end is not None:
            return end
        if size not in self._sorted:
            return -1
        keys, ends = self._sorted[size]
        place = int(keys.searchsorted(np.uint64(key), side="right")) - 1
        return int(ends[place]) if place >= 0 and int(keys[place]) == key else -1

    def _add(self, tokens: TokenArray) -> None:
        start = max(self._ends - SIZES[0], 0)
        new = tokens[start:].tolist()
        for end in range(self._ends - start, len(new)):
            for size in SIZES:
                if end >= size:
                    self._recent[size][_hash(new[end - size : end])] = start + end

    def _sort(self, tokens: TokenArray) -> None:
        values = tokens[:-1].astype(np.uint64)
        keys = values
        for size in range(2, SIZES[0] + 1):
            # keys[i] is of the run that begins at i.
            keys = keys[: max(len(values) - size + 1, 0)] * np.uint64(_FACTOR) + values[size - 1 :]
            order = keys.argsort(kind="stable")  # equal ones stay in order: the last is the most recent
            self._sorted[size] = keys[order], order + size
            self._recent[size] = {}


def _hash(run: list[int]) -> int:
    key = run[0]
    for token in run[1:]:
        key = (key * _FACTOR + token) & _MASK
    return key
