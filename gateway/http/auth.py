"""Bearer keys: who may call which route.

Denies by default: where there are keys, every path needs one unless its route is marked PUBLIC.
"""

from collections.abc import Iterable
from typing import Any

from litestar import Litestar
from litestar.types import Scope
from litestar.utils import normalize_path

from gateway.engine.errors import Forbidden, Unauthorized
from gateway.http.hosts import header_values
from gateway.keys import Key, KeyRing

PUBLIC: dict[str, Any] = {"public": True}
"""`opt` of a route that answers without a key."""

_CALLER = "llm_cortex.caller"
_LONGEST_KEY = 4096
_KEY_PREFIX = "openai-insecure-api-key."
_METRICS_SCOPES = frozenset({"metrics", "admin"})
_API_SCOPES = frozenset({"api", "admin"})


class KeyGuard:
    """Checks the key of each request against the ring."""

    def __init__(self, keys: KeyRing, public_paths: Iterable[str]) -> None:
        self._keys = keys
        self._public = frozenset(public_paths)

    def check(self, scope: Scope) -> None:
        """Raises Unauthorized without a right key, Forbidden if it lacks the scope that the route needs."""
        path = normalize_path(scope["path"])
        if not self._keys or path in self._public:
            return
        key = self._presented(header_values(scope["headers"], b"authorization") or _of_subprotocols(scope))
        needed = _METRICS_SCOPES if path == "/metrics" else _API_SCOPES
        if not key.scopes & needed:
            raise Forbidden("This API key may not use this route.", code="insufficient_scope")
        scope[_CALLER] = key.name  # type: ignore[literal-required]

    def _presented(self, values: list[str]) -> Key:
        if len(values) != 1:
            raise Unauthorized("Send an API key as 'authorization: Bearer <key>'.", code="missing_api_key")
        scheme, _, text = values[0].partition(" ")
        text = text.strip()
        sound = scheme.lower() == "bearer" and text.isascii() and 0 < len(text) <= _LONGEST_KEY
        key = self._keys.check(text) if sound else None
        if key is None:
            raise Unauthorized("The API key is not valid.")
        return key


def _of_subprotocols(scope: Scope) -> list[str]:
    """A browser's WebSocket cannot send headers: its key stands among the subprotocols that it offers."""
    offered: list[str] = scope.get("subprotocols", [])  # type: ignore[assignment]
    return [f"Bearer {name.removeprefix(_KEY_PREFIX)}" for name in offered if name.startswith(_KEY_PREFIX)]


def caller(scope: Scope) -> str:
    """Name of the key that the request came with; empty where there are no keys."""
    name: str = scope.get(_CALLER, "")  # type: ignore[assignment]
    return name


def public_paths(app: Litestar) -> list[str]:
    """Paths of the routes that are marked PUBLIC."""
    return [
        path
        for route in app.routes
        for path in [route.path]
        for handler in handlers(route)
        if handler.opt.get("public")
    ]


def handlers(route: Any) -> list[Any]:
    """The handlers of one of an app's routes."""
    return list(getattr(route, "route_handlers", None) or [route.route_handler])
