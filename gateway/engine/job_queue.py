"""The jobs that wait for a model, and what the scheduler knows of each job. Data and simple questions only.

Owned by the scheduler alone; nobody else may change it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from backends.protocol import Job, SessionInput, SessionParameters


@dataclass(slots=True)
class JobEntry:
    """One job from its arrival to its end."""

    job: Job
    key: str
    arrived_at: float
    deadline: float
    queue_deadline: float
    worker_id: int | None = None
    started: bool = False
    sent: bool = False
    """An output has gone out: it cannot be replayed."""
    deaths: int = 0
    """Workers that died while they ran it."""
    waiting_input: list[SessionInput] = field(default_factory=list)
    """Of a session that no worker has yet; its credit bounds it."""

    @property
    def is_session(self) -> bool:
        return isinstance(self.job.parameters, SessionParameters)

    @property
    def items(self) -> int:
        return self.job.result_count


class JobQueue:
    """Jobs that wait for one model: higher priority first, then in order of arrival."""

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, JobEntry]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[JobEntry]:
        for priority in sorted(self._levels, reverse=True):
            yield from self._levels[priority].values()

    def push(self, entry: JobEntry, *, front: bool = False) -> None:
        level = self._levels.setdefault(entry.job.priority, OrderedDict())
        level[entry.job.id] = entry
        if front:
            level.move_to_end(entry.job.id, last=False)
        self._count += 1

    def remove(self, entry: JobEntry) -> bool:
        level = self._levels.get(entry.job.priority)
        if level is None or level.pop(entry.job.id, None) is None:
            return False
        if not level:
            del self._levels[entry.job.priority]
        self._count -= 1
        return True

    def first(self) -> JobEntry | None:
        return next(iter(self), None)
