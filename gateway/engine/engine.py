"""The centralised engine: one run loop that turns events into decisions and carries them out.

Owns the streams of the open jobs and the wiring between scheduler, supervisor and metrics. Everything runs
on the event loop's thread: `_post` handles an event at once, or puts it behind the one being handled, so
the scheduler sees them one at a time and in order. Must not know HTTP or wire shapes.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from backends.protocol import (
    MAX_FRAME_BYTES,
    Abort,
    Description,
    Frame,
    Job,
    ProtocolError,
    StepStats,
    Submit,
    encode_frame,
)
from config.schema import Config, ModelSpec
from gateway.engine import events
from gateway.engine.bulletin import Watcher
from gateway.engine.describer import Describer
from gateway.engine.devices import Devices
from gateway.engine.errors import BadRequest, GatewayError, InternalError, ModelNotFound
from gateway.engine.fleet import ModelKey
from gateway.engine.learned import LearnedPeaks
from gateway.engine.lifecycle import Lifecycle
from gateway.engine.load_message import load_message
from gateway.engine.memory_desk import MemoryDesk
from gateway.engine.open_job import OpenJob
from gateway.engine.pressure_watch import watch_memory
from gateway.engine.registry import Registry
from gateway.engine.reporting import Reporter
from gateway.engine.scheduler import Scheduler
from gateway.engine.session import SessionStream
from gateway.engine.status import ModelStatus, model_gauges, model_status
from gateway.engine.stream import JobStream
from gateway.engine.supervisor import Supervisor
from gateway.keys import ANYONE, Key
from gateway.telemetry.metrics import Metrics, ModelGauges
from gateway.weights.store import WeightsStore

S = TypeVar("S", bound=JobStream)


class Engine:
    """Jobs in, outputs out. Start it, submit, drain, stop."""

    def __init__(
        self,
        config: Config,
        store: WeightsStore,
        metrics: Metrics,
        cache_dir: Path,
        spool: Path | None = None,
    ) -> None:
        """`spool`: where workers' temporary files go; None: to the system's folder for them."""
        self._config = config
        self._metrics = metrics
        self._registry = Registry(config.models)
        devices, learned = Devices(config), LearnedPeaks(cache_dir / "memory")
        found = [state.device for state in devices.look()[0]]
        self._scheduler = Scheduler(
            config.models,
            found,
            config.limits,
            config.timeouts,
            config.placement,
            pressure=config.pressure,
        )
        self.memory = MemoryDesk(config, devices, learned, self._post)
        self._supervisor = Supervisor(
            config.backends, config.timeouts.stop_s, spool, self._post, self.memory.wait_returned
        )
        fleet = self._scheduler.fleet
        self._describer = Describer(config, store, cache_dir, learned, self._on_described)
        self.memory.bind(fleet, self._supervisor.workers, self._describer.located)
        self.life = Lifecycle(config, self._registry, fleet, self._describer, self._post)
        self._reporter = Reporter(fleet, metrics)
        self._open: dict[str, OpenJob] = {}
        self._last_stats: dict[int, StepStats] = {}
        self._events: deque[events.Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = math.inf
        self._preloading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._created = int(time.time())
        metrics.bind(self._gauges)
        metrics.bind_memory(self.memory.figures)

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to load the models that are to be preloaded; does not wait for them."""
        self.memory.start()
        names = [spec.name for spec in self._config.models if spec.preload]
        self._watching = asyncio.create_task(
            watch_memory(self._config.pressure.check_s, self._post), name="memory pressure"
        )
        self._preloading = asyncio.create_task(self.life.preload(names), name="preload")

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new jobs and wait for the open ones; True if all have ended in time."""
        self._post(events.DrainStarted())
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._reporter.bulletin.close()
        return True

    def fail_open_jobs(self, error: GatewayError) -> None:
        """End every open job with this error, in-band on streams."""
        for job_id in list(self._open):
            self._post(events.JobAborted(job_id, error))

    async def stop(self) -> None:
        """Stop every worker and wait until the last is reaped."""
        self._post(events.DrainStarted())
        for task in (self._preloading, self._watching):
            if task is not None:
                task.cancel()
        await self._supervisor.stop_all()
        await self.memory.stop()
        if self._timer is not None:
            self._timer.cancel()

    def kill(self) -> None:
        """End every worker now, without waiting."""
        self._supervisor.kill_all()

    # --- models ---------------------------------------------------------------------------------------

    def resolve(self, name: str) -> ModelSpec:
        """The model of this name or alias. Raises ModelNotFound."""
        return self._registry.resolve(name)

    async def description(self, model: str) -> Description:
        """What a model can do. Raises ModelFailed, with what mends it, if its weights are not usable."""
        served = self._scheduler.fleet.models.get(model)
        if served is None:
            raise ModelNotFound(f"The model {model!r} is not served any more.", param="model")
        if served.description is not None:
            return served.description
        return await self._describer.describe(served.spec, served.version)

    def _on_described(self, key: ModelKey, description: Description, learned: Mapping[str, int]) -> None:
        name, version = key
        if self._registry.version(name) == version:
            self._post(events.ModelDescribed(name, description, learned))

    @property
    def specs(self) -> list[ModelSpec]:
        """What is served, in the order of the configuration."""
        return list(self._registry.specs.values())

    def models(self) -> list[ModelStatus]:
        """Every model, in the order of the configuration."""
        return [self.model(name) for name in self._registry.specs]

    def model(self, name: str, *, measure: bool = False) -> ModelStatus:
        """The model that is served under this name, no alias. `measure`: its workers' memory too."""
        return model_status(self._scheduler.fleet, name, self._supervisor.workers, self._created, measure)

    def watch(self) -> Watcher:
        """How every model is now, and what happens to them from now on."""
        return self._reporter.bulletin.watch(self._reporter.states())

    @property
    def draining(self) -> bool:
        return self._scheduler.fleet.draining

    @property
    def ready(self) -> bool:
        """Every preloaded model can take a job or had to make room, and the gateway is not shutting down."""
        models = self._scheduler.fleet.models
        wanted = [models[spec.name] for spec in self.specs if spec.preload]
        absent = [m for m in wanted if (m.load_s or m.left_out) and not m.wanted and not m.error]
        return not self.draining and all(model.ready_workers() or model in absent for model in wanted)

    # --- jobs -----------------------------------------------------------------------------------------

    def submit(self, job: Job, *, key: Key = ANYONE) -> JobStream:
        """Take a job on. Raises the GatewayError that refuses it; its model must be described."""
        return self._take_on(JobStream(job, self._abort, self._queue_place), key)

    def open_session(self, job: Job, *, key: Key = ANYONE) -> SessionStream:
        """As `submit`, for a job with SessionParameters."""
        return self._take_on(
            SessionStream(job, self._abort, lambda message: self._post(events.InputGiven(message))), key
        )

    def _take_on(self, stream: S, key: Key) -> S:
        job = stream.job
        self._check_size(job)
        self._open[job.id] = OpenJob(stream, self._metrics, time.monotonic())
        self._idle.clear()
        self._post(events.JobArrived(job, key.name, key.limits))
        if stream.error is not None and job.id not in self._open:
            self._metrics.refused(job.model, stream.error.code or "")
            raise stream.error
        return stream

    def _check_size(self, job: Job) -> None:
        """Raises BadRequest for what no frame holds, which only bodies larger than the default can be."""
        if self._config.limits.json_body_bytes <= MAX_FRAME_BYTES // 2:
            return
        try:
            encode_frame(Submit(job))
        except ProtocolError:
            most = MAX_FRAME_BYTES // 2**20
            message = f"A request may have {most} MiB at most beside its files."
            raise BadRequest(message, code="request_too_large") from None

    def _abort(self, job_id: str, reason: str) -> None:
        self._post(events.JobAborted(job_id, InternalError(reason, code="aborted")))

    def _queue_place(self, job_id: str) -> tuple[int, int] | None:
        entry = self._scheduler.fleet.jobs.get(job_id)
        if entry is None:
            return None
        queue = self._scheduler.fleet.home(entry).queue
        position = queue.position(entry)
        return None if position is None else (position, len(queue))

    # --- the run loop ---------------------------------------------------------------------------------

    def _post(self, event: events.Event) -> None:
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                event = self._events.popleft()
                now = time.monotonic()
                if isinstance(event, events.FrameReceived):
                    self._deliver(event.worker_id, event.frame, now)
                    self._decide(event, now)
                    self._reporter.flush()
                else:
                    self._reporter.before(event)
                    self._decide(event, now)
                    self._reporter.after(event)
                    self.life.changes.note()
                if isinstance(event, events.WorkerDied):
                    self._last_stats.pop(event.worker_id, None)
        finally:
            self._handling = False
            self._set_timer()

    def _decide(self, event: events.Event, now: float) -> None:
        for command in self._scheduler.handle(event, now):
            self._carry_out(command, now)

    def _set_timer(self) -> None:
        """Wake when the scheduler's next deadline comes; an earlier timer that is set already serves too."""
        wake_at = self._scheduler.next_wake()
        if wake_at is None or wake_at >= self._wake_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = wake_at
        delay_s = max(0.0, wake_at - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._wake_at = math.inf
        self._post(events.Tick())

    def _deliver(self, worker_id: int, frame: Frame, now: float) -> None:
        """Hand the outputs of a step to the streams of the jobs."""
        worker = self._scheduler.fleet.workers.get(worker_id)
        if worker is None:
            return
        self._metrics.step(worker.model, frame.stats)
        self._last_stats[worker_id] = frame.stats
        for output in frame.outputs:
            if output.job_id not in worker.jobs or (open_job := self._open.get(output.job_id)) is None:
                continue  # aborted meanwhile
            open_job.deliver(output, now)

    def _carry_out(self, command: events.Command, now: float) -> None:
        match command:
            case events.Dispatch(worker_id, job):
                self._supervisor.send(worker_id, Submit(job))
            case events.SendInput(worker_id, message):
                self._supervisor.send(worker_id, message)
            case events.AbortJob(worker_id, job_id):
                self._supervisor.send(worker_id, Abort(job_id))
            case events.FailJob(job_id, error):
                self._open[job_id].stream.fail(error)
            case events.ReplayJob(job_id):
                self._open[job_id].stream.replay()
            case events.JobEnded(job_id):
                self._end(job_id, now)
            case events.StartWorker(worker_id, model, device, version, shares):
                located = self._describer.located((model, version))
                load = load_message(located, self._config.timeouts, device, shares)
                self._supervisor.start(worker_id, load)
                self.memory.worker_started()
                self._reporter.command(command)
            case events.StopWorker(worker_id):
                self._supervisor.stop(worker_id)
            case events.KillWorker(worker_id, reason):
                self._supervisor.kill(worker_id, reason)
            case events.SwitchVersion() | events.FailSwap() | events.ForgetVersion():
                self.life.carry_out(command)
                self._reporter.command(command)
            case events.PressureChanged() | events.WorkShed():
                self._reporter.command(command)
            case _:
                raise AssertionError(f"nobody carries out {command!r}")

    def _end(self, job_id: str, now: float) -> None:
        open_job = self._open.pop(job_id)
        open_job.stream.end()
        if not self._open:
            self._idle.set()
        self._metrics.job_ended(open_job.times(now))

    # --- what it looks like from outside --------------------------------------------------------------

    def _gauges(self) -> list[ModelGauges]:
        sessions = Counter(o.stream.job.model for o in self._open.values() if o.is_session)
        return model_gauges(self._scheduler.fleet, self._supervisor.workers, self._last_stats, sessions)
