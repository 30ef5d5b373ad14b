"""A streamed answer: the frames of one job as server-sent events.

Owns a job's stream from the handler's submit to the last byte, whatever ends it. Early errors keep their
HTTP status: the first outputs are awaited before the headers go out. Later ones are told in-band.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from litestar.types import Receive, Scope, Send

from backends.protocol import CallDelta, Delta, Finished, GenerationResult, ItemDone
from config.schema import TimeoutsConfig
from gateway.engine.stream import JobStream, StreamOutput
from gateway.http.disconnect import ClientGone, cut_off, until_disconnect
from gateway.http.errors import error_frame
from gateway.http.sse import ClientStuck, EventSource
from gateway.telemetry.logging import log


class Chunks(Protocol):
    """How an API writes a stream: each part is ready-made SSE bytes, or empty."""

    def opening(self) -> bytes: ...
    def delta(self, delta: Delta) -> bytes: ...
    def finish(self, item: int, result: GenerationResult) -> bytes: ...
    def closing(self, results: Sequence[GenerationResult]) -> bytes: ...


class EventStream:
    """An ASGI app that sends a job's outputs. The job is aborted if it has not ended when this ends."""

    def __init__(
        self,
        stream: JobStream,
        first: asyncio.Task[list[StreamOutput]],
        chunks: Chunks,
        timeouts: TimeoutsConfig,
    ) -> None:
        self._stream = stream
        self._first = first
        self._chunks = chunks
        self._timeouts = timeouts
        self._results: dict[int, GenerationResult] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeouts = self._timeouts
        async with self._stream:
            try:
                with until_disconnect(receive):
                    async with EventSource.opened(
                        scope, send, send_s=timeouts.send_s, keepalive_s=timeouts.keepalive_s
                    ) as source:
                        await source.finish(await self._send_all(source))
            except ClientGone:
                pass  # leaving the stream aborts the job
            except ClientStuck:
                log.info("client stopped reading", job=self._stream.job.id)
                await cut_off(scope)
            finally:
                await _drop(self._first)

    async def _send_all(self, source: EventSource) -> bytes:
        """Sends everything but the last events, which it returns."""
        try:
            outputs = await self._first
            events = self._chunks.opening()
            while True:
                events += b"".join(map(self._frame, outputs))
                if isinstance(outputs[-1], Finished):
                    return events
                await source.send(events)
                events = b""
                outputs = await self._stream.next()
        except ClientStuck:
            raise
        except Exception as error:  # the edge of the response: the status has gone out
            return error_frame(error)

    def _frame(self, output: StreamOutput) -> bytes:
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
    """Wait `first_event_s` at most for the first outputs. Raises the GatewayError of an early failure."""
    first = asyncio.ensure_future(stream.next())
    try:
        await asyncio.wait({first}, timeout=timeouts.first_event_s)
        if first.done():
            first.result()
        return EventStream(stream, first, chunks, timeouts)
    except BaseException:
        await _drop(first)
        stream.abort()
        raise


async def _drop(first: asyncio.Task[list[StreamOutput]]) -> None:
    """See the task off, whether or not anybody took its result."""
    first.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await first
