"""Framed messages between the gateway and one worker over a Unix socket pair.

Owns buffering and decoding. A peer that sends anything but a message is reported as broken and heard no
more; it is the worker's owner who ends the process.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import msgspec

from backends.protocol import FrameBuffer, Message, ProtocolError, WorkerMessage, encode_frame

_decoder: msgspec.msgpack.Decoder[WorkerMessage] = msgspec.msgpack.Decoder(WorkerMessage)


class Channel(asyncio.Protocol):
    """`on_message` for every message, `on_closed(error)` once at the end; error None: the peer closed."""

    def __init__(
        self, on_message: Callable[[WorkerMessage], None], on_closed: Callable[[Exception | None], None]
    ) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._closed = False

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_message: Callable[[WorkerMessage], None],
        on_closed: Callable[[Exception | None], None],
    ) -> "Channel":
        sock.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(
            lambda: cls(on_message, on_closed), sock=sock
        )
        return channel

    def send(self, message: Message) -> None:
        """Queue a message; those of one turn of the event loop go out in one write.

        A write wakes the worker, which costs as much as all else here. The bound on jobs bounds the queue.
        """
        if self._closed:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(encode_frame(message))

    def _flush(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def close(self) -> None:
        self._end(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            for body in self._buffer.feed(data):
                self._on_message(_decoder.decode(body))
        except (ProtocolError, msgspec.MsgspecError) as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._buffer = FrameBuffer()
        if self._transport is not None:
            self._transport.abort()
        self._on_closed(error)
