"""Jobs that come, jobs that nobody waits for any more, and jobs whose time is over. Pure."""

from gateway.engine import errors, recovery
from gateway.engine.admission import RETRY_AFTER_MAX_S, refusal, time_to_wait_s
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import fail_job
from gateway.engine.deciders.stops import abort_running, give_up_load
from gateway.engine.events import Command, FailJob, JobArrived, JobEnded
from gateway.engine.fleet import Fleet, Model
from gateway.engine.job_queue import JobEntry
from gateway.engine.pressure import Step


def take_job(fleet: Fleet, arrival: JobArrived, now: float) -> list[Command]:
    job, key = arrival.job, arrival.key
    model = fleet.models.get(job.model)
    if model is None:  # removed since it was looked up
        gone = errors.ModelNotFound(f"{job.model} is not served any more.", param="model")
        return [FailJob(job.id, gone), JobEnded(job.id)]
    entry = JobEntry(job, key, now, now + job.timeout_s, now + fleet.timeouts.queue_s, arrival.limits)
    error = _refusal(fleet, model, entry, now)
    if isinstance(error, errors.ModelLoading):
        return _load_for_later(fleet, model, job.id, error, now)
    if error is not None:
        return [FailJob(job.id, error), JobEnded(job.id)]
    fleet.jobs[job.id] = entry
    fleet.jobs_by_key[key] += 1
    fleet.timers.set(min(entry.deadline, entry.queue_deadline), "job", job.id)
    model.queue.push(entry)
    return advance(fleet, model, now)


def _refusal(fleet: Fleet, model: Model, entry: JobEntry, now: float) -> errors.GatewayError | None:
    if fleet.draining:
        return errors.Draining("The server is shutting down.", retry_after_s=5)
    if fleet.suspects.convicted(entry, now):
        return recovery.poison_error()
    if fleet.pressure.step is not Step.CALM:
        return errors.MemoryShort("The server is short of memory.", retry_after_s=5)
    return refusal(
        model,
        entry,
        open_of_key=fleet.jobs_by_key[entry.key],
        limits=fleet.limits,
        timeouts=fleet.timeouts,
        now=now,
    )


def _load_for_later(
    fleet: Fleet, model: Model, job_id: str, error: errors.ModelLoading, now: float
) -> list[Command]:
    """The request cannot wait for the load; whoever comes again is to find the model loaded."""
    model.wanted, model.gentle = True, False  # somebody asks for it
    commands = advance(fleet, model, now)
    no_room = model.error if isinstance(model.error, errors.NoRoom) else None
    loads = bool(model.live_workers()) or model.key in fleet.wants_room
    return [FailJob(job_id, error if loads else no_room or error), JobEnded(job_id), *commands]


def abort_job(fleet: Fleet, job_id: str, error: errors.GatewayError, now: float) -> list[Command]:
    """Its client has left, or it is ended for another reason than its own time."""
    entry = fleet.jobs.get(job_id)
    if entry is None:
        return []
    model = fleet.home(entry) if entry.worker_id is None else None
    commands = _end(fleet, entry, error, now)
    return commands + give_up_load(fleet, model) if model is not None else commands


def _end(fleet: Fleet, entry: JobEntry, error: errors.GatewayError, now: float) -> list[Command]:
    if entry.worker_id is not None:
        return abort_running(fleet, fleet.workers[entry.worker_id], entry, error, now)
    return fail_job(fleet, entry, error, now)


def check_deadline(fleet: Fleet, job_id: str, now: float) -> list[Command]:
    entry = fleet.jobs.get(job_id)
    if entry is None:  # ended by what else this tick has done
        return []
    fleet.timers.set(entry.deadline, "job", job_id)  # an open job always has a deadline set
    # A load goes on without those whose time is over: where all are in a hurry it would never end otherwise.
    if now >= entry.deadline:
        timeout_s = entry.deadline - entry.arrived_at
        if entry.is_session:
            expired = errors.SessionExpired(f"A session lasts at most {timeout_s:g} s.")
            return _end(fleet, entry, expired, now)
        return _end(fleet, entry, errors.RequestTimeout(f"Not done within {timeout_s:g} s."), now)
    if entry.worker_id is not None or now < entry.queue_deadline:  # it waits anew, see `put_back`
        return []
    waited, model = fleet.timeouts.queue_s, fleet.home(entry)
    if model.key in fleet.wants_room:
        busy = errors.NoRoom(
            f"{entry.job.model} is not loaded, and within {waited:g} s no memory for it became free: models "
            "that are busy hold it.",
            retry_after_s=RETRY_AFTER_MAX_S,
        )
        return fail_job(fleet, entry, busy, now)
    error = errors.QueueTimeout(
        f"No worker took the request within {waited:g} s.",
        retry_after_s=time_to_wait_s(model, now),
        queue_position=model.queue.position(entry),
        queue_length=len(model.queue),
    )
    return fail_job(fleet, entry, error, now)
