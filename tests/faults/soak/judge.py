"""Which outcomes of a soak run are in order. Pure.

A failure is explained by a fault of its model that was injected shortly before or while the request was open;
hostile requests are to be refused, and a client that goes away has no outcome to complain of.
"""

from collections.abc import Callable

from tests.faults.ledger import Entry
from tests.faults.soak.traffic import Call

Near = Callable[[str, float, float, float], bool]
"""(model, since, until, reach_s): whether a fault of the model was injected then."""

REACH_S = 120.0
"""So long a death may be felt: back-off, the model's cool-down after five, the next load."""
_CLIENTS_FAULT = "invalid_request_error"
_BY_DEATH = {
    "worker_died",
    "poison_request",
    "model_failed",
    "model_loading",
    "queue_timeout",
    "queue_full",
    "timeout",
}


def complaint(call: Call, entry: Entry, near: Near) -> str:
    """What is wrong with this outcome; empty: nothing."""
    if entry.outcome is None:
        return "no outcome"
    if entry.outcome in ("unended", "muddled", "unconnected"):
        return entry.outcome
    if call.kind.startswith("hostile"):
        # A prompt that takes long to be read is refused when the headers have gone out already.
        refused = entry.outcome in ("refused", "in_band") and entry.error.get("type") == _CLIENTS_FAULT
        return "" if refused else "hostile, yet not refused"
    if call.kind == "never reads":
        return ""
    if entry.outcome in ("done", "left"):
        return ""
    if not near(call.model, entry.sent_at, entry.ended_at, REACH_S):
        return "failed without a fault"
    if entry.outcome == "late":
        return "no end in time"
    if entry.outcome == "cut":  # sound has no other way to say that it is not whole
        return "" if call.path == "/v1/audio/speech" else "cut off"
    return "" if entry.code in _BY_DEATH else f"wrong code {entry.code}"
