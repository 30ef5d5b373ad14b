"""Deadlines of the scheduler in order of time. Pure: it is told the time.

Entries are checked when they come due, not removed when they lose their meaning: a cancelled deadline costs
one look at it later instead of a search now.
"""

import heapq
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timers:
    _heap: list[tuple[float, str, str]] = field(default_factory=list)

    def set(self, at: float, kind: str, subject: str) -> None:
        heapq.heappush(self._heap, (at, kind, subject))

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[tuple[str, str]]:
        """(kind, subject) of every entry whose time has come, taken off."""
        taken: list[tuple[str, str]] = []
        while self._heap and self._heap[0][0] <= now:
            _, kind, subject = heapq.heappop(self._heap)
            taken.append((kind, subject))
        return taken
