"""How workers leave: at once, or when what they run has ended. Pure."""

from collections.abc import Iterable

from gateway.engine import errors
from gateway.engine.deciders.ends import end_job
from gateway.engine.deciders.progress import expect_progress
from gateway.engine.events import AbortJob, Command, FailJob, StopWorker
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.job_queue import JobEntry


def stop_worker(worker: Worker, reason: str) -> Command:
    """It holds nothing that matters. `reason` is for people."""
    worker.state = "stopping"
    worker.stop_reason = reason
    return StopWorker(worker.id)


def drain_worker(fleet: Fleet, worker: Worker, reason: str, now: float) -> list[Command]:
    """It takes no more jobs and stops after its last. One that is still loading holds none."""
    if worker.state not in ("starting", "ready"):
        return []
    if worker.state == "starting" or not worker.busy:
        return [stop_worker(worker, reason)]
    worker.state = "draining"
    worker.stop_reason = reason
    if worker.sessions:
        fleet.timers.set(now + fleet.timeouts.drain_s, "drain", str(worker.id))
    return []


def drain_workers(fleet: Fleet, workers: Iterable[Worker], reason: str, now: float) -> list[Command]:
    return [command for worker in workers for command in drain_worker(fleet, worker, reason, now)]


def drain_surplus(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """Workers beyond as many as there are to be."""
    surplus = model.live_workers()[model.spec.replicas :]
    return drain_workers(fleet, surplus, "there are to be fewer replicas", now)


def stop_if_drained(worker: Worker) -> list[Command]:
    if worker.state == "draining" and not worker.busy:
        return [stop_worker(worker, worker.stop_reason)]
    return []


def end_sessions(fleet: Fleet, worker_id: int, now: float) -> list[Command]:
    """The time of a draining worker's sessions is over: they would go on for ever."""
    worker = fleet.workers.get(worker_id)
    if worker is None or worker.state != "draining":
        return []
    error = errors.ModelUnloaded(
        f"The model is stopped: {worker.stop_reason}; open a new session.", retry_after_s=1
    )
    sessions = [entry for entry in worker.jobs.values() if entry.is_session]
    return [command for entry in sessions for command in abort_running(fleet, worker, entry, error, now)]


def abort_running(
    fleet: Fleet, worker: Worker, entry: JobEntry, error: errors.GatewayError, now: float
) -> list[Command]:
    """End a job that a worker holds; the worker is told to drop it, and must say in time that it has."""
    expect_progress(fleet, worker, now)
    del worker.jobs[entry.job.id]
    worker.aborting.add(entry.job.id)
    return [AbortJob(worker.id, entry.job.id), FailJob(entry.job.id, error), *end_job(fleet, entry, now)]


def give_up_load(fleet: Fleet, model: Model) -> list[Command]:
    """Stop loading what nobody waits for any more."""
    if model.queue or model.wanted:
        return []
    loading = [worker for worker in model.workers.values() if worker.state == "starting"]
    return [stop_worker(worker, "nobody waits for it any more") for worker in loading]
