"""The real Scheduler over simulated workers, devices and time.

Owns a clock that jumps from event to event, and what a worker would do: load, take jobs, end them, die. Every
step is checked: no device is ever over its budget, and what the scheduler commands can be done.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from backends.protocol import (
    Capacity,
    Description,
    Failed,
    Finished,
    Frame,
    GenerateParameters,
    Job,
    Output,
    Started,
    Text,
)
from config.schema import LimitsConfig, ModelSpec, PlacementConfig, TimeoutsConfig
from gateway.engine.errors import InternalError
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    Event,
    FailJob,
    FrameReceived,
    JobAborted,
    JobArrived,
    JobEnded,
    KillWorker,
    MemoryMeasured,
    MemoryReturned,
    ModelDescribed,
    ReplayJob,
    StartWorker,
    StopWorker,
    Tick,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.placement import Device, Share
from gateway.engine.scheduler import Scheduler

SEQUENCES = 4
"""Jobs that a worker runs side by side."""
STOP_S = 0.05
RETURN_S = 0.2
"""From the end of a process until its memory is back."""
MEASURE_S = 1.0


@dataclass(frozen=True)
class SimulatedModel:
    spec: ModelSpec
    description: Description
    load_s: float


@dataclass
class Request:
    model: str
    arrives_at: float
    runs_s: float
    leaves_at: float = float("inf")
    """Its client has gone then."""


@dataclass
class SimulatedWorker:
    model: str
    shares: tuple[Share, ...]
    ready: bool = False
    received: int = 0
    waiting: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    gone: bool = False

    def capacity(self) -> Capacity:
        free = SEQUENCES - len(self.running)
        return Capacity(free, -1, len(self.waiting), self.received)


@dataclass
class Outcome:
    dispatched_at: float | None = None
    ended_at: float | None = None
    error: str = ""


class Simulation:
    """`run` it once. `crashes`: share of jobs that kill their worker from outside."""

    def __init__(
        self,
        models: list[SimulatedModel],
        devices: list[Device],
        requests: list[Request],
        *,
        timeouts: TimeoutsConfig,
        placement: PlacementConfig,
        crashes: float = 0.0,
        out_of_memory: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.models = {model.spec.name: model for model in models}
        self.devices = {device.name: device for device in devices}
        limits = LimitsConfig(
            queued_jobs_per_model=1_000_000, queued_jobs_per_key=1_000_000, jobs_per_key=1_000_000
        )
        specs = [model.spec for model in models]
        self.scheduler = Scheduler(specs, devices, limits, timeouts, placement)
        self.requests = {f"r{number}": request for number, request in enumerate(requests)}
        self.outcomes = {job_id: Outcome() for job_id in self.requests}
        self.counts: Counter[str] = Counter()
        self.now = 0.0
        self._crashes = crashes
        self._out_of_memory = out_of_memory
        self._random = random.Random(seed)
        self._workers: dict[int, SimulatedWorker] = {}
        self._holding: dict[int, SimulatedWorker] = {}
        """Those whose memory is not back."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._tick_at = float("inf")

    def run(self) -> None:
        """Until every request has ended. Raises AssertionError where something goes wrong."""
        for model in self.models.values():
            self._tell(ModelDescribed(model.spec.name, model.description))
        for job_id, request in self.requests.items():
            self._at(request.arrives_at, lambda job_id=job_id: self._arrive(job_id))
        self._at(MEASURE_S, self._measure)
        open_jobs = len(self.requests)
        while open_jobs > self.counts["ended"]:
            assert self._agenda, f"nothing will ever happen; {open_jobs - self.counts['ended']} wait"
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    # --- what happens ---------------------------------------------------------------------------------

    def _arrive(self, job_id: str) -> None:
        request = self.requests[job_id]
        job = Job(job_id, request.model, "generate", GenerateParameters(), [Text("x")], True, timeout_s=3600)
        if request.leaves_at < float("inf"):
            self._at(request.leaves_at, lambda: self._tell(JobAborted(job_id, InternalError("client gone"))))
        self._tell(JobArrived(job, "everyone"))

    def _measure(self) -> None:
        held = {
            worker_id: {share.device: share.memory_bytes for share in worker.shares}
            for worker_id, worker in self._holding.items()
            if not worker.gone
        }
        self._tell(MemoryMeasured(list(self.devices.values()), held))
        self._at(self.now + MEASURE_S, self._measure)

    def _loaded(self, worker_id: int) -> None:
        worker = self._workers[worker_id]
        if worker.gone:
            return
        if self._random.random() < self._out_of_memory:
            self._die(worker_id, "out_of_memory")
            return
        worker.ready = True
        self._tell(WorkerReady(worker_id, worker.capacity(), self.models[worker.model].load_s))

    def _begin(self, worker_id: int) -> None:
        """Start what waits in the worker."""
        worker = self._workers[worker_id]
        started: list[Output] = []
        while worker.waiting and len(worker.running) < SEQUENCES:
            job_id = worker.waiting.pop(0)
            worker.running.add(job_id)
            started.append(Started(job_id))
            ends_at = self.now + self.requests[job_id].runs_s
            self._at(ends_at, lambda job_id=job_id: self._end(worker_id, job_id))
        if started and not worker.gone:
            self._frame(worker_id, *started)

    def _end(self, worker_id: int, job_id: str) -> None:
        worker = self._workers[worker_id]
        if worker.gone or job_id not in worker.running:
            return
        if self._random.random() < self._crashes:
            self._die(worker_id, "crash")
            return
        worker.running.discard(job_id)
        self._frame(worker_id, Finished(job_id))
        self._begin(worker_id)

    def _frame(self, worker_id: int, *outputs: Output) -> None:
        self._tell(FrameReceived(worker_id, Frame(list(outputs), self._workers[worker_id].capacity())))

    def _die(self, worker_id: int, kind: str) -> None:
        worker = self._workers[worker_id]
        if worker.gone:
            return
        worker.gone = True
        self._at(self.now + RETURN_S, lambda: self._return(worker_id))
        external = kind == "crash"
        self._tell(WorkerDied(worker_id, kind, external, kind=kind, memory_back=False))  # type: ignore[arg-type]

    def _return(self, worker_id: int) -> None:
        del self._holding[worker_id]
        self._tell(MemoryReturned(worker_id))

    # --- what is commanded ----------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        for command in self.scheduler.handle(event, self.now):
            self._carry_out(command)
        self._check()
        wake_at = self.scheduler.next_wake()
        if wake_at is not None and wake_at < self._tick_at:
            self._tick_at = wake_at
            self._at(max(wake_at, self.now), self._tick)

    def _tick(self) -> None:
        self._tick_at = float("inf")
        self._tell(Tick())

    def _carry_out(self, command: Command) -> None:
        match command:
            case StartWorker(worker_id, model, device, _, shares):
                self.counts["started"] += 1
                known = self.scheduler.fleet.workers[worker_id].shares
                assert known[0].device == device
                assert not shares or shares == known
                self._workers[worker_id] = self._holding[worker_id] = SimulatedWorker(model, known)
                self._at(self.now + self.models[model].load_s, lambda: self._loaded(worker_id))
            case StopWorker(worker_id):
                worker = self._workers[worker_id]
                assert not worker.running, "only idle models are evicted"
                assert not worker.waiting
                self.counts["stopped"] += 1
                self._at(self.now + STOP_S, lambda: self._die(worker_id, "stopped"))
            case KillWorker(worker_id):
                self.counts["killed"] += 1
                self._die(worker_id, "killed")
            case Dispatch(worker_id, job):
                self._take(worker_id, job)
            case AbortJob(worker_id, job_id):
                worker = self._workers[worker_id]
                if job_id in worker.waiting:
                    worker.waiting.remove(job_id)
                worker.running.discard(job_id)
                self._at(self.now, lambda: self._aborted(worker_id, job_id))
            case FailJob(job_id, error):
                self.outcomes[job_id].error = type(error).__name__
            case JobEnded(job_id):
                assert self.outcomes[job_id].ended_at is None, "a job ends once"
                self.outcomes[job_id].ended_at = self.now
                self.counts["ended"] += 1
            case ReplayJob():
                self.counts["replayed"] += 1

    def _take(self, worker_id: int, job: Job) -> None:
        worker = self._workers[worker_id]
        assert worker.ready
        assert not worker.gone
        worker.received += 1
        worker.waiting.append(job.id)
        outcome = self.outcomes[job.id]
        outcome.dispatched_at = outcome.dispatched_at or self.now
        self._at(self.now, lambda: self._begin(worker_id))

    def _aborted(self, worker_id: int, job_id: str) -> None:
        if not self._workers[worker_id].gone:
            self._frame(worker_id, Failed(job_id, "aborted", "aborted"))
            self._begin(worker_id)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), act))

    # --- what must hold -------------------------------------------------------------------------------

    def _check(self) -> None:
        taken: Counter[str] = Counter()
        groups: dict[str, set[str]] = {}
        by_device: dict[str, set[str]] = {}
        for worker in self._holding.values():
            for share in worker.shares:
                taken[share.device] += share.memory_bytes
                by_device.setdefault(share.device, set()).add(worker.model)
            if group := self.models[worker.model].spec.exclusive_group:
                groups.setdefault(group, set()).add(worker.model)
        for name, size in taken.items():
            assert size <= self.devices[name].budget_bytes, f"{name} is over its budget"
        for group, members in groups.items():
            assert len(members) == 1, f"two of {group} are loaded"
        for members in by_device.values():
            alone = [name for name in members if self.models[name].spec.exclusive_device]
            assert not alone or len(members) == 1, f"{alone} are not alone"

    def waits(self) -> list[float]:
        """Seconds from arrival to a worker, of requests that got one."""
        return [
            outcome.dispatched_at - self.requests[job_id].arrives_at
            for job_id, outcome in self.outcomes.items()
            if outcome.dispatched_at is not None
        ]

    def errors(self) -> Counter[str]:
        return Counter(outcome.error for outcome in self.outcomes.values() if outcome.error)
