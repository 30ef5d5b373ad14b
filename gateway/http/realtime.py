"""WebSocket /v1/realtime: live transcription, in the shape of OpenAI's transcription sessions.

Owns one connection from its handshake to its close: events in, a session of the engine, events out. Audio is
only unpacked here; who speaks when, and what, is found out in the worker. Ends in every case with the session
ended too.
"""

import asyncio
import secrets
import time
from typing import Any
from urllib.parse import parse_qs

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import WebsocketRouteHandler

from backends.protocol import Finished, InputRefused, SessionOutput
from compat.errors import InvalidRequest, invalid
from compat.openai.realtime import (
    AppendAudio,
    BadEvent,
    ClearAudio,
    CommitAudio,
    Event,
    ServerEvents,
    UpdateOlderSession,
    UpdateSession,
    read_event,
)
from compat.openai.realtime_settings import Settings, check, render, render_older
from gateway.engine.errors import (
    BadRequest,
    Draining,
    GatewayError,
    RequestError,
    RequestTimeout,
    SessionIdle,
)
from gateway.engine.session import SessionStream
from gateway.http.body import off_loop
from gateway.http.disconnect import ClientGone, cut_off
from gateway.http.errors import as_gateway_error
from gateway.http.services import Services
from gateway.telemetry.logging import log

_SUBPROTOCOL = "realtime"
_SAMPLE_BYTES = 2
_CLOSE_NORMAL, _CLOSE_AWAY, _CLOSE_POLICY, _CLOSE_ERROR = 1000, 1001, 1008, 1011


def realtime_route(services: Services) -> WebsocketRouteHandler:
    @websocket("/v1/realtime")
    async def realtime(socket: WebSocket[Any, Any, Any]) -> None:
        await Connection(services, socket).serve()

    return realtime


class _ClientStuck(Exception):
    """The client takes no byte any more."""


