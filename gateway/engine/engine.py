"""The centralised engine: one run loop that turns events into decisions and carries them out.

Owns the streams of the open jobs and the wiring between scheduler, supervisor and metrics. Everything runs
on the event loop's thread: `_post` handles an event at once, or puts it behind the one being handled, so
the scheduler sees them one at a time and in order. Must not know HTTP or wire shapes.
"""

import asyncio
import math
import time
from collections import deque
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec import Struct

from backends.protocol import Abort, Description, Frame, Job, Load, StepStats, Submit
from config.schema import BackendConfig, Config, ModelSpec
from gateway.engine import events
from gateway.engine.descriptions import describe
from gateway.engine.devices import find_devices
from gateway.engine.errors import GatewayError, InternalError, ModelNotPulled
from gateway.engine.open_job import OpenJob
from gateway.engine.registry import Registry
from gateway.engine.scheduler import Scheduler
from gateway.engine.session import SessionStream
from gateway.engine.stream import JobStream
from gateway.engine.supervisor import Supervisor
from gateway.telemetry.metrics import Metrics, ModelGauges, WorkerGauges
from gateway.weights.errors import WeightsError
from gateway.weights.located import Located, locate
from gateway.weights.store import WeightsStore

S = TypeVar("S", bound=JobStream)

log = structlog.get_logger(__name__)


class WorkerStatus(Struct, frozen=True):
    id: int
    pid: int
    state: str
    device: str


