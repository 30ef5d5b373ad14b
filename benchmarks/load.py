"""Concurrent load: n streams, each with its own connection and list of requests, all starting together.

Owns who sends what when; knows nothing of what the bodies mean.
"""

import asyncio
import gc
from collections.abc import Sequence
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

    The garbage collector rests meanwhile: a pause of the client would read as a pause of the server.
    """
    connections = await asyncio.gather(*(Connection.connect(address) for _ in requests))
    gc.collect()
    gc.disable()
    try:
        started_at, cpu_before = perf_counter(), process_time()
        answers = await asyncio.gather(
            *(
                _send_all(address, connection, stream, timeout_s, fresh)
                for connection, stream in zip(connections, requests, strict=True)
            )
        )
        return Run(answers, perf_counter() - started_at, process_time() - cpu_before)
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
