"""The scheduler's state: models, workers and jobs as it knows them. Data and simple questions only.

Owned by the scheduler alone; nobody else may change it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from backends.protocol import Capacity, Description, Job, SessionInput, SessionParameters
from config.schema import ModelSpec
from gateway.engine.errors import GatewayError

WorkerState = Literal["starting", "ready", "stopping", "killed"]


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


@dataclass(slots=True)
class Worker:
    id: int
    model: str
    device: str
    memory_bytes: int
    started_at: float
    state: WorkerState = "starting"
    capacity: Capacity = field(default_factory=lambda: Capacity(0, -1, 0, 0))
    jobs: dict[str, JobEntry] = field(default_factory=dict)
    aborting: set[str] = field(default_factory=set)
    """Jobs that nobody waits for and that the worker has not given up yet."""
    dispatched: int = 0
    """Submit messages sent so far."""
    unseen: deque[tuple[int, int]] = field(default_factory=deque)
    """(number of the Submit, items) sent and not yet in a capacity."""
    inputs_sent: int = 0
    """SessionInput messages sent so far."""
    progress_at: float = 0.0
    """Last frame, or what ended its idleness."""
    watched: bool = False
    """A watchdog deadline is set."""
    last_used: float = 0.0

    @property
    def busy(self) -> bool:
        return bool(self.jobs or self.aborting)

    @property
    def owes_progress(self) -> bool:
        """Steps must come from it. Sessions alone owe none while all that came for them is worked off."""
        return (
            bool(self.aborting)
            or self.capacity.listening
            or self.capacity.inputs < self.inputs_sent
            or any(not entry.is_session or not entry.started for entry in self.jobs.values())
        )

    @property
    def sessions(self) -> int:
        return sum(entry.is_session for entry in self.jobs.values())

    @property
    def running(self) -> int:
        """Jobs that its engine works on, those being aborted among them."""
        return sum(entry.started for entry in self.jobs.values()) + len(self.aborting)

    @property
    def room(self) -> int:
        """Items that it can take on now, before any look-ahead."""
        on_the_way = sum(items for _, items in self.unseen)
        return self.capacity.free_sequences - self.capacity.queued - on_the_way

    def update(self, capacity: Capacity) -> None:
        self.capacity = capacity
        while self.unseen and self.unseen[0][0] <= capacity.received:
            self.unseen.popleft()


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


@dataclass(slots=True)
class Model:
    spec: ModelSpec
    wanted: bool = False
    """Keep its workers running although no job waits."""
    description: Description | None = None
    queue: JobQueue = field(default_factory=JobQueue)
    workers: dict[int, Worker] = field(default_factory=dict)
    deaths: deque[float] = field(default_factory=deque)
    """Times of the recent deaths of its workers."""
    retry_at: float = 0.0
    failed_until: float = 0.0
    error: GatewayError | None = None
    """Why it does not work: broken weights, or the last death."""
    load_s: float = 0.0
    """How long the last load took; 0: never loaded."""

    @property
    def sessions(self) -> int:
        """Open ones, those that wait for a worker among them."""
        waiting = sum(entry.is_session for entry in self.queue)
        return waiting + sum(worker.sessions for worker in self.workers.values())

    def ready_workers(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.state == "ready"]

    def live_workers(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.state in ("starting", "ready")]

    def state(self, now: float) -> str:
        """One word for people: cold, starting, ready, restarting, failed."""
        if self.ready_workers():
            return "ready"
        if self.error is not None and now < self.failed_until:
            return "failed"
        if self.live_workers():
            return "starting"
        return "restarting" if now < self.retry_at else "cold"
