"""What a worker's death means: for each job it held, and for its model. Pure.

Replayable: no byte has gone to the client, it was not replayed before, and what it asks is not convicted of
having killed two workers (see `suspects`); a process that somebody else killed does not count for that.
"""

from backends.protocol import Failed
from gateway.engine import errors
from gateway.engine.events import WorkerDied
from gateway.engine.fleet import Model
from gateway.engine.job_queue import JobEntry

DEATHS_WINDOW_S = 60.0
MAX_DEATHS = 5
"""So many deaths within the window, and the model is failed."""
FAILED_COOL_DOWN_S = 60.0
"""A failed model is tried again when a request comes after this."""
BACK_OFF_FIRST_S = 1.0
BACK_OFF_MAX_S = 60.0

_BY_KIND: dict[str, type[errors.GatewayError]] = {
    "invalid_request": errors.BadRequest,
    "aborted": errors.InternalError,
    "timeout": errors.RequestTimeout,
    "out_of_memory": errors.NoRoom,
    "worker_died": errors.WorkerDied,
    "internal": errors.InternalError,
}


def from_failed(failed: Failed) -> errors.GatewayError:
    """The error that a worker's message stands for."""
    return _BY_KIND[failed.kind](failed.message, param=failed.param or None, code=failed.code or None)


def judge(entry: JobEntry, death: WorkerDied, *, convicted: bool) -> errors.GatewayError | None:
    """The error that ends this job of a dead worker; None: it may run again.

    `convicted`: what it asks has killed too often, in this job or in others.
    """
    if entry.is_session:
        return errors.WorkerDied("The worker died; what was said since the last transcript is lost.")
    if convicted:
        return poison_error()
    if not entry.started:
        return None
    if entry.sent:
        return errors.WorkerDied("The worker died while it answered; the answer is incomplete.")
    entry.deaths += 1
    if entry.deaths < 2:
        return None
    return errors.WorkerDied("The worker died twice while it ran this request.", retry_after_s=2)


def poison_error() -> errors.PoisonRequest:
    return errors.PoisonRequest("Two workers died while they ran this request; it is not tried again.")


def note_death(model: Model, death: WorkerDied, now: float, *, had_served: bool) -> None:
    """Set when the model may be tried again: capped back-off, or `failed` after too many deaths.

    One death of a worker that `had_served` is no loop: the next worker starts at once.
    """
    while model.deaths and model.deaths[0] < now - DEATHS_WINDOW_S:
        model.deaths.popleft()
    model.deaths.append(now)
    model.last_stderr = death.stderr
    count = len(model.deaths)
    if count > 1 or not had_served:
        model.retry_at = now + min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2 ** (count - 1))
    if death.kind == "invalid_model":
        _fail(model, errors.ModelFailed(f"{model.spec.name} cannot be loaded: {death.reason}"), now)
    elif death.kind == "out_of_memory":
        _fail(model, errors.NoRoom(f"{model.spec.name} does not fit in memory: {death.reason}"), now)
    elif count >= MAX_DEATHS:
        message = f"{model.spec.name} died {count} times within a minute, last: {death.reason}"
        _fail(model, errors.ModelFailed(message), now)


def _fail(model: Model, error: errors.GatewayError, now: float) -> None:
    model.error = error
    model.failed_until = now + FAILED_COOL_DOWN_S
    model.deaths.clear()


def failed_error(model: Model, now: float) -> errors.GatewayError:
    """The model's error for one more request: a fresh one with the time left until it is tried again."""
    error = model.error
    assert error is not None
    return type(error)(
        error.message, param=error.param, code=error.code, retry_after_s=max(1.0, model.failed_until - now)
    )
