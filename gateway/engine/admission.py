"""Whether a job may wait for its model at all. Pure."""

from config.schema import LimitsConfig, TimeoutsConfig
from gateway.engine import errors, recovery
from gateway.engine.fleet import Model
from gateway.engine.job_queue import JobEntry

RETRY_AFTER_MAX_S = 30.0


def refusal(
    model: Model,
    entry: JobEntry,
    *,
    open_of_key: int,
    limits: LimitsConfig,
    timeouts: TimeoutsConfig,
    now: float,
) -> errors.GatewayError | None:
    """Why it may not; None: it may. `open_of_key`: jobs of the same key, wherever they are."""
    if open_of_key >= limits.jobs_per_key:
        limit = limits.jobs_per_key
        return errors.LimitExceeded(f"This key has {limit} requests open already.", retry_after_s=1)
    if model.state(now) == "failed" and model.error is not None:
        return recovery.failed_error(model, now)
    return _crowded(model, entry, limits, now) or _too_late(model, entry, timeouts, now)


def _crowded(model: Model, entry: JobEntry, limits: LimitsConfig, now: float) -> errors.GatewayError | None:
    waiting, of_key = len(model.queue), model.queue.of_key(entry.key)
    most = entry.limits.max_waiting
    if most is None and entry.key:  # where there are no keys, nobody can be told from others
        most = limits.queued_jobs_per_key
    if most is not None and of_key >= most:
        return errors.KeyQueueFull(
            f"{of_key} requests of this key wait for {entry.job.model} already.",
            retry_after_s=time_to_wait_s(model, now),
            queue_length=waiting,
        )
    if waiting >= limits.queued_jobs_per_model:
        return errors.QueueFull(
            f"{waiting} requests wait for {entry.job.model} already.",
            retry_after_s=time_to_wait_s(model, now),
            queue_length=waiting,
        )
    if entry.is_session and model.sessions >= model.spec.max_sessions:
        return errors.QueueFull(
            f"{entry.job.model} has {model.spec.max_sessions} sessions open already.",
            code="too_many_sessions",
            retry_after_s=RETRY_AFTER_MAX_S,
        )
    return None


def _too_late(
    model: Model, entry: JobEntry, timeouts: TimeoutsConfig, now: float
) -> errors.GatewayError | None:
    """It would only wait until its time is over: better to say so at once."""
    allowed_s = min(timeouts.queue_s, entry.job.timeout_s)
    load_s = load_left_s(model, now)
    if load_s > allowed_s:
        return errors.ModelLoading(
            f"{entry.job.model} is being loaded; that takes about {load_s:.0f} s.",
            retry_after_s=min(load_s, RETRY_AFTER_MAX_S),
        )
    pause_s = model.pace.pause_s(now)
    ahead = model.queue.ahead(entry.level, entry.key) if pause_s and len(model.queue) else 0
    wait_s = load_s + ahead * (pause_s or 0.0)
    if wait_s <= allowed_s:
        return None
    return errors.WaitTooLong(
        f"The request would begin in about {wait_s:.0f} s, and may wait for {allowed_s:g} s.",
        retry_after_s=min(max(1.0, wait_s - allowed_s), RETRY_AFTER_MAX_S),
        queue_position=ahead + 1,
        queue_length=len(model.queue),
    )


def load_left_s(model: Model, now: float) -> float:
    """How long a model will still load, going by the last load; 0 where that is not known."""
    if model.ready_workers() or not model.load_s:
        return 0.0
    begun_at = min((worker.started_at for worker in model.live_workers()), default=now)
    return max(0.0, begun_at + model.load_s - now)


def time_to_wait_s(model: Model, now: float) -> float:
    """Seconds until half the queue is worked off at the recent pace."""
    pause_s = model.pace.pause_s(now) or 0.0
    return min(RETRY_AFTER_MAX_S, max(1.0, pause_s * len(model.queue) / 2))
