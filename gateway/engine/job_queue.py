"""The jobs that wait for a model, and what the scheduler knows of each job. Data and simple questions only.

Owned by the scheduler alone; nobody else may change it. A higher class goes first; a job that has waited for
long rises into the class above, so that nothing starves; within a class the keys take turns (see fair_queue).
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from backends.protocol import Chat, Infill, Item, Job, SessionInput, SessionParameters, Text, Tokens
from gateway.engine.fair_queue import FairQueue
from gateway.engine.priorities import CLASSES, HIGHEST, LEVELS, PriorityClass, level_of
from gateway.keys import USUAL, KeyLimits

_UNIT_CHARACTERS = 4000
"""A prompt of this length costs its key as much again as a request does."""
_UNIT_TOKENS = 1000
_numbers = count(1)
"""For all queues: a job may go from one version's to the next one's."""
_SMALL = 1024
"""A heap of this size is never worth cleaning."""


@dataclass(slots=True)
class JobEntry:
    """One job from its arrival to its end."""

    job: Job
    key: str
    arrived_at: float
    deadline: float
    queue_deadline: float
    limits: KeyLimits = USUAL
    """Of its key."""
    worker_id: int | None = None
    started: bool = False
    sent: bool = False
    """An output has gone out: it cannot be replayed."""
    deaths: int = 0
    """Workers that died while they ran it."""
    waiting_input: list[SessionInput] = field(default_factory=list)
    """Of a session that no worker has yet; its credit bounds it."""
    level: int = 0
    """Of its class, as it is after ageing."""
    number: int = 0
    """Order of arrival."""
    cost: float = 1.0
    """What it costs its key in turns."""
    returned: bool = False
    """It had its turn before: a worker had it and gave it back or died, or none was fit for it."""
    content: bytes = b""
    """Digest of what it asks, once somebody has had to know."""

    def __post_init__(self) -> None:
        self.level = level_of(self.job.priority)
        self.cost = cost_of(self.job)

    @property
    def is_session(self) -> bool:
        return isinstance(self.job.parameters, SessionParameters)

    @property
    def items(self) -> int:
        return self.job.result_count


def cost_of(job: Job) -> float:
    """One for each result, and more for long prompts: what is known before anything is computed."""
    return job.answers * sum(1 + _length(item) for item in job.items) or 1.0


def _length(item: Item) -> float:
    match item:
        case Text(text):
            return len(text) / _UNIT_CHARACTERS
        case Tokens(ids):
            return len(ids) / _UNIT_TOKENS
        case Chat(messages):
            return sum(len(message.content) for message in messages) / _UNIT_CHARACTERS
        case Infill(prefix, suffix):
            return (len(prefix) + len(suffix)) / _UNIT_CHARACTERS
    return 0.0  # nobody has looked into a recording or a picture yet


class JobQueue:
    """Jobs that wait for one model. `ageing_s`: after so long a job counts as one of the class above."""

    def __init__(self, ageing_s: float = math.inf) -> None:
        self._ageing_s = ageing_s
        self._classes = {LEVELS[name]: FairQueue[JobEntry]() for name in CLASSES}
        self._waiting: dict[int, JobEntry] = {}
        self._of_key: Counter[str] = Counter()
        self._rising: list[tuple[float, int, int]] = []
        """When which job rises from which level; those that have gone are passed over."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[JobEntry]:
        """The higher classes first."""
        for fair in self._classes.values():
            yield from fair

    def push(self, entry: JobEntry, *, front: bool = False) -> None:
        """`front`: it has had its turn before, and goes before all others of its class."""
        self._age(entry.arrived_at)  # who rose before it came goes before it
        entry.number = entry.number or next(_numbers)
        entry.returned = front
        self._waiting[entry.number] = entry
        self._of_key[entry.key] += 1
        self._enter(entry)

    def first(self, now: float) -> JobEntry | None:
        """The job that goes next, left where it is."""
        self._age(now)
        for fair in self._classes.values():
            if len(fair) and (entry := fair.first()) is not None:
                return entry
        return None

    def take(self, entry: JobEntry) -> None:
        """The first one goes to a worker."""
        self._classes[entry.level].take(entry)
        self._forget(entry)

    def remove(self, entry: JobEntry) -> bool:
        """Take a job out, wherever it stands. False: it does not wait here."""
        if self._waiting.get(entry.number) is not entry:
            return False
        self._classes[entry.level].drop(entry)
        self._forget(entry)
        return True

    def hold(self, key: str) -> None:
        """Let no job of this key go before `release`."""
        for fair in self._classes.values():
            fair.hold(key)

    def release(self, key: str) -> None:
        for fair in self._classes.values():
            fair.release(key)

    def of_key(self, key: str) -> int:
        """How many jobs of this key wait."""
        return self._of_key[key]

    def lengths(self) -> dict[PriorityClass, int]:
        """How many wait in each class, after ageing."""
        return {name: len(self._classes[LEVELS[name]]) for name in CLASSES}

    def ahead(self, level: int, key: str) -> int:
        """About how many go before a job of this level and key that comes now; those held are passed over."""
        return self._above(level) + self._classes[level].ahead(key)

    def position(self, entry: JobEntry) -> int | None:
        """About where a job stands, the first at 1; None: it does not wait here."""
        if self._waiting.get(entry.number) is not entry:
            return None
        return 1 + self._above(entry.level) + self._classes[entry.level].ahead_of(entry)

    def _above(self, level: int) -> int:
        return sum(fair.free_to_go() for above, fair in self._classes.items() if above > level)

    def _enter(self, entry: JobEntry) -> None:
        self._classes[entry.level].push(entry)
        if entry.level < HIGHEST:
            steps = entry.level - level_of(entry.job.priority) + 1
            rises_at = entry.arrived_at + steps * self._ageing_s
            heapq.heappush(self._rising, (rises_at, entry.number, entry.level))

    def _forget(self, entry: JobEntry) -> None:
        del self._waiting[entry.number]
        self._of_key[entry.key] -= 1
        if not self._of_key[entry.key]:
            del self._of_key[entry.key]
        if len(self._rising) > max(_SMALL, 4 * len(self._waiting)):
            self._rising = [rise for rise in self._rising if rise[1] in self._waiting]
            heapq.heapify(self._rising)

    def _age(self, now: float) -> None:
        while self._rising and self._rising[0][0] <= now:
            _, number, level = heapq.heappop(self._rising)
            entry = self._waiting.get(number)
            if entry is not None and entry.level == level:
                self._classes[entry.level].drop(entry)
                entry.level += 1
                self._enter(entry)
