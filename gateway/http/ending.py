"""What is to be done when a request has ended, whatever ended it.

Owns the list of it on the request's scope. The front runs it after the last byte, an error or a departure.
"""

from collections.abc import Callable

from litestar.types import Scope

_ENDINGS = "llm_cortex.endings"


def at_end(scope: Scope, action: Callable[[], None]) -> None:
    """`action` must be quick and must not raise."""
    scope.setdefault(_ENDINGS, []).append(action)  # type: ignore[misc]


def run_endings(scope: Scope) -> None:
    """The last first."""
    endings: list[Callable[[], None]] = scope.get(_ENDINGS, [])  # type: ignore[assignment]
    while endings:
        endings.pop()()
