"""Concurrent load: n streams, each with its own connection and list of requests, all starting together.

Owns who sends what when; knows nothing of what the bodies mean.
"""

import asyncio
import contextlib
import gc
from collections.abc import Iterator, Sequence
from time import perf_counter, process_time

from msgspec import Struct

from benchmarks.client import Address, Answer, Connection


class Run(Struct, frozen=True):
    answers: list[list[Answer]]
    """By stream, in order of sending."""
    wall_s: float
    """From the first request sent to the last response complete."""
    client_cpu_s: float


async def run_streams(
    address: Address, requests: Sequence[Sequence[bytes]], timeout_s: float, *, fresh: bool = False
) -> Run:
    """Each stream sends its requests one after another; all are connected before the first one sends.

    `fresh`: a new connection for every request.
    """
    connections = await asyncio.gather(*(Connection.connect(address) for _ in requests))
    with _no_garbage_collection():
        started_at, cpu_before = perf_counter(), process_time()
        answers = await asyncio.gather(
            *(
                _send_all(address, connection, stream, timeout_s, fresh)
                for connection, stream in zip(connections, requests, strict=True)
            )
        )
        return Run(answers, perf_counter() - started_at, process_time() - cpu_before)


class Background:
    """Streams that run while something else is measured, until they are cut off."""

    def __init__(
        self, connections: Sequence[Connection], requests: Sequence[bytes], timeout_s: float
    ) -> None:
        self._connections = connections
        self._tasks = [
            asyncio.ensure_future(connection.exchange(request, timeout_s))
            for connection, request in zip(connections, requests, strict=True)
        ]

    @classmethod
    async def started(
        cls, address: Address, requests: Sequence[bytes], timeout_s: float, flowing_events: int
    ) -> "Background":
        """Comes back when every stream has had so many events, or has ended."""
        connections = await asyncio.gather(*(Connection.connect(address) for _ in requests))
        background = cls(connections, requests, timeout_s)
        while not background._flow(flowing_events):  # noqa: ASYNC110 (an event would burden the measured path)
            await asyncio.sleep(0.02)
        return background

    async def cut(self) -> list[Answer]:
        """End all; an answer that had ended before is a failure, as it did not last the measurement."""
        early = [task.done() for task in self._tasks]
        for connection in self._connections:
            connection.close()
        answers = await asyncio.gather(*self._tasks)
        for answer, ended in zip(answers, early, strict=True):
            answer.failure = (answer.failure or "the stream ended too early") if ended else ""
        return answers

    def _flow(self, events: int) -> bool:
        return all(
            task.done() or (connection.answer is not None and len(connection.answer.events) >= events)
            for task, connection in zip(self._tasks, self._connections, strict=True)
        )


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A pause of the client would read as a pause of the server."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _send_all(
    address: Address, connection: Connection, requests: Sequence[bytes], timeout_s: float, fresh: bool
) -> list[Answer]:
    answers = []
    try:
        for number, request in enumerate(requests):
            # llama-server ends the connection a moment after a stream: the next request on it would be lost.
            if connection.closed or (number and fresh):
                connection.close()
                connection = await Connection.connect(address)
            answers.append(await connection.exchange(request, timeout_s))
    finally:
        connection.close()
    return answers
