"""Every way in which the gateway refuses or fails a request.

    GatewayError
    ├── RequestError            the request's own fault; trying it again unchanged is useless
    │   ├── BadRequest          400
    │   ├── ContextExceeded     400  context_length_exceeded
    │   ├── Unauthorized        401
    │   ├── Forbidden           403
    │   ├── NotFound            404  also ModelNotFound
    │   ├── MethodNotAllowed    405
    │   ├── BodyTimeout         408
    │   ├── Conflict            409  what is asked for cannot be done beside what goes on
    │   ├── BodyTooLarge        413
    │   └── UnsupportedMedia    415
    ├── LimitExceeded           429  this caller has too much open
    │   └── KeyQueueFull        429  key_queue_full
    ├── Unavailable             503  capacity: try again after `retry_after_s`
    │   ├── QueueFull           503  queue_full
    │   ├── QueueTimeout        503  queue_timeout
    │   ├── WaitTooLong         503  wait_too_long; it could not begin before its time is over
    │   ├── Draining            503  shutting_down
    │   ├── ModelLoading        503  model_loading
    │   ├── ModelFailed         503  model_failed
    │   │   └── ModelNotPulled  503  model_not_pulled; a person must act first
    │   ├── ModelUnloaded       503  model_unloaded; while it was in use
    │   ├── NoRoom              503  insufficient_memory
    │   ├── MemoryShort         503  memory_short; the machine has hardly any left
    │   ├── StorageFailed       503  storage_failed; the disk is full or cannot be written
    │   └── WorkerDied          503  worker_died
    ├── RequestTimeout          504  timeout
    │   ├── SessionExpired      504  session_expired
    │   └── SessionIdle         504  session_idle
    └── InternalError           500
        └── PoisonRequest       500  killed every worker that ran it

Must not know HTTP frameworks: http/errors.py alone turns these into answers.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base: the fields of OpenAI's error envelope and of the retry headers."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None
    should_retry: ClassVar[bool | None] = None
    """Sent as `x-should-retry`; None leaves it to the status."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        queue_position: int | None = None,
        queue_length: int | None = None,
    ) -> None:
        """`queue_position`: about where in the queue the request stands, or would; `queue_length`: how many
        wait for its model."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s
        self.queue_position = queue_position
        self.queue_length = queue_length


class RequestError(GatewayError):
    status = 400
    type = "invalid_request_error"


class BadRequest(RequestError):
    pass


class ContextExceeded(BadRequest):
    default_code = "context_length_exceeded"


class Unauthorized(RequestError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    type = "permission_error"
    default_code = "forbidden"


class NotFound(RequestError):
    status = 404
    default_code = "not_found"


class ModelNotFound(NotFound):
    default_code = "model_not_found"


class MethodNotAllowed(RequestError):
    status = 405
    default_code = "method_not_allowed"


class BodyTimeout(RequestError):
    status = 408
    default_code = "body_timeout"


class Conflict(RequestError):
    status = 409
    default_code = "conflict"
    should_retry = False


class BodyTooLarge(RequestError):
    status = 413
    default_code = "body_too_large"


class UnsupportedMedia(RequestError):
    status = 415
    default_code = "unsupported_media_type"


class LimitExceeded(GatewayError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class KeyQueueFull(LimitExceeded):
    default_code = "key_queue_full"


class Unavailable(GatewayError):
    status = 503
    type = "service_unavailable"


class QueueFull(Unavailable):
    default_code = "queue_full"


class QueueTimeout(Unavailable):
    default_code = "queue_timeout"


class WaitTooLong(Unavailable):
    default_code = "wait_too_long"


class Draining(Unavailable):
    default_code = "shutting_down"


class ModelLoading(Unavailable):
    default_code = "model_loading"


class ModelFailed(Unavailable):
    default_code = "model_failed"


class ModelNotPulled(ModelFailed):
    default_code = "model_not_pulled"
    should_retry = False


class ModelUnloaded(Unavailable):
    default_code = "model_unloaded"


class NoRoom(Unavailable):
    default_code = "insufficient_memory"


class MemoryShort(Unavailable):
    default_code = "memory_short"


class StorageFailed(Unavailable):
    default_code = "storage_failed"


class WorkerDied(Unavailable):
    default_code = "worker_died"


class RequestTimeout(GatewayError):
    status = 504
    default_code = "timeout"
    should_retry = False


class SessionExpired(RequestTimeout):
    default_code = "session_expired"


class SessionIdle(RequestTimeout):
    default_code = "session_idle"


class InternalError(GatewayError):
    default_code = "internal_error"


class PoisonRequest(InternalError):
    default_code = "poison_request"
    should_retry = False