class Connection:
    """One client and its session."""

    def __init__(self, services: Services, socket: WebSocket[Any, Any, Any]) -> None:
        self._services = services
        self._socket = socket
        self._scope = socket.scope
        self._timeouts = services.config.timeouts
        older = any(name == b"openai-beta" for name, _ in socket.scope["headers"])
        self._events = ServerEvents(_new_id, older=older)
        self._settings = Settings()
        self._model = ""
        """The configured name of the model that the settings name."""
        self._session: SessionStream | None = None
        self._opened = asyncio.Event()
        self._id = _new_id("sess")
        self._expires_at = int(time.time() + self._timeouts.session_s)

    async def serve(self) -> None:
        """From the handshake to the close."""
        if (await self._socket.receive())["type"] != "websocket.connect":
            return
        offered = self._scope["subprotocols"]
        accept: Any = {"type": "websocket.accept", "headers": [], "subprotocol": None}
        if _SUBPROTOCOL in offered:
            accept["subprotocol"] = _SUBPROTOCOL
        try:
            await self._socket.send(accept)
            error = await self._run()
            if error is not None:
                await self._tell_error(error, None)
                await self._close(error)
        except _ClientStuck:
            log.info("client stopped reading", session=self._id)
            await cut_off(self._scope)
        except ClientGone:
            pass

    async def _run(self) -> GatewayError | None:
        """Why the session is over. Raises ClientGone, _ClientStuck."""
        tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._listen())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            if self._session is not None:
                self._session.abort()
        failures = [end for end in ends if isinstance(end, Exception)]
        for failure in failures:
            if isinstance(failure, ClientGone | _ClientStuck):
                raise failure
        return as_gateway_error(failures[0]) if failures else None

    # --- from the client ------------------------------------------------------------------------------

    async def _read(self) -> None:
        await self._set_model()
        await self._tell_session("created")
        while True:
            body = await self._receive()
            try:
                event = await off_loop(len(body), read_event, body)
            except BadEvent as bad:
                await self._tell_error(_refusal(bad.refusal), bad.event_id)
                continue
            try:
                await self._follow(event)
            except (InvalidRequest, RequestError) as refusal:
                await self._tell_error(as_gateway_error(refusal), event.event_id)

    async def _receive(self) -> bytes:
        """The next message. Raises ClientGone; SessionIdle where none comes."""
        idle_s = self._timeouts.session_idle_s
        try:
            async with asyncio.timeout(idle_s):
                message: Any = await self._socket.receive()
        except TimeoutError:
            raise SessionIdle(f"Nothing came from the client for {idle_s:g} s.") from None
        if message["type"] != "websocket.receive":
            raise ClientGone
        text = message.get("text")
        return text.encode() if text is not None else message["bytes"] or b""

    async def _set_model(self) -> None:
        """The model that the URL names, or the first that can be used."""
        named = parse_qs(self._scope["query_string"].decode("latin-1")).get("model", [])
        name = named[0] if named else self._services.first_model("transcribe").name
        await self._set(Settings(name))

    async def _follow(self, event: Event) -> None:
        match event:
            case UpdateSession(session=update):
                await self._update(self._settings.updated(update), event.event_id, older=False)
            case UpdateOlderSession(session=older_update):
                await self._update(self._settings.updated_older(older_update), event.event_id, older=True)
            case AppendAudio(audio=audio):
                await self._append(audio)
            case CommitAudio():
                await self._open().commit(event.event_id or "")
            case ClearAudio():
                await self._open().clear(event.event_id or "")

    async def _update(self, settings: Settings, event_id: str | None, *, older: bool) -> None:
        self._events.older = older
        await self._set(settings)
        if self._session is not None:
            await self._session.reconfigure(settings.parameters, event_id or "")
        await self._tell_session("updated")

    async def _set(self, settings: Settings) -> None:
        """Raises what is wrong with the settings, and then they stay as they were."""
        spec = self._services.model_for(settings.model, "transcribe")
        if self._session is not None:
            if spec.name != self._model:
                raise invalid("model", "it cannot be changed once audio has come.")
            if settings.parameters.sample_rate != self._settings.parameters.sample_rate:
                raise invalid("session.audio.input.format", "it cannot be changed once audio has come.")
        check(settings, await self._services.description(spec, "listen"))
        self._settings, self._model = settings, spec.name

    async def _append(self, audio: bytes) -> None:
        session = self._open()
        await session.feed(audio)
        seconds = len(audio) / _SAMPLE_BYTES / self._settings.parameters.sample_rate
        self._services.metrics.audio_fed(self._model, seconds)

    def _open(self) -> SessionStream:
        """The engine's session, which begins with the first audio."""
        if self._session is None:
            parameters = self._settings.parameters
            self._session = self._services.open_session(self._scope, self._id, self._model, parameters)
            self._opened.set()
        return self._session

    # --- to the client --------------------------------------------------------------------------------

    async def _listen(self) -> None:
        await self._opened.wait()
        assert self._session is not None
        while True:
            for output in await self._session.next():
                if isinstance(output, Finished):
                    raise Draining("The server is shutting down.")
                if isinstance(output, InputRefused):
                    refusal = BadRequest(output.message, param=output.param or None, code=output.code or None)
                    await self._tell_error(refusal, output.tag or None)
                elif isinstance(output, SessionOutput):
                    for event in self._events.render(output):
                        await self._tell(event)

    async def _tell_session(self, change: str) -> None:
        form = render_older if self._events.older else render
        await self._tell(self._events.session(change, form(self._settings, self._id, self._expires_at)))

    async def _tell_error(self, error: GatewayError, event_id: str | None) -> None:
        await self._tell(
            self._events.error(
                error.type, error.message, code=error.code, param=error.param, event_id=event_id
            )
        )

    async def _tell(self, event: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": None, "text": event.decode()})

    async def _close(self, error: GatewayError) -> None:
        await self._send({"type": "websocket.close", "code": _close_code(error), "reason": error.code or ""})

    async def _send(self, message: Any) -> None:
        try:
            async with asyncio.timeout(self._timeouts.send_s):
                await self._socket.send(message)
        except TimeoutError:
            raise _ClientStuck from None
        except (OSError, WebSocketDisconnect):  # uvicorn's own is an OSError
            raise ClientGone from None


def _refusal(refusal: InvalidRequest) -> GatewayError:
    return BadRequest(refusal.message, param=refusal.param, code=refusal.code)


def _close_code(error: GatewayError) -> int:
    if isinstance(error, Draining):
        return _CLOSE_AWAY
    if isinstance(error, RequestTimeout):
        return _CLOSE_NORMAL
    return _CLOSE_POLICY if isinstance(error, RequestError) else _CLOSE_ERROR


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"
