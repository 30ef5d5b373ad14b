"""Workers that have become ready, and workers that are gone. Pure.

What a death means for each job and for the model is in `recovery`.
"""

from gateway.engine import errors, recovery
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import fail_job, fail_queue, put_back
from gateway.engine.deciders.idle import watch_idleness
from gateway.engine.deciders.memory import make_room_again
from gateway.engine.deciders.removals import let_go
from gateway.engine.deciders.swaps import fail_swap, take_arrival
from gateway.engine.events import Command, ReplayJob, WorkerDied, WorkerReady
from gateway.engine.fleet import Fleet, Model, Worker


def note_progress(fleet: Fleet, worker_id: int, stage: str) -> list[Command]:
    if (worker := fleet.workers.get(worker_id)) is not None:
        worker.stage = stage
    return []


def take_ready(fleet: Fleet, event: WorkerReady, now: float) -> list[Command]:
    worker = fleet.workers.get(event.worker_id)
    if worker is None or worker.state != "starting":
        return []
    worker.state = "ready"
    worker.loaded = True
    worker.update(event.capacity)
    worker.last_used = worker.ready_at = now
    model = fleet.version_of(worker)
    model.swaps += worker.swaps
    model.cramped = False
    model.load_s = event.load_s
    model.error = None
    model.last_stderr = ()
    watch_idleness(fleet, worker, now)
    if model.place == "arriving":
        return take_arrival(fleet, model, now)
    fleet.room_changed = True
    return advance(fleet, model, now) + let_go(fleet, model, now)


def take_death(fleet: Fleet, event: WorkerDied, now: float) -> list[Command]:
    worker = fleet.workers.pop(event.worker_id, None)
    if worker is None:
        return []
    model = fleet.version_of(worker)
    del model.workers[worker.id]
    if not event.memory_back:
        fleet.returning[worker.id] = worker
    commands = _judge_jobs(fleet, worker, event, now)
    fleet.room_changed = True
    if again := make_room_again(fleet, model, worker, event, now):
        return commands + again
    if model.place == "arriving" and worker.state != "stopping":
        commands += fail_swap(fleet, model, _not_loaded(model, event), now)
    elif model.place == "serving" and worker.state not in ("stopping", "draining"):
        recovery.note_death(model, event, now, had_served=worker.loaded)
        fleet.timers.set(max(model.retry_at, model.failed_until), "retry", model.spec.name)
        if model.state(now) == "failed":
            commands += fail_queue(fleet, model, recovery.failed_error(model, now), now)
    commands += advance(fleet, fleet.models.get(worker.model, model), now)
    return commands + let_go(fleet, model, now)


def _judge_jobs(fleet: Fleet, worker: Worker, event: WorkerDied, now: float) -> list[Command]:
    commands: list[Command] = []
    if not event.external:
        fleet.suspects.accuse([entry for entry in worker.jobs.values() if entry.started], now)
    for entry in reversed(list(worker.jobs.values())):
        verdict = recovery.judge(entry, event, convicted=fleet.suspects.convicted(entry, now))
        if verdict is None:
            if entry.started:
                commands.append(ReplayJob(entry.job.id))
            put_back(fleet, entry, now)
        else:
            commands += fail_job(fleet, entry, verdict, now)
    return commands + _fail_convicted(fleet, fleet.models.get(worker.model), now)


def _fail_convicted(fleet: Fleet, model: Model | None, now: float) -> list[Command]:
    """Those that wait and ask the same as one that has just been convicted."""
    waiting = list(model.queue) if model is not None else []
    convicted = [entry for entry in waiting if fleet.suspects.convicted(entry, now)]
    error = recovery.poison_error
    return [command for entry in convicted for command in fail_job(fleet, entry, error(), now)]


def _not_loaded(model: Model, event: WorkerDied) -> errors.GatewayError:
    kind = errors.NoRoom if event.kind == "out_of_memory" else errors.ModelFailed
    return kind(f"Version {model.version} of {model.spec.name} cannot be loaded: {event.reason}")
