"""A streamed answer of plain audio: a job's bytes as they come, and nothing else.

Owns a job's stream from the handler's submit to the last byte, whatever ends it. The status waits for the
first bytes. A failure after them has no words in such a body: the connection is cut, so that nobody takes
the beginning of a file for the whole.
"""

import asyncio

from litestar.types import Receive, Scope, Send

from backends.protocol import AudioDelta, Finished
from config.schema import TimeoutsConfig
from gateway.engine.stream import JobStream, StreamOutput
from gateway.http.disconnect import ClientGone, cut_off, until_disconnect
from gateway.http.errors import as_gateway_error
from gateway.telemetry.logging import log


class AudioStream:
    """An ASGI app that sends a job's audio. The job is aborted if it has not ended when this ends."""

    def __init__(
        self, stream: JobStream, first: list[StreamOutput], media: bytes, timeouts: TimeoutsConfig
    ) -> None:
        self._stream = stream
        self._first = first
        self._media = media
        self._send_s = timeouts.send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stream:  # leaving it aborts the job
            try:
                with until_disconnect(receive):
                    await self._send_all(send)
            except ClientGone:
                pass
            except Exception as error:  # the edge of the response: the status has gone out
                reason = "client stopped reading" if isinstance(error, TimeoutError) else _told(error)
                log.warning("speech cut off", job=self._stream.job.id, reason=reason)
                await cut_off(scope)

    async def _send_all(self, send: Send) -> None:
        headers = [
            (b"content-type", self._media),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        outputs = self._first
        while True:
            data = b"".join(output.data for output in outputs if isinstance(output, AudioDelta))
            ended = isinstance(outputs[-1], Finished)
            if data or ended:
                async with asyncio.timeout(self._send_s):
                    await send({"type": "http.response.body", "body": data, "more_body": not ended})
            if ended:
                return
            outputs = await self._stream.next()


async def open_audio(stream: JobStream, media: bytes, timeouts: TimeoutsConfig) -> AudioStream:
    """Wait for the first bytes, as long as the job itself may take: nothing else can be sent meanwhile.

    Raises the GatewayError of an early failure.
    """
    try:
        outputs = await stream.next()
        while not any(isinstance(output, AudioDelta | Finished) for output in outputs):
            outputs += await stream.next()
        return AudioStream(stream, outputs, media, timeouts)
    except BaseException:
        stream.abort()
        raise


def _told(error: Exception) -> str:
    return as_gateway_error(error).message