class ModelStatus(Struct, frozen=True):
    """One model for people and for /v1/models."""

    spec: ModelSpec
    state: str
    """cold, starting, ready, restarting or failed."""
    description: Description | None
    error: str
    created: int
    """Unix time at which the gateway began to serve it, seconds."""
    workers: list[WorkerStatus]


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
        self._store = store
        self._metrics = metrics
        self._cache_dir = cache_dir
        self._registry = Registry(config.models)
        self._scheduler = Scheduler(config.models, find_devices(config), config.limits, config.timeouts)
        self._supervisor = Supervisor(config.backends, config.timeouts.stop_s, spool, self._post)
        self._located: dict[str, Located] = {}
        self._describing: dict[str, asyncio.Task[Description]] = {}
        self._open: dict[str, OpenJob] = {}
        self._last_stats: dict[int, StepStats] = {}
        self._events: deque[events.Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = math.inf
        self._preloading: asyncio.Task[None] | None = None
        self._worker_changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._created = int(time.time())
        metrics.bind(self._gauges)

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to load the models that are to be preloaded; does not wait for them."""
        self._preloading = asyncio.create_task(self._preload(), name="preload")

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new jobs and wait for the open ones; True if all have ended in time."""
        self._post(events.DrainStarted())
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def fail_open_jobs(self, error: GatewayError) -> None:
        """End every open job with this error, in-band on streams."""
        for job_id in list(self._open):
            self._post(events.JobAborted(job_id, error))

    async def stop(self) -> None:
        """Stop every worker and wait until the last is reaped."""
        self._post(events.DrainStarted())
        if self._preloading is not None:
            self._preloading.cancel()
        await self._supervisor.stop_all()
        if self._timer is not None:
            self._timer.cancel()

    def kill(self) -> None:
        """End every worker now, without waiting."""
        self._supervisor.kill_all()

    async def _preload(self) -> None:
        """One after the other, in the order of the configuration: the first is of use soonest that way."""
        for spec in self._config.models:
            if not spec.preload:
                continue
            try:
                await self.description(spec.name)
            except GatewayError as error:
                log.error("a model cannot be served", model=spec.name, reason=error.message)
                self._post(events.ModelBroken(spec.name, error))
                continue
            self._post(events.ModelWanted(spec.name))
            while self._scheduler.fleet.models[spec.name].state(time.monotonic()) == "starting":
                self._worker_changed.clear()
                await self._worker_changed.wait()

    # --- models ---------------------------------------------------------------------------------------

    def resolve(self, name: str) -> ModelSpec:
        """The model of this name or alias. Raises ModelNotFound."""
        return self._registry.resolve(name)

    async def description(self, model: str) -> Description:
        """What a model can do. Raises ModelFailed, with what mends it, if its weights are not usable."""
        known = self._scheduler.fleet.models[model].description
        if known is not None:
            return known
        task = self._describing.get(model)
        if task is None:
            task = self._describing[model] = asyncio.create_task(self._describe(self._registry.specs[model]))
            task.add_done_callback(lambda _: self._describing.pop(model))
        return await asyncio.shield(task)  # others may wait for the same answer

    async def _describe(self, spec: ModelSpec) -> Description:
        try:
            located = await asyncio.to_thread(locate, self._store, spec)
        except WeightsError as error:
            raise ModelNotPulled(str(error)) from None
        backend = self._config.backends.get(spec.backend, BackendConfig())
        description = await describe(
            located.spec, backend, located.weights, located.fingerprint, self._cache_dir
        )
        self._located[spec.name] = located
        self._post(events.ModelDescribed(spec.name, description))
        return description

    def models(self) -> list[ModelStatus]:
        """Every model, in the order of the configuration."""
        now = time.monotonic()
        return [
            ModelStatus(
                model.spec,
                model.state(now),
                model.description,
                model.error.message if model.error else "",
                self._created,
                [
                    WorkerStatus(worker.id, self._pid(worker.id), worker.state, worker.device)
                    for worker in model.workers.values()
                ],
            )
            for model in self._scheduler.fleet.models.values()
        ]

    @property
    def draining(self) -> bool:
        return self._scheduler.fleet.draining

    @property
    def ready(self) -> bool:
        """Every preloaded model can take a job now, and the gateway is not shutting down."""
        models = self._scheduler.fleet.models
        wanted = [models[spec.name] for spec in self._config.models if spec.preload]
        evicted = [model for model in wanted if not model.wanted and model.description and not model.error]
        return not self.draining and all(model.ready_workers() or model in evicted for model in wanted)

    # --- jobs -----------------------------------------------------------------------------------------

    def submit(self, job: Job, *, key: str = "") -> JobStream:
        """Take a job on. Raises the GatewayError that refuses it; its model must be described."""
        return self._take_on(JobStream(job, self._abort), key)

    def open_session(self, job: Job, *, key: str = "") -> SessionStream:
        """As `submit`, for a job with SessionParameters."""
        return self._take_on(
            SessionStream(job, self._abort, lambda message: self._post(events.InputGiven(message))), key
        )

    def _take_on(self, stream: S, key: str) -> S:
        job = stream.job
        self._open[job.id] = OpenJob(stream, self._metrics, time.monotonic())
        self._idle.clear()
        self._post(events.JobArrived(job, key))
        if stream.error is not None and job.id not in self._open:
            raise stream.error
        return stream

    def _abort(self, job_id: str, reason: str) -> None:
        self._post(events.JobAborted(job_id, InternalError(reason, code="aborted")))

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
                else:
                    self._observe(event)
                for command in self._scheduler.handle(event, now):
                    self._carry_out(command, now)
        finally:
            self._handling = False
        self._set_timer()

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
            case events.StartWorker(worker_id, model, device):
                located = self._located[model]
                timeouts = self._config.timeouts
                deadlines = timeouts.prepare_s, timeouts.media_prepare_s
                load = Load(located.spec, str(located.weights), device, *deadlines)
                self._metrics.worker_event(model, "started")
                self._supervisor.start(worker_id, load)
            case events.StopWorker(worker_id):
                self._supervisor.stop(worker_id)
            case events.KillWorker(worker_id, reason):
                self._supervisor.kill(worker_id, reason)

    def _end(self, job_id: str, now: float) -> None:
        open_job = self._open.pop(job_id)
        open_job.stream.end()
        if not self._open:
            self._idle.set()
        self._metrics.job_ended(open_job.times(now))

    def _observe(self, event: events.Event) -> None:
        if isinstance(event, events.WorkerReady | events.WorkerDied):
            self._worker_changed.set()
        match event:
            case events.WorkerReady(worker_id, load_s=load_s):
                if worker := self._scheduler.fleet.workers.get(worker_id):
                    self._metrics.worker_event(worker.model, "ready")
                    self._metrics.model_loaded(worker.model, load_s)
                    log.info("model ready", model=worker.model, worker=worker_id, load_s=round(load_s, 2))
            case events.WorkerDied(worker_id):
                self._last_stats.pop(worker_id, None)
                if worker := self._scheduler.fleet.workers.get(worker_id):
                    self._metrics.worker_event(
                        worker.model, "stopped" if worker.state == "stopping" else "died"
                    )

    # --- what it looks like from outside --------------------------------------------------------------

    def _gauges(self) -> list[ModelGauges]:
        return [
            ModelGauges(
                name,
                sum(worker.running for worker in model.workers.values()),
                len(model.queue)
                + sum(
                    not entry.started for worker in model.workers.values() for entry in worker.jobs.values()
                ),
                max((self._kv_usage(worker_id) for worker_id in model.workers), default=0.0),
                self._worker_gauges(name),
                sum(
                    open_job.is_session and open_job.stream.job.model == name
                    for open_job in self._open.values()
                ),
            )
            for name, model in self._scheduler.fleet.models.items()
        ]

    def _worker_gauges(self, model: str) -> list[WorkerGauges]:
        live = self._supervisor.workers
        return [
            WorkerGauges(
                worker.id,
                worker.model,
                worker.device,
                worker.state,
                live[worker.id].memory_bytes() if worker.id in live else 0,
            )
            for worker in self._scheduler.fleet.models[model].workers.values()
        ]

    def _pid(self, worker_id: int) -> int:
        worker = self._supervisor.workers.get(worker_id)
        return worker.pid if worker else 0

    def _kv_usage(self, worker_id: int) -> float:
        stats = self._last_stats.get(worker_id)
        return stats.kv_used / stats.kv_total if stats and stats.kv_total else 0.0
