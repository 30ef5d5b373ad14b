"""The scheduler's state: models, workers and jobs as it knows them. Data and simple questions only.

Owned by the scheduler and the deciders it calls; nobody else may change it.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.protocol import Capacity, Description
from config.schema import LimitsConfig, ModelSpec, PlacementConfig, PressureConfig, TimeoutsConfig
from gateway.engine.errors import GatewayError
from gateway.engine.job_queue import JobEntry, JobQueue
from gateway.engine.pace import Pace
from gateway.engine.placement import Device, Share
from gateway.engine.pressure import Pressure
from gateway.engine.suspects import Suspects
from gateway.engine.timers import Timers

WorkerState = Literal["starting", "ready", "draining", "stopping", "killed"]
"""draining: it gets no more jobs, and stops when it has none."""
ModelKey = tuple[str, int]
"""Name and version."""


@dataclass(slots=True)
class Worker:
    id: int
    model: str
    shares: tuple[Share, ...]
    """What is set aside for it, by device."""
    started_at: float
    version: int = 1
    """Of its model."""
    state: WorkerState = "starting"
    stage: str = ""
    """How far its load is: weights, warm_up."""
    loaded: bool = False
    stop_reason: str = ""
    """Why it drains or stops, for people."""
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
    idle_check_at: float = 0.0
    """When its idleness is looked at next; 0: no deadline is set."""
    measured: Mapping[str, int] = field(default_factory=dict)
    """Bytes that it was last seen to hold, by device."""
    ready_at: float = 0.0
    swaps: bool = False
    """Others had to leave for it."""

    @property
    def device(self) -> str:
        """The one device, or the first of several."""
        return self.shares[0].device

    @property
    def held(self) -> tuple[Share, ...]:
        """What counts as taken: what was predicted, for it may yet grow so far, or more if it holds more."""
        return tuple(
            Share(share.device, max(share.memory_bytes, self.measured.get(share.device, 0)))
            for share in self.shares
        )

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


@dataclass(slots=True)
class Model:
    """One version of a model. Swaps make a second one that arrives while the first serves, then leaves."""

    spec: ModelSpec
    version: int = 1
    place: Literal["serving", "arriving", "leaving"] = "serving"
    never_served: bool = False
    """Its swap has failed: no job is its."""
    held: bool = False
    """No worker of it is started: its successor, which needs its room, is on the way."""
    wanted: bool = False
    """Keep its workers running although no job waits."""
    gentle: bool = False
    """Nobody leaves for it before somebody asks for it."""
    left_out: bool = False
    """It was wanted gently, and there was no room."""
    pinned: bool = False
    """It is never evicted and never too long idle."""
    description: Description | None = None
    queue: JobQueue = field(default_factory=JobQueue)
    workers: dict[int, Worker] = field(default_factory=dict)
    deaths: deque[float] = field(default_factory=deque)
    """Times of the recent deaths of its workers."""
    retry_at: float = 0.0
    failed_until: float = 0.0
    error: GatewayError | None = None
    """Why it does not work: broken weights, or the last death."""
    last_stderr: Sequence[str] = ()
    """Last lines of the worker that died last; kept until one is ready again."""
    load_s: float = 0.0
    """How long the last load took; 0: never loaded."""
    learned_bytes: dict[str, int] = field(default_factory=dict)
    """What loads were seen to need, by kind of device."""
    cramped: bool = False
    """Its last load failed for lack of memory, and others were evicted for the next."""
    swaps: int = 0
    """Loads for which others had to leave."""
    evictions: int = 0
    """How often it had to leave."""
    pace: Pace = field(default_factory=Pace)

    @property
    def key(self) -> ModelKey:
        return self.spec.name, self.version

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
        """One word for people: cold, starting, ready, restarting, failed, unloading."""
        if self.ready_workers():
            return "ready"
        if self.error is not None and now < self.failed_until:
            return "failed"
        if self.live_workers():
            return "starting"
        if now < self.retry_at:
            return "restarting"
        states = {worker.state for worker in self.workers.values()}
        return "restarting" if "killed" in states else "unloading" if states else "cold"


@dataclass(slots=True)
class RoomWait:
    """A model that waits for others to leave."""

    since: float
    shares: tuple[Share, ...] = ()
    """Where it will go: nobody behind it may take that."""
    counts_on: frozenset[int] = frozenset()
    """Workers whose memory it will have."""
    victims: frozenset[int] = frozenset()
    """Busy workers that take no new jobs for its sake."""
    turn_ends_at: float = 0.0
    """How long they do so at most; 0: they do not yet."""
    swaps: bool = False
    """Others have been told to go."""
    wake_at: float = 0.0


class Fleet:
    """All of it. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        devices: Sequence[Device],
        limits: LimitsConfig,
        timeouts: TimeoutsConfig,
        *,
        placement: PlacementConfig,
        pressure: PressureConfig,
    ) -> None:
        self.held_keys: set[str] = set()
        """Keys that have as many jobs with workers as they may."""
        self.timeouts = timeouts
        self.models = {spec.name: self.new_version(spec) for spec in specs}
        """Those that serve, by name."""
        self.arriving: dict[str, Model] = {}
        """Versions that are to take the place of one that serves, by name."""
        self.versions: dict[ModelKey, Model] = {model.key: model for model in self.models.values()}
        """All of them, those that leave too."""
        self.jobs: dict[str, JobEntry] = {}
        self.workers: dict[int, Worker] = {}
        self.draining = False
        self.pressure = Pressure()
        self.pressure_config = pressure
        self.devices = devices
        self.limits = limits
        self.placement = placement
        self.jobs_by_key: Counter[str] = Counter()
        self.running_by_key: Counter[str] = Counter()
        """Jobs that are with workers."""
        self.freed: set[ModelKey] = set()
        """Models with jobs of a key that was held and is no more: they can go on."""
        self.timers = Timers()
        self.suspects = Suspects()
        self.last_worker_id = 0
        self.wants_room: dict[ModelKey, RoomWait] = {}
        """Models that wait for others to leave, in order of arrival."""
        self.room_changed = False
        """Something has happened that may let them start: they are to be looked at."""
        self.returning: dict[int, Worker] = {}
        """Dead workers whose memory is not back yet."""
        self.unreturned = 0
        """Of those, how many were waited for in vain so far."""

    def new_version(self, spec: ModelSpec, version: int = 1, **more: Any) -> Model:
        """A version with a queue that keeps to the rules of this fleet; nobody knows it yet."""
        queue = JobQueue(self.timeouts.ageing_s)
        for key in self.held_keys:
            queue.hold(key)
        return Model(spec, version, pinned=spec.pinned, queue=queue, **more)

    def version_of(self, worker: Worker) -> Model:
        """The version that the worker has loaded."""
        return self.versions[worker.model, worker.version]

    def home(self, entry: JobEntry) -> Model:
        """Where a job waits or may wait: the version that serves.

        Of a model that was removed it is the version in whose queue it stands, else the last that served.
        """
        name = entry.job.model
        serving = self.models.get(name)
        if serving is not None:
            return serving
        leaving = [model for model in self.versions.values() if model.spec.name == name]
        for model in leaving:
            if model.queue.position(entry) is not None:
                return model
        return max(leaving, key=lambda model: (not model.never_served, model.version))
