"""A streamed answer: the frames of one job as server-sent events.

Owns a job's stream from the handler's submit to the last byte, whatever ends it. Early errors keep their
HTTP status: the first outputs are awaited before the headers go out. Later ones are told in-band.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from litestar.types import Receive, Scope, Send
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError

from backends.protocol import CallDelta, Delta, Finished, GenerationResult, ItemDone
from config.schema import TimeoutsConfig
from gateway.engine.stream import JobStream, StreamOutput
from gateway.http.disconnect import cut_off, has_unsent_bytes
from gateway.http.errors import error_frame, queue_headers
from gateway.telemetry.logging import log

# The engine ends every stream, at the latest when the drain time is over; the library would cut them off
# half a second after SIGTERM.
AppStatus.enable_automatic_graceful_drain = False


class Events(Protocol):
    """How an API writes a stream: each part is ready-made SSE bytes, or empty."""

    def opening(self) -> bytes: ...
    def write(self, output: StreamOutput) -> bytes: ...


class Chunks(Protocol):
    """How an API writes a stream of generations; the parts are as those of Events."""

    def opening(self) -> bytes: ...
    def delta(self, delta: Delta) -> bytes: ...
    def finish(self, item: int, result: GenerationResult) -> bytes: ...
    def closing(self, results: Sequence[GenerationResult]) -> bytes: ...


class _Nothing(ServerSentEvent):
    """An event without a byte: servers send nothing for it."""

    def encode(self) -> bytes:
        return b""


class QuietResponse(EventSourceResponse):
    """Asks for a deadline only where a send may have to wait: entering one costs as much as the send itself.

    A server takes a piece at once as long as its client has taken all before it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        self._scope = scope
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]  # starlette's own ASGI types

    async def _send_with_timeout(self, send: Any, message: Any) -> None:
        if has_unsent_bytes(self._scope):
            await super()._send_with_timeout(send, message)
        else:
            await send(message)


class EventStream:
    """An ASGI app that sends a job's outputs. The job is aborted if it has not ended when this ends."""

    def __init__(
        self,
        stream: JobStream,
        first: asyncio.Task[list[StreamOutput]],
        written: Events,
        timeouts: TimeoutsConfig,
    ) -> None:
        self._stream = stream
        self._place = stream.queue_place()
        self._first = first
        self._written = written
        self._timeouts = timeouts
        self._silent = True
        """Since a keep-alive was last asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = QuietResponse(
            self._events(),
            sep="\n",
            headers=self._headers(),
            ping=self._timeouts.keepalive_s,
            ping_message_factory=self._keepalive,
            send_timeout=self._timeouts.send_s,
        )
        async with self._stream:  # leaving it aborts the job
            try:
                await response(scope, receive, send)
            except* SendTimeoutError:  # a group where a keep-alive is stuck at the same moment
                log.info("client stopped reading", job=self._stream.job.id)
                await cut_off(scope)
            finally:
                await _drop(self._first)

    def _headers(self) -> dict[str, str]:
        """A stream that begins late says where its job stood when the headers were sent."""
        told = queue_headers(*self._place) if self._place is not None else []
        return {name.decode(): value.decode() for name, value in told}

    async def _events(self) -> AsyncIterator[bytes]:
        """What came together goes out together; the library passes bytes through as they are."""
        try:
            outputs = await self._first
            events = self._written.opening()
            while True:
                events += b"".join(map(self._written.write, outputs))
                self._silent = self._silent and not events
                yield events
                if isinstance(outputs[-1], Finished):
                    break
                events = b""
                outputs = await self._stream.next()
        except Exception as error:  # the edge of the response: the status has gone out
            yield error_frame(error)
        yield b""  # a client that takes the last events has `send_s` for them: the end itself has no deadline

    def _keepalive(self) -> ServerSentEvent:
        """Asked for every `keepalive_s`."""
        silent, self._silent = self._silent, True
        return ServerSentEvent(comment="keepalive", sep="\n") if silent else _Nothing()


class GenerationEvents:
    """Events of a generation."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._results: dict[int, GenerationResult] = {}

    def opening(self) -> bytes:
        return self._chunks.opening()

    def write(self, output: StreamOutput) -> bytes:
        if isinstance(output, Delta):
            return self._chunks.delta(output)
        if isinstance(output, ItemDone):
            result = output.result
            assert isinstance(result, GenerationResult)
            self._results[output.item] = result
            return self._chunks.delta(_rest(output, result)) + self._chunks.finish(output.item, result)
        return self._chunks.closing([self._results[item] for item in sorted(self._results)])


def _rest(done: ItemDone, result: GenerationResult) -> Delta:
    """What of an answer had not gone out piece by piece."""
    calls = [
        CallDelta(index, call.arguments, call.id, call.name) for index, call in enumerate(result.tool_calls)
    ]
    return Delta(done.job_id, done.item, result.text, 0, result.reasoning, calls, result.logprobs)


async def open_stream(stream: JobStream, chunks: Chunks, timeouts: TimeoutsConfig) -> EventStream:
    """As `open_events`, for a generation."""
    return await open_events(stream, GenerationEvents(chunks), timeouts)


async def open_events(stream: JobStream, events: Events, timeouts: TimeoutsConfig) -> EventStream:
    """Wait `first_event_s` at most for the first outputs. Raises the GatewayError of an early failure."""
    first = asyncio.ensure_future(stream.next())
    try:
        await asyncio.wait({first}, timeout=timeouts.first_event_s)
        if first.done():
            first.result()
        return EventStream(stream, first, events, timeouts)
    except BaseException:
        await _drop(first)
        stream.abort()
        raise


async def _drop(first: asyncio.Task[list[StreamOutput]]) -> None:
    """See the task off, whether or not anybody took its result."""
    first.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await first
