"""What every request passes before it reaches a route, found or not.

Owns the request's id, the checks of Host, Origin and key in that order, the count of open requests, and the
log line and metrics at the end. Stands outside the framework, whose middleware sees only requests that
match a route.
"""

import re
import secrets
import time

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from config.schema import Config
from gateway.engine.errors import GatewayError, QueueFull
from gateway.http.auth import KeyGuard
from gateway.http.connections import ConnectionLimit, too_many
from gateway.http.cors import is_preflight, origin_headers, preflight_answer
from gateway.http.disconnect import remember_transport
from gateway.http.ending import run_endings
from gateway.http.errors import error_answer
from gateway.http.hosts import HostList, header_values
from gateway.telemetry.logging import log, log_unforeseen
from gateway.telemetry.metrics import Metrics

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
_REFUSED_BY_POLICY = 1008
_UNCOUNTED = ("/health/", "/metrics")
"""Paths that answer however many requests are open."""


class Front:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        guard: KeyGuard,
        metrics: Metrics,
        connections: ConnectionLimit | None = None,
    ) -> None:
        self._app = app
        self._hosts = HostList(config.server)
        self._guard = guard
        self._metrics = metrics
        self._open_limit = config.limits.open_requests
        self._open = 0
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, send)
        remember_transport(scope, send)
        bind_contextvars(request_id=exchange.request_id)
        self._open += 1
        try:
            app = self._admit(scope, exchange)
            await app(scope, receive, exchange.send)
        except Exception as error:  # the edge: nothing may reach the server's own error page
            if exchange.status:
                log_unforeseen(error)
            else:
                await error_answer(error)(scope, receive, exchange.send)
        finally:
            run_endings(scope)
            self._open -= 1
            self._report(scope, exchange)

    def _admit(self, scope: HTTPScope, exchange: "Exchange") -> ASGIApp:
        """The app that answers this request: the real one, a preflight's answer or a refusal."""
        try:
            host = self._hosts.check_host(header_values(scope["headers"], b"host"))
            exchange.origin = self._hosts.check_origin(header_values(scope["headers"], b"origin"), host)
            if exchange.origin is not None and is_preflight(scope):
                return preflight_answer(scope)
            self._guard.check(scope)
            if not scope["path"].startswith(_UNCOUNTED):
                self._count()
        except GatewayError as error:
            answer = error_answer(error)
            if isinstance(error, QueueFull):
                self._metrics.refused("", error.code or "")
                answer.headers.append((b"connection", b"close"))  # there are too many of them
            return answer
        return self._app

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refused before the handshake is accepted."""
        remember_transport(scope, send)
        started_s = time.perf_counter()
        self._open += 1
        try:
            self._check_websocket(scope)
        except GatewayError as error:
            if isinstance(error, QueueFull):
                self._metrics.refused("", error.code or "")
            await _refuse_handshake(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            duration_s = time.perf_counter() - started_s
            route = str(scope.get("path_template") or "unmatched")
            log.info("websocket", route=route, duration_s=round(duration_s, 1))

    def _check_websocket(self, scope: Scope) -> None:
        host = self._hosts.check_host(header_values(scope["headers"], b"host"))
        self._hosts.check_origin(header_values(scope["headers"], b"origin"), host)
        self._guard.check(scope)
        self._count()

    def _count(self) -> None:
        """Raises QueueFull where one more is too many."""
        if self._open > self._open_limit:
            raise QueueFull("The server has too many requests open.", code="too_many_requests")
        if self._connections is not None and self._connections.reached:
            raise too_many()

    def _report(self, scope: HTTPScope, exchange: "Exchange") -> None:
        route = str(scope.get("path_template") or "unmatched")
        duration_s = time.perf_counter() - exchange.started_s
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_request(route, method, exchange.status, duration_s)
        log.info(
            "request",
            method=method,
            route=route,
            status=exchange.status,
            duration_ms=round(duration_s * 1e3, 1),
        )


async def _refuse_handshake(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    """With its status and envelope where the server can send them, else by a close, which becomes a 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _REFUSED_BY_POLICY, "reason": error.code or ""})
        return
    answer = error_answer(error)
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "websocket.http.response.body", "body": answer.body, "more_body": False})


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Exchange:
    """One request and what has been sent of its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started_s = time.perf_counter()
        self.status = 0
        self.origin: str | None = None
        self._send = send
        given = header_values(scope["headers"], b"x-request-id")
        sound = len(given) == 1 and _REQUEST_ID.match(given[0])
        self.request_id = given[0] if sound else f"req_{secrets.token_hex(12)}"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self.request_id.encode("ascii")),
                *origin_headers(self.origin),
            ]
        await self._send(message)
