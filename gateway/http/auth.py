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
from gateway.keys import ANYONE, Key, KeyRing

PUBLIC: dict[str, Any] = {"public": True}
"""`opt` of a route that answers without a key. Its path is exact, but for a last part that may be a name."""
ADMIN: dict[str, Any] = {"admin": True}
"""`opt` of a route that needs the scope `admin`; every path below /admin does without it."""

_CALLER = "llm_cortex.caller"
_LONGEST_KEY = 4096
_KEY_PREFIX = "openai-insecure-api-key."
_METRICS_SCOPES = frozenset({"metrics", "admin"})
_API_SCOPES = frozenset({"api", "admin"})
_ADMIN_SCOPES = frozenset({"admin"})
_ADMIN_ROOT = "/admin"


class KeyGuard:
    """Checks the key of each request against the ring."""

    def __init__(self, keys: KeyRing, public_paths: Iterable[str], admin_paths: Iterable[str] = ()) -> None:
        """A public path that ends with `/` stands for every name behind it."""
        self._keys = keys
        self._public = frozenset(public_paths)
        self._public_folders = frozenset(path for path in self._public if path.endswith("/")) - {"/"}
        self._admin = frozenset(admin_paths)

    def check(self, scope: Scope) -> None:
        """Raises Unauthorized without a right key, Forbidden if it lacks the scope that the route needs."""
        path = normalize_path(scope["path"])
        if not self._keys or self._is_public(path):
            return
        key = self._presented(header_values(scope["headers"], b"authorization") or _of_subprotocols(scope))
        if not key.scopes & self._needed(path):
            raise Forbidden("This API key may not use this route.", code="insufficient_scope")
        scope[_CALLER] = key  # type: ignore[literal-required]

    def _is_public(self, path: str) -> bool:
        return path in self._public or path[: path.rfind("/") + 1] in self._public_folders

    def _needed(self, path: str) -> frozenset[str]:
        if path in self._admin or path == _ADMIN_ROOT or path.startswith(f"{_ADMIN_ROOT}/"):
            return _ADMIN_SCOPES
        return _METRICS_SCOPES if path == "/metrics" else _API_SCOPES

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


def caller(scope: Scope) -> Key:
    """The key that the request came with; where there are no keys, one without a name."""
    key: Key = scope.get(_CALLER, ANYONE)  # type: ignore[assignment]
    return key


def public_paths(app: Litestar) -> list[str]:
    """Paths of the routes that are marked PUBLIC, without the name that may come last."""
    return _marked(app, "public")


def admin_paths(app: Litestar) -> list[str]:
    """Paths of the routes that are marked ADMIN."""
    return _marked(app, "admin")


def _marked(app: Litestar, mark: str) -> list[str]:
    return [
        route.path_format.partition("{")[0]
        for route in app.routes
        for handler in handlers(route)
        if handler.opt.get(mark)
    ]


def handlers(route: Any) -> list[Any]:
    """The handlers of one of an app's routes."""
    return list(getattr(route, "route_handlers", None) or [route.route_handler])
