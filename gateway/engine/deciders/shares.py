"""How many jobs of a key are with workers, and which keys must wait for their own jobs to end. Pure."""

from gateway.engine.fleet import Fleet
from gateway.engine.job_queue import JobEntry


def enter_worker(fleet: Fleet, entry: JobEntry) -> None:
    """A job goes to a worker."""
    key, most = entry.key, entry.limits.max_running
    fleet.running_by_key[key] += 1
    if most is not None and fleet.running_by_key[key] >= most:
        fleet.held_keys.add(key)
        for model in fleet.versions.values():
            model.queue.hold(key)


def leave_worker(fleet: Fleet, entry: JobEntry) -> None:
    """A worker has no more to do with a job."""
    key, most = entry.key, entry.limits.max_running
    fleet.running_by_key[key] -= 1
    running = fleet.running_by_key[key]
    if not running:
        del fleet.running_by_key[key]
    if key in fleet.held_keys and (most is None or running < most):
        fleet.held_keys.remove(key)
        for model in fleet.versions.values():
            model.queue.release(key)
            if model.queue.of_key(key):
                fleet.freed.add(model.key)
