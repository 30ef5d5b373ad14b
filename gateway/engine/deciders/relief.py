"""What is given up when the machine runs short of memory, before the system kills somebody. Pure.

How short it is, and when the next step is due, is in `pressure`.
"""

from gateway.engine import errors
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import put_back
from gateway.engine.deciders.stops import abort_running, stop_worker
from gateway.engine.events import (
    AbortJob,
    Command,
    MemoryRead,
    PressureChanged,
    ReplayJob,
    WorkShed,
)
from gateway.engine.fleet import Fleet, Worker
from gateway.engine.job_queue import JobEntry
from gateway.engine.pressure import Step, judge
from gateway.engine.priorities import LOWEST


def take_reading(fleet: Fleet, event: MemoryRead, now: float) -> list[Command]:
    before = fleet.pressure
    fleet.pressure = judge(before, event.reading, fleet.pressure_config, now)
    step, commands = fleet.pressure.step, list[Command]()
    if step is not before.step:
        commands.append(PressureChanged(step.name.lower(), event.reading))
        if step is Step.EVICT:
            commands += _evict_idle(fleet)
        elif step is Step.SHED:
            commands += _evict_idle(fleet) + _put_back_batch_jobs(fleet, now)
        elif step is Step.CALM:
            for model in list(fleet.versions.values()):
                commands += advance(fleet, model, now)
    return commands


def _evict_idle(fleet: Fleet) -> list[Command]:
    """All that nothing waits for: each comes back with the next request for it."""
    commands: list[Command] = []
    for worker in list(fleet.workers.values()):
        model = fleet.version_of(worker)
        if worker.state == "ready" and not worker.busy and not model.queue and not model.pinned:
            model.wanted = False
            commands += [stop_worker(worker, "memory ran short"), WorkShed(worker.model, "evicted")]
    return commands


def _put_back_batch_jobs(fleet: Fleet, now: float) -> list[Command]:
    return [
        command
        for worker in list(fleet.workers.values())
        for entry in reversed(list(worker.jobs.values()))
        if entry.job.priority <= LOWEST
        for command in _put_back(fleet, worker, entry, now)
    ]


def _put_back(fleet: Fleet, worker: Worker, entry: JobEntry, now: float) -> list[Command]:
    """It waits again; a job that cannot begin anew ends."""
    if entry.sent or entry.is_session:
        error = errors.MemoryShort(
            "The request was given up because the server ran short of memory.", retry_after_s=10
        )
        return [*abort_running(fleet, worker, entry, error, now), WorkShed(worker.model, "aborted")]
    job_id, started = entry.job.id, entry.started
    del worker.jobs[job_id]
    worker.aborting.add(job_id)
    put_back(fleet, entry, now)
    replay: list[Command] = [ReplayJob(job_id)] if started else []
    return [AbortJob(worker.id, job_id), *replay, WorkShed(worker.model, "put back")]
