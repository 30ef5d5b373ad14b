"""What is said in live sessions, and how they end when the gateway shuts down. Pure."""

from backends.protocol import EndInput, SessionInput
from gateway.engine import errors
from gateway.engine.deciders.ends import fail_job
from gateway.engine.deciders.progress import expect_progress
from gateway.engine.events import Command, SendInput
from gateway.engine.fleet import Fleet


def give_input(fleet: Fleet, message: SessionInput, now: float) -> list[Command]:
    entry = fleet.jobs.get(message.job_id)
    if entry is None:
        return []
    if entry.worker_id is None:
        entry.waiting_input.append(message)
        return []
    worker = fleet.workers[entry.worker_id]
    expect_progress(fleet, worker, now)
    worker.inputs_sent += 1
    return [SendInput(worker.id, message)]


def drain(fleet: Fleet, now: float) -> list[Command]:
    """Sessions would go on for ever: what was said is still transcribed, no more is taken."""
    if fleet.draining:
        return []
    fleet.draining = True
    commands: list[Command] = []
    for entry in [entry for entry in fleet.jobs.values() if entry.is_session]:
        if entry.worker_id is None:
            commands += fail_job(fleet, entry, errors.Draining("The server is shutting down."), now)
        else:
            commands += give_input(fleet, EndInput(entry.job.id), now)
    return commands
