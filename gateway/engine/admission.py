"""Whether a job may wait for its model at all. Pure."""

from backends.protocol import Job, SessionParameters
from config.schema import LimitsConfig, TimeoutsConfig
from gateway.engine import errors, recovery
from gateway.engine.fleet import Model

RETRY_AFTER_MAX_S = 30.0


def refusal(
    model: Model,
    job: Job,
    *,
    open_of_key: int,
    limits: LimitsConfig,
    timeouts: TimeoutsConfig,
    retry_after_s: float,
    now: float,
) -> errors.GatewayError | None:
    """Why it may not; None: it may. `open_of_key`: jobs of the same key; `retry_after_s`: of a full queue."""
    if open_of_key >= limits.jobs_per_key:
        limit = limits.jobs_per_key
        return errors.LimitExceeded(f"This key has {limit} requests open already.", retry_after_s=1)
    if model.state(now) == "failed" and model.error is not None:
        return recovery.failed_error(model, now)
    if len(model.queue) >= limits.queued_jobs_per_model:
        waiting = f"{len(model.queue)} requests wait for {job.model} already."
        return errors.QueueFull(waiting, retry_after_s=retry_after_s)
    if isinstance(job.parameters, SessionParameters) and model.sessions >= model.spec.max_sessions:
        return errors.QueueFull(
            f"{job.model} has {model.spec.max_sessions} sessions open already.",
            code="too_many_sessions",
            retry_after_s=RETRY_AFTER_MAX_S,
        )
    if model.load_s > timeouts.queue_s and not model.ready_workers():
        return errors.ModelLoading(
            f"{job.model} is being loaded; that takes about {model.load_s:.0f} s.",
            retry_after_s=min(model.load_s, RETRY_AFTER_MAX_S),
        )
    return None
