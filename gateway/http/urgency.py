"""What a request's headers say of its urgency: `x-priority` and `x-request-timeout`.

Owns their reading and the refusal of what they must not say. `x-stainless-timeout` and
`x-stainless-read-timeout`, which OpenAI's clients send by themselves, are no deadlines: they say how long a
client waits for the next byte, and when it gives up, its leaving ends the job.
"""

import math

from litestar.types import Scope

from gateway.engine.errors import BadRequest, Forbidden
from gateway.engine.priorities import CLASSES, LEVELS
from gateway.http.hosts import header_values
from gateway.keys import KeyLimits

PRIORITY, TIMEOUT = "x-priority", "x-request-timeout"
HEADERS = {
    PRIORITY: f"Class of the request: {', '.join(CLASSES)}; by default that of the key.",
    TIMEOUT: "Seconds that the request may take in all; by default, and at most, `timeouts.request_s`.",
}
"""What each means."""


def priority(scope: Scope, limits: KeyLimits) -> int:
    """Priority of the request's job: what it asks for, or what its key has. Raises BadRequest, Forbidden."""
    values = header_values(scope["headers"], PRIORITY.encode())
    if not values:
        return LEVELS[limits.priority]
    level = LEVELS.get(values[0].strip().lower()) if len(values) == 1 else None
    if level is None:
        raise BadRequest(f"'{PRIORITY}' must be one of {', '.join(CLASSES)}.", param=PRIORITY)
    if level > LEVELS[limits.highest_priority]:
        raise Forbidden(
            f"This API key may ask for no higher priority than '{limits.highest_priority}'.",
            param=PRIORITY,
            code="priority_not_allowed",
        )
    return level


def timeout_s(scope: Scope, longest_s: float) -> float:
    """How long the request's job may take from its arrival, at most `longest_s`. Raises BadRequest."""
    values = header_values(scope["headers"], TIMEOUT.encode())
    if not values:
        return longest_s
    try:
        asked_s = float(values[0]) if len(values) == 1 else math.nan
    except ValueError:
        asked_s = math.nan
    if not (math.isfinite(asked_s) and asked_s > 0):
        raise BadRequest(f"'{TIMEOUT}' must be a number of seconds above 0.", param=TIMEOUT)
    return min(asked_s, longest_s)
