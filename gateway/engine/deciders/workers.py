"""Workers that have become ready, and workers that are gone. Pure.

What a death means for each job and for the model is in `recovery`.
"""

from gateway.engine import recovery
from gateway.engine.deciders.advance import advance, advance_waiting
from gateway.engine.deciders.ends import fail_job, fail_queue, put_back
from gateway.engine.events import Command, ReplayJob, WorkerDied, WorkerReady
from gateway.engine.fleet import Fleet


def take_ready(fleet: Fleet, event: WorkerReady, now: float) -> list[Command]:
    worker = fleet.workers.get(event.worker_id)
    if worker is None or worker.state != "starting":
        return []
    worker.state = "ready"
    worker.update(event.capacity)
    worker.last_used = now
    model = fleet.models[worker.model]
    model.load_s = event.load_s
    model.error = None
    return advance(fleet, model, now)


def take_death(fleet: Fleet, event: WorkerDied, now: float) -> list[Command]:
    worker = fleet.workers.pop(event.worker_id, None)
    if worker is None:
        return []
    model = fleet.models[worker.model]
    del model.workers[worker.id]
    commands: list[Command] = []
    for entry in reversed(list(worker.jobs.values())):
        verdict = recovery.judge(entry, event)
        if verdict is None:
            if entry.started:
                commands.append(ReplayJob(entry.job.id))
            put_back(fleet, entry)
        else:
            commands += fail_job(fleet, entry, verdict, now)
    if worker.state != "stopping":
        recovery.note_death(model, event, now)
        fleet.timers.set(max(model.retry_at, model.failed_until), "retry", model.spec.name)
        if model.state(now) == "failed":
            commands += fail_queue(fleet, model, recovery.failed_error(model, now))
    commands += advance(fleet, model, now)
    return commands + advance_waiting(fleet, now)
