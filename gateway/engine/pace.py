"""How fast a model works off its queue, learned while jobs wait. Pure.

Only the pauses between two jobs that went while a third waited count: they say how long the next one takes to
come up. While nobody waits there is nothing to learn.
"""

from collections import deque
from dataclasses import dataclass, field

_FEWEST = 4
"""Pauses from which a mean is believed."""
_MEMORY_S = 600.0
"""For how long one counts: those that are refused because of it cannot teach a shorter one."""


@dataclass(slots=True)
class Pace:
    _pauses: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=32))
    """(when it ended, seconds)"""
    _went_at: float | None = None
    """When the last one went, if others waited then."""

    def job_went(self, now: float, waits_since: float, *, others_wait: bool) -> None:
        """One that waited since then went to a worker. `others_wait`: for a worker, not for their own key."""
        # Those that waited when the last one went may have left: one that came later tells nothing.
        if self._went_at is not None and waits_since <= self._went_at:
            self._pauses.append((now, now - self._went_at))
        self._went_at = now if others_wait else None

    def pause_s(self, now: float) -> float | None:
        """Mean time between two jobs that go; None: not known yet, or not any more."""
        while self._pauses and self._pauses[0][0] < now - _MEMORY_S:
            self._pauses.popleft()
        if len(self._pauses) < _FEWEST:
            return None
        return sum(pause_s for _, pause_s in self._pauses) / len(self._pauses)
