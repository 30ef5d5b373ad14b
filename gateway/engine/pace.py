"""How fast a model works off its queue, learned while jobs wait. Pure.

Only the pauses between two jobs that went while a third waited count: they say how long the next one takes to
come up. While nobody waits there is nothing to learn.
"""

from collections import deque
from dataclasses import dataclass, field

_FEWEST = 4
"""Pauses from which a mean is believed."""


@dataclass(slots=True)
class Pace:
    _pauses: deque[float] = field(default_factory=lambda: deque(maxlen=32))
    _went_at: float | None = None
    """When the last one went, if others waited then."""

    def job_went(self, now: float, *, others_wait: bool) -> None:
        """A waiting job went to a worker."""
        if self._went_at is not None:
            self._pauses.append(now - self._went_at)
        self._went_at = now if others_wait else None

    def pause_s(self) -> float | None:
        """Mean time between two jobs that go; None: not known yet."""
        if len(self._pauses) < _FEWEST:
            return None
        return sum(self._pauses) / len(self._pauses)
