"""Whether loads and steps come forward in time. Pure."""

from gateway.engine.events import Command, KillWorker
from gateway.engine.fleet import Fleet, Worker


def expect_progress(fleet: Fleet, worker: Worker, now: float) -> None:
    """It is about to get something to do."""
    if not worker.owes_progress:
        worker.progress_at = now
    if not worker.watched:
        worker.watched = True
        fleet.timers.set(now + fleet.timeouts.step_s, "watchdog", str(worker.id))


def check_progress(fleet: Fleet, worker_id: int, now: float) -> list[Command]:
    worker = fleet.workers.get(worker_id)
    if worker is None:
        return []
    worker.watched = False
    if worker.state not in ("ready", "draining") or not worker.owes_progress:
        return []
    due_at = worker.progress_at + fleet.timeouts.step_s
    if now < due_at:
        worker.watched = True
        fleet.timers.set(due_at, "watchdog", str(worker_id))
        return []
    worker.state = "killed"
    return [KillWorker(worker_id, f"no progress for {fleet.timeouts.step_s:g} s")]


def check_load(fleet: Fleet, worker_id: int) -> list[Command]:
    worker = fleet.workers.get(worker_id)
    if worker is None or worker.state != "starting":
        return []
    worker.state = "killed"
    return [KillWorker(worker_id, f"not loaded within {fleet.timeouts.load_s:g} s")]
