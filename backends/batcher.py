"""Which waiting items go together in one forward call. Pure: no clock, no queue, no engine.

The engine asks when it is free, so nothing waits while it is idle, and a batch grows by itself while it is
busy. The oldest item always goes, so none starves; the rest of the batch is filled with items of the same
key and nearly the same cost, because padding to the longest is what a mixed batch pays for.
"""

from collections.abc import Callable, Hashable, Sequence

from msgspec import Struct


class Waiting(Struct, frozen=True):
    """One waiting item as the batcher sees it."""

    key: Hashable
    cost: int


def take(
    waiting: Sequence[Waiting],
    *,
    max_cost: int,
    max_items: int,
    padded_cost: Callable[[Sequence[int]], int],
) -> list[int]:
    """Positions in `waiting` (oldest first) of the next batch, in rising cost.

    The batch holds the oldest item even if that alone is over `max_cost`; everything else fits the budget.
    """
    if not waiting:
        return []
    key = waiting[0].key
    same = sorted(
        (i for i, item in enumerate(waiting) if item.key == key), key=lambda i: (waiting[i].cost, i)
    )
    low = high = same.index(0)

    def fits(first: int, last: int) -> bool:
        if last - first + 1 > max_items:
            return False
        return padded_cost([waiting[i].cost for i in same[first : last + 1]]) <= max_cost

    # Smaller neighbours come first: they fill padding that the oldest item pays for anyway.
    while low > 0 and fits(low - 1, high):
        low -= 1
    while high < len(same) - 1 and fits(low, high + 1):
        high += 1
    return same[low : high + 1]
