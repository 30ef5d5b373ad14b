"""Which waiting job goes to which worker, and when. Pure."""

from gateway.engine.deciders.progress import expect_progress
from gateway.engine.events import Command, Dispatch, SendInput
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.job_queue import JobEntry

LOOK_AHEAD_ITEMS = 2
"""Items sent beyond what a worker can start, so that it never waits for the next one."""


def send_waiting(
    fleet: Fleet, model: Model, now: float, *, excluded: frozenset[int] = frozenset()
) -> list[Command]:
    """Send what can be sent, to the worker with most room that is not `excluded`."""
    commands: list[Command] = []
    workers = [worker for worker in model.ready_workers() if worker.id not in excluded]
    while (entry := model.queue.first()) is not None:
        worker = max(workers, key=lambda worker: (worker.room, -worker.sessions), default=None)
        if worker is None or worker.room + LOOK_AHEAD_ITEMS <= 0:
            break
        model.queue.remove(entry)
        commands += _dispatch(fleet, worker, entry, now)
    return commands


def _dispatch(fleet: Fleet, worker: Worker, entry: JobEntry, now: float) -> list[Command]:
    expect_progress(fleet, worker, now)
    entry.worker_id = worker.id
    worker.jobs[entry.job.id] = entry
    worker.dispatched += 1
    worker.unseen.append((worker.dispatched, entry.items))
    inputs, entry.waiting_input = entry.waiting_input, []
    worker.inputs_sent += len(inputs)
    return [Dispatch(worker.id, entry.job), *(SendInput(worker.id, message) for message in inputs)]
