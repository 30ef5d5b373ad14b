"""One client's stream of events: what goes out, in which order, and when it is given up."""

import asyncio
from typing import Any

import pytest

from gateway.http.disconnect import remember_transport
from gateway.http.sse import ClientStuck, EventSource


class Server:
    """Stands for the HTTP server: records what is sent; a stuck client makes it wait for ever."""

    def __init__(self, unsent: int = 0, stuck: bool = False) -> None:
        self.sent: list[Any] = []
        self.transport = self
        self._unsent = unsent
        self._stuck = stuck

    def get_write_buffer_size(self) -> int:
        return self._unsent

    async def send(self, message: Any) -> None:
        if self._stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.sent.append(message)

    def scope(self) -> Any:
        scope: Any = {}
        remember_transport(scope, self.send)
        return scope

    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(message["body"], message["more_body"]) for message in self.sent[1:]]


def opened(server: Server, keepalive_s: float = 60.0) -> Any:
    return EventSource.opened(server.scope(), server.send, send_s=0.0, keepalive_s=keepalive_s)


@pytest.mark.parametrize("unsent", [0, 10])
async def test_headers_events_and_the_end_go_out_in_order(unsent: int) -> None:
    server = Server(unsent)
    async with opened(server) as source:
        await source.send(b"data: a\n\n")
        await source.finish(b"data: b\n\n")
    assert server.sent[0]["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in server.sent[0]["headers"]
    assert server.bodies() == [(b"data: a\n\n", True), (b"data: b\n\n", False)]


@pytest.mark.parametrize("last", [False, True])
async def test_a_client_that_takes_nothing_is_stuck(last: bool) -> None:
    server = Server(unsent=1, stuck=True)
    with pytest.raises(ClientStuck):
        async with opened(server) as source:
            await (source.finish(b"x") if last else source.send(b"x"))


async def test_a_silent_stream_is_kept_alive_and_an_ended_one_is_not() -> None:
    server = Server()
    async with opened(server, keepalive_s=0.0) as source:
        while not server.bodies():
            await asyncio.sleep(0)
        assert server.bodies()[0] == (b": keepalive\n\n", True)
        await source.finish(b"")
        ended_with = len(server.sent)
        for _ in range(5):
            await asyncio.sleep(0)
    assert len(server.sent) == ended_with


async def test_a_stuck_client_of_a_silent_stream_does_no_harm() -> None:
    server = Server(unsent=1, stuck=True)
    async with opened(server, keepalive_s=0.0):
        for _ in range(10):
            await asyncio.sleep(0)
    assert server.bodies() == []
