"""Decides: admission, queues, dispatch, starts and evictions, replay after a death. Pure.

`handle(event, now)` changes the fleet and returns commands; nothing here reads a clock, waits or logs, so
every decision can be tested by feeding events. What a death does to jobs is in `recovery`.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from backends.protocol import (
    AudioDelta,
    Delta,
    EndInput,
    Failed,
    Finished,
    Frame,
    ItemDone,
    Job,
    Output,
    PaintProgress,
    PictureDelta,
    Requeue,
    SessionInput,
    Started,
    TranscriptDelta,
)
from config.schema import LimitsConfig, ModelSpec, TimeoutsConfig
from gateway.engine import errors, recovery
from gateway.engine.admission import RETRY_AFTER_MAX_S, refusal
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    DrainStarted,
    Event,
    FailJob,
    FrameReceived,
    InputGiven,
    JobAborted,
    JobArrived,
    JobEnded,
    KillWorker,
    ModelBroken,
    ModelDescribed,
    ModelWanted,
    ReplayJob,
    SendInput,
    StartWorker,
    StopWorker,
    Tick,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.fleet import JobEntry, Model, Worker
from gateway.engine.placement import Device, NoRoomFor, Resident, Target, place
from gateway.engine.timers import Timers

LOOK_AHEAD_ITEMS = 2
"""Items sent beyond what a worker can start, so that it never waits for the next one."""


class Scheduler:
    """See the module's docstring. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        devices: Sequence[Device],
        limits: LimitsConfig,
        timeouts: TimeoutsConfig,
    ) -> None:
        self.models = {spec.name: Model(spec) for spec in specs}
        self.jobs: dict[str, JobEntry] = {}
        self.workers: dict[int, Worker] = {}
        self.draining = False
        self._devices = devices
        self._limits = limits
        self._timeouts = timeouts
        self._jobs_by_key: Counter[str] = Counter()
        self._timers = Timers()
        self._last_worker_id = 0
        self._wants_room: set[str] = set()
        self._ends: dict[str, deque[float]] = {name: deque(maxlen=16) for name in self.models}

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about `event`, in order."""
        match event:
            case FrameReceived(worker_id, frame):
                return self._on_frame(worker_id, frame, now)
            case InputGiven(message):
                return self._on_input(message, now)
            case JobArrived(job, key):
                return self._on_job(job, key, now)
            case JobAborted(job_id, error):
                return self._on_abort(job_id, error, now)
            case WorkerReady():
                return self._on_ready(event, now)
            case WorkerDied():
                return self._on_death(event, now)
            case ModelDescribed(name, description):
                model = self.models[name]
                model.description = description
                model.error, model.failed_until = None, 0.0  # whatever kept it from being described is mended
                return self._advance(model, now)
            case ModelWanted(name):
                model = self.models[name]
                model.wanted = True
                return self._advance(model, now)
            case ModelBroken(name, error):
                model = self.models[name]
                model.error, model.failed_until = error, now + recovery.FAILED_COOL_DOWN_S
                return self._fail_queue(model, error)
            case DrainStarted():
                return self._on_drain(now)
            case Tick():
                return self._on_tick(now)
        raise AssertionError(f"unknown event {event!r}")

    def next_wake(self) -> float | None:
        """When the next Tick is needed."""
        return self._timers.next_at()

    # --- jobs -----------------------------------------------------------------------------------------

    def _on_job(self, job: Job, key: str, now: float) -> list[Command]:
        model = self.models[job.model]
        error = self._refusal(model, job, key, now)
        if error is not None:
            return [FailJob(job.id, error), JobEnded(job.id)]
        entry = JobEntry(job, key, now, now + job.timeout_s, now + self._timeouts.queue_s)
        self.jobs[job.id] = entry
        self._jobs_by_key[key] += 1
        self._timers.set(min(entry.deadline, entry.queue_deadline), "job", job.id)
        model.queue.push(entry)
        return self._advance(model, now)

    def _refusal(self, model: Model, job: Job, key: str, now: float) -> errors.GatewayError | None:
        if self.draining:
            return errors.Draining("The server is shutting down.", retry_after_s=5)
        error = refusal(
            model,
            job,
            open_of_key=self._jobs_by_key[key],
            limits=self._limits,
            timeouts=self._timeouts,
            retry_after_s=self._retry_after(model),
            now=now,
        )
        if isinstance(error, errors.ModelLoading):
            model.wanted = True
        return error

    def _on_input(self, message: SessionInput, now: float) -> list[Command]:
        entry = self.jobs.get(message.job_id)
        if entry is None:
            return []
        if entry.worker_id is None:
            entry.waiting_input.append(message)
            return []
        worker = self.workers[entry.worker_id]
        self._expect_progress(worker, now)
        worker.inputs_sent += 1
        return [SendInput(worker.id, message)]

    def _on_drain(self, now: float) -> list[Command]:
        """Sessions would go on for ever: what was said is still transcribed, no more is taken."""
        if self.draining:
            return []
        self.draining = True
        commands: list[Command] = []
        for entry in [entry for entry in self.jobs.values() if entry.is_session]:
            if entry.worker_id is None:
                commands += self._fail(entry, errors.Draining("The server is shutting down."), now)
            else:
                commands += self._on_input(EndInput(entry.job.id), now)
        return commands

    def _retry_after(self, model: Model) -> float:
        """Seconds until half the queue is worked off at the recent rate."""
        ends = self._ends[model.spec.name]
        if len(ends) < 2:
            return 1.0
        pause_s = (ends[-1] - ends[0]) / (len(ends) - 1)
        return min(RETRY_AFTER_MAX_S, max(1.0, pause_s * len(model.queue) / 2))

    def _on_abort(self, job_id: str, error: errors.GatewayError, now: float) -> list[Command]:
        entry = self.jobs.get(job_id)
        if entry is None:
            return []
        commands: list[Command] = []
        model = self.models[entry.job.model]
        if entry.worker_id is None:
            model.queue.remove(entry)
        else:
            worker = self.workers[entry.worker_id]
            del worker.jobs[job_id]
            worker.aborting.add(job_id)
            commands.append(AbortJob(worker.id, job_id))
        return [*commands, FailJob(job_id, error), *self._end(entry, now)]

    def _end(self, entry: JobEntry, now: float) -> list[Command]:
        del self.jobs[entry.job.id]
        self._timers.drop("job", entry.job.id)
        self._jobs_by_key[entry.key] -= 1
        if not self._jobs_by_key[entry.key]:
            del self._jobs_by_key[entry.key]
        self._ends[entry.job.model].append(now)
        return [JobEnded(entry.job.id)]

    def _fail(self, entry: JobEntry, error: errors.GatewayError, now: float) -> list[Command]:
        self.models[entry.job.model].queue.remove(entry)
        return [FailJob(entry.job.id, error), *self._end(entry, now)]

    def _fail_queue(self, model: Model, error: errors.GatewayError) -> list[Command]:
        return [command for entry in list(model.queue) for command in self._fail(entry, error, 0.0)]

    # --- workers --------------------------------------------------------------------------------------

    def _on_ready(self, event: WorkerReady, now: float) -> list[Command]:
        worker = self.workers.get(event.worker_id)
        if worker is None or worker.state != "starting":
            return []
        worker.state = "ready"
        worker.update(event.capacity)
        worker.last_used = now
        model = self.models[worker.model]
        model.load_s = event.load_s
        model.error = None
        return self._advance(model, now)

    def _on_frame(self, worker_id: int, frame: Frame, now: float) -> list[Command]:
        worker = self.workers.get(worker_id)
        if worker is None:
            return []
        worker.progress_at = worker.last_used = now
        worker.update(frame.capacity)
        commands: list[Command] = []
        for output in frame.outputs:
            commands += self._on_output(worker, output, now)
        commands += self._advance(self.models[worker.model], now)
        if self._wants_room and not worker.jobs:
            commands += self._advance_waiting(now)
        return commands

    def _on_output(self, worker: Worker, output: Output, now: float) -> list[Command]:
        entry = worker.jobs.get(output.job_id)
        if entry is None:
            if isinstance(output, Finished | Failed | Requeue):
                worker.aborting.discard(output.job_id)
            return []
        match output:
            case Delta() | TranscriptDelta() | AudioDelta() | PaintProgress() | PictureDelta() | ItemDone():
                # Without a stream the client sees nothing before the end, so a replay is still possible.
                entry.sent = entry.job.stream
            case Started():
                entry.started = True
            case Finished():
                del worker.jobs[output.job_id]
                return self._end(entry, now)
            case Failed():
                del worker.jobs[output.job_id]
                return [FailJob(output.job_id, recovery.from_failed(output)), *self._end(entry, now)]
            case Requeue():
                del worker.jobs[output.job_id]
                if entry.is_session:  # what had been fed is lost
                    gone = errors.WorkerDied(
                        "The worker has stopped; begin the session again.", retry_after_s=1
                    )
                    return [FailJob(output.job_id, gone), *self._end(entry, now)]
                self._put_back(entry)
        return []

    def _put_back(self, entry: JobEntry) -> None:
        entry.worker_id = None
        entry.started = False
        self.models[entry.job.model].queue.push(entry, front=True)

    def _on_death(self, event: WorkerDied, now: float) -> list[Command]:
        worker = self.workers.pop(event.worker_id, None)
        if worker is None:
            return []
        model = self.models[worker.model]
        del model.workers[worker.id]
        commands: list[Command] = []
        for entry in reversed(list(worker.jobs.values())):
            verdict = recovery.judge(entry, event)
            if verdict is None:
                if entry.started:
                    commands.append(ReplayJob(entry.job.id))
                self._put_back(entry)
            else:
                commands += self._fail(entry, verdict, now)
        if worker.state != "stopping":
            recovery.note_death(model, event, now)
            self._timers.set(max(model.retry_at, model.failed_until), "retry", model.spec.name)
            if model.state(now) == "failed":
                commands += self._fail_queue(model, recovery.failed_error(model, now))
        commands += self._advance(model, now)
        return commands + self._advance_waiting(now)

    # --- dispatch and starts --------------------------------------------------------------------------

    def _advance(self, model: Model, now: float) -> list[Command]:
        """Send what can be sent, start what must be started."""
        commands: list[Command] = []
        while (entry := model.queue.first()) is not None:
            worker = max(
                model.ready_workers(), key=lambda worker: (worker.room, -worker.sessions), default=None
            )
            if worker is None or worker.room + LOOK_AHEAD_ITEMS <= 0:
                break
            model.queue.remove(entry)
            commands += self._dispatch(worker, entry, now)
        if (model.queue or model.wanted) and len(model.live_workers()) < model.spec.replicas:
            commands += self._start(model, now)
        return commands

    def _dispatch(self, worker: Worker, entry: JobEntry, now: float) -> list[Command]:
        self._expect_progress(worker, now)
        entry.worker_id = worker.id
        worker.jobs[entry.job.id] = entry
        worker.dispatched += 1
        worker.unseen.append((worker.dispatched, entry.items))
        inputs, entry.waiting_input = entry.waiting_input, []
        worker.inputs_sent += len(inputs)
        return [Dispatch(worker.id, entry.job), *(SendInput(worker.id, message) for message in inputs)]

    def _expect_progress(self, worker: Worker, now: float) -> None:
        """It is about to get something to do."""
        if not worker.owes_progress:
            worker.progress_at = now
        if not worker.watched:
            worker.watched = True
            self._timers.set(now + self._timeouts.step_s, "watchdog", str(worker.id))

    def _start(self, model: Model, now: float) -> list[Command]:
        if self.draining or model.description is None or now < max(model.retry_at, model.failed_until):
            return []
        target = Target(
            model.spec.name,
            model.spec.memory_bytes or model.description.memory_bytes,
            model.spec.device,
            tuple(model.description.device_kinds),
        )
        plan = place(target, [self._resident(worker) for worker in self.workers.values()], self._devices)
        if isinstance(plan, NoRoomFor):
            return self._no_room(model, plan)
        if plan.evict:
            self._wants_room.add(model.spec.name)
            return [self._evict(self.workers[worker_id]) for worker_id in plan.evict]
        self._wants_room.discard(model.spec.name)
        self._last_worker_id += 1
        worker = Worker(self._last_worker_id, model.spec.name, plan.device, target.memory_bytes, now)
        self.workers[worker.id] = model.workers[worker.id] = worker
        self._timers.set(now + self._timeouts.load_s, "load", str(worker.id))
        return [StartWorker(worker.id, model.spec.name, plan.device)]

    def _resident(self, worker: Worker) -> Resident:
        idle = worker.state == "ready" and not worker.busy and not self.models[worker.model].queue
        return Resident(worker.id, worker.device, worker.memory_bytes, idle, worker.last_used)

    def _evict(self, worker: Worker) -> Command:
        worker.state = "stopping"
        # It comes back when somebody asks for it; restarting it now would push out the newcomer.
        self.models[worker.model].wanted = False
        return StopWorker(worker.id)

    def _no_room(self, model: Model, verdict: NoRoomFor) -> list[Command]:
        if verdict.ever:
            self._wants_room.add(model.spec.name)
            return []
        needed, largest = verdict.needed_bytes // 2**20, verdict.largest_budget_bytes // 2**20
        error = errors.NoRoom(
            f"{model.spec.name} needs about {needed} MiB; the largest device allows {largest} MiB.",
            retry_after_s=RETRY_AFTER_MAX_S,
        )
        return self._fail_queue(model, error)

    def _advance_waiting(self, now: float) -> list[Command]:
        return [c for name in list(self._wants_room) for c in self._advance(self.models[name], now)]

    # --- time -----------------------------------------------------------------------------------------

    def _on_tick(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for kind, subject in self._timers.due(now):
            match kind:
                case "job":
                    commands += self._check_job(subject, now)
                case "retry":
                    commands += self._advance(self.models[subject], now)
                case "load":
                    commands += self._check_load(int(subject))
                case "watchdog":
                    commands += self._check_progress(int(subject), now)
        return commands

    def _check_job(self, job_id: str, now: float) -> list[Command]:
        entry = self.jobs.get(job_id)
        if entry is None:  # ended by what else this tick has done
            return []
        self._timers.set(entry.deadline, "job", job_id)  # an open job always has one deadline set
        if now >= entry.deadline:
            timeout_s = entry.deadline - entry.arrived_at
            if entry.is_session:
                expired = errors.SessionExpired(f"A session lasts at most {timeout_s:g} s.")
                return self._on_abort(job_id, expired, now)
            return self._on_abort(job_id, errors.RequestTimeout(f"Not done within {timeout_s:g} s."), now)
        if entry.worker_id is not None:
            return []
        waited = self._timeouts.queue_s
        error = errors.QueueTimeout(
            f"No worker took the request within {waited:g} s.",
            retry_after_s=self._retry_after(self.models[entry.job.model]),
        )
        return self._fail(entry, error, now)

    def _check_load(self, worker_id: int) -> list[Command]:
        worker = self.workers.get(worker_id)
        if worker is None or worker.state != "starting":
            return []
        worker.state = "killed"
        return [KillWorker(worker_id, f"not loaded within {self._timeouts.load_s:g} s")]

    def _check_progress(self, worker_id: int, now: float) -> list[Command]:
        worker = self.workers.get(worker_id)
        if worker is None:
            return []
        worker.watched = False
        if worker.state != "ready" or not worker.owes_progress:
            return []
        due_at = worker.progress_at + self._timeouts.step_s
        if now < due_at:
            worker.watched = True
            self._timers.set(due_at, "watchdog", str(worker_id))
            return []
        worker.state = "killed"
        return [KillWorker(worker_id, f"no progress for {self._timeouts.step_s:g} s")]
