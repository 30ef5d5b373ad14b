"""How jobs leave the queue and the engine. Pure."""

from gateway.engine.deciders.shares import leave_worker
from gateway.engine.errors import GatewayError
from gateway.engine.events import Command, FailJob, JobEnded
from gateway.engine.fleet import Fleet, Model
from gateway.engine.job_queue import JobEntry


def end_job(fleet: Fleet, entry: JobEntry, now: float) -> list[Command]:
    """It has left its worker or its queue already."""
    del fleet.jobs[entry.job.id]
    fleet.timers.drop("job", entry.job.id)
    fleet.jobs_by_key[entry.key] -= 1
    if not fleet.jobs_by_key[entry.key]:
        del fleet.jobs_by_key[entry.key]
    if entry.worker_id is not None:
        leave_worker(fleet, entry)
    return [JobEnded(entry.job.id)]


def fail_job(fleet: Fleet, entry: JobEntry, error: GatewayError, now: float) -> list[Command]:
    """No worker holds it."""
    fleet.home(entry).queue.remove(entry)
    return [FailJob(entry.job.id, error), *end_job(fleet, entry, now)]


def fail_queue(fleet: Fleet, model: Model, error: GatewayError, now: float) -> list[Command]:
    return [command for entry in list(model.queue) for command in fail_job(fleet, entry, error, now)]


def put_back(fleet: Fleet, entry: JobEntry, now: float) -> None:
    """Its worker does not run it after all: it is the next to go, and waits no longer than one that comes."""
    leave_worker(fleet, entry)
    entry.worker_id = None
    entry.started = False
    entry.queue_deadline = now + fleet.timeouts.queue_s
    fleet.timers.set(entry.queue_deadline, "job", entry.job.id)
    fleet.home(entry).queue.push(entry, front=True)
