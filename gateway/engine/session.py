"""What a session's holder reads from and writes to: a job's stream with a way in.

Owns the account of what may still be sent: before the worker says more, only what the protocol allows a
session that waits for it. So a fast client is slowed down instead of filling anybody's memory.
"""

import asyncio
from collections.abc import Callable

from backends.protocol import (
    INPUT_CREDIT,
    MAX_FEED_BYTES,
    Clear,
    Commit,
    Credit,
    EndInput,
    Feed,
    Job,
    Reconfigure,
    SessionInput,
    SessionOutput,
    SessionParameters,
    input_cost,
)
from gateway.engine.errors import GatewayError
from gateway.engine.stream import JobStream


class SessionStream(JobStream):
    """One reader, and one writer beside it. Writing raises the session's GatewayError where it has failed."""

    def __init__(
        self, job: Job, abort_job: Callable[[str, str], None], give: Callable[[SessionInput], None]
    ) -> None:
        super().__init__(job, abort_job)
        self._give = give
        self._credit = INPUT_CREDIT
        self._spent = 0
        self._room: asyncio.Future[None] | None = None

    async def feed(self, audio: bytes) -> None:
        """Send audio on; returns when all of it is sent, which may take as long as the worker needs."""
        for start in range(0, len(audio), MAX_FEED_BYTES):
            await self._send(Feed(self.job.id, audio[start : start + MAX_FEED_BYTES]))

    async def commit(self, tag: str) -> None:
        await self._send(Commit(self.job.id, tag))

    async def clear(self, tag: str) -> None:
        await self._send(Clear(self.job.id, tag))

    async def reconfigure(self, parameters: SessionParameters, tag: str) -> None:
        await self._send(Reconfigure(self.job.id, parameters, tag))

    async def end_input(self) -> None:
        await self._send(EndInput(self.job.id))

    async def _send(self, message: SessionInput) -> None:
        cost = input_cost(message)
        while self._spent + cost > self._credit and not self._over:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.error is not None:
            raise self.error
        if not self._over:
            self._spent += cost
            self._give(message)

    @property
    def _over(self) -> bool:
        return self._ended or self.error is not None

    # --- for the engine -------------------------------------------------------------------------------

    def hear(self, output: SessionOutput) -> None:
        if isinstance(output, Credit):
            self._credit = max(self._credit, output.total)
            self._make_room()
        else:
            self.push(output)

    def replay(self) -> None:
        raise AssertionError("a session is never replayed")

    def fail(self, error: GatewayError) -> None:
        super().fail(error)
        self._make_room()

    def end(self) -> None:
        super().end()
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
