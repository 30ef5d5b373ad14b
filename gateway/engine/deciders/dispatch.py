"""Which waiting job goes to which worker, and when. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from gateway.engine.deciders.progress import expect_progress
from gateway.engine.deciders.shares import enter_worker
from gateway.engine.events import Command, Dispatch, SendInput
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.job_queue import JobEntry
from gateway.engine.pressure import Step

LOOK_AHEAD_ITEMS = 2
"""Items sent beyond what a worker can start, so that it never waits for the next one."""


def send_waiting(
    fleet: Fleet, model: Model, now: float, *, excluded: frozenset[int] = frozenset()
) -> list[Command]:
    """Send what can be sent, to the worker with most room that is not `excluded`.

    A suspect of killing workers that no worker may run now lets the others pass, and is the next to go.
    """
    commands: list[Command] = []
    passed: list[JobEntry] = []
    if fleet.pressure.step is Step.SHED:
        return commands
    workers = [worker for worker in model.ready_workers() if worker.id not in excluded]
    while (entry := model.queue.first(now)) is not None:
        worker = _fittest(fleet, workers, entry, now)
        if worker is not None:
            model.queue.take(entry)
            commands += _dispatch(fleet, worker, entry, now)
            # One that had gone before has not waited all the time since it came.
            waits_since = now if entry.returned else entry.arrived_at
            # Asked after its dispatch: that may have held up the others of its key.
            model.pace.job_went(now, waits_since, others_wait=model.queue.first(now) is not None)
        elif fleet.suspects.suspected(entry, now):
            model.queue.take(entry)
            passed.append(entry)
        else:
            break
    for entry in passed:
        model.queue.push(entry, front=True)
    return commands


def _fittest(fleet: Fleet, workers: Sequence[Worker], entry: JobEntry, now: float) -> Worker | None:
    """The one with most room that may run it; None: it must wait."""
    allowed = [w for w in workers if fleet.suspects.may_run_beside(entry, w.jobs.values(), now)]
    worker = max(allowed, key=lambda worker: (worker.room, -worker.sessions), default=None)
    return worker if worker is not None and _takes(worker, entry) else None


def _takes(worker: Worker, entry: JobEntry) -> bool:
    """Whether it has room, or may lie ahead there; not before it has let go of an earlier run.

    Workers let higher classes pass too, so none lies ahead that would pass a job of a lower class for ever.
    """
    if entry.job.id in worker.aborting:
        return False
    if worker.room > 0:
        return True
    return worker.room + LOOK_AHEAD_ITEMS > 0 and all(
        ahead.started or ahead.level >= entry.level for ahead in worker.jobs.values()
    )


def _dispatch(fleet: Fleet, worker: Worker, entry: JobEntry, now: float) -> list[Command]:
    expect_progress(fleet, worker, now)
    entry.worker_id = worker.id
    enter_worker(fleet, entry)
    worker.jobs[entry.job.id] = entry
    worker.dispatched += 1
    worker.unseen.append((worker.dispatched, entry.items))
    inputs, entry.waiting_input = entry.waiting_input, []
    worker.inputs_sent += len(inputs)
    job = entry.job if entry.job.priority == entry.level else replace(entry.job, priority=entry.level)
    return [Dispatch(worker.id, job), *(SendInput(worker.id, message) for message in inputs)]
