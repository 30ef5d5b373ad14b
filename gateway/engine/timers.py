"""Deadlines of the scheduler in order of time. Pure: it is told the time.

A dropped deadline stays in the heap until it comes due or half of the heap is such: dropping costs a set
entry, and the memory is bounded by the deadlines that still mean something.
"""

import heapq
from dataclasses import dataclass, field

_SMALL = 1024
"""A heap of this size is never worth cleaning."""


@dataclass(slots=True)
class Timers:
    _heap: list[tuple[float, str, str]] = field(default_factory=list)
    _dropped: set[tuple[str, str]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, kind: str, subject: str) -> None:
        heapq.heappush(self._heap, (at, kind, subject))

    def drop(self, kind: str, subject: str) -> None:
        """The deadline of this subject means nothing any more; the subject is never used again.

        Of a subject with several, one is dropped; the others come due for whoever is not there any more.
        """
        self._dropped.add((kind, subject))
        if len(self._heap) > _SMALL and len(self._dropped) > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[1:] not in self._dropped]
            heapq.heapify(self._heap)
            self._dropped.clear()

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[tuple[str, str]]:
        """(kind, subject) of every deadline whose time has come, taken off."""
        taken: list[tuple[str, str]] = []
        while self._heap and self._heap[0][0] <= now:
            _, kind, subject = heapq.heappop(self._heap)
            if (kind, subject) in self._dropped:
                self._dropped.discard((kind, subject))
            else:
                taken.append((kind, subject))
        return taken
