"""What a job's submitter reads from: its outputs as they come, or its error.

Owns the outputs that have come and are not read yet. Leaving it before the end aborts the job.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

from backends.protocol import (
    AudioDelta,
    Delta,
    Finished,
    ItemDone,
    Job,
    PaintProgress,
    PictureDelta,
    Result,
    SessionOutput,
    TranscriptDelta,
)
from gateway.engine.errors import GatewayError

StreamOutput = (
    Delta | TranscriptDelta | AudioDelta | PaintProgress | PictureDelta | ItemDone | Finished | SessionOutput
)


class JobStream:
    """One reader. `abort_job` is called with a reason when the reader leaves early.

    `place` tells where the job stands in its queue, and how many wait; None once it waits no more.
    """

    def __init__(
        self,
        job: Job,
        abort_job: Callable[[str, str], None],
        place: Callable[[str], tuple[int, int] | None] = lambda _: None,
    ) -> None:
        self.job = job
        self.error: GatewayError | None = None
        self._abort_job = abort_job
        self._place = place
        self._outputs: list[StreamOutput] = []
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    async def next(self) -> list[StreamOutput]:
        """The outputs that have come since the last call; waits for one. Raises the job's GatewayError.

        After Finished it must not be called again.
        """
        while not self._outputs:
            await self._wait()
        outputs, self._outputs = self._outputs, []
        return outputs

    async def results(self) -> tuple[list[Result], Finished]:
        """For a job with stream=False: the results in the order of its items. Raises its GatewayError."""
        *done, finished = await self.outputs()
        assert isinstance(finished, Finished)
        results = {output.item: output.result for output in done if isinstance(output, ItemDone)}
        return [results[item] for item in range(self.job.result_count)], finished

    async def outputs(self) -> list[StreamOutput]:
        """For a job with stream=False: all that came of it, Finished last. Raises its GatewayError."""
        while not (self._outputs and isinstance(self._outputs[-1], Finished)):
            await self._wait()
        return self._outputs

    def abort(self, reason: str = "client disconnected") -> None:
        """Nobody reads any more: end the job, in whatever phase it is."""
        if not self._ended:
            self._abort_job(self.job.id, reason)

    def queue_place(self) -> tuple[int, int] | None:
        """About where the job stands, the first at 1, and how many wait; None: it does not wait any more."""
        return None if self._ended else self._place(self.job.id)

    async def __aenter__(self) -> "JobStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    # --- for the engine -------------------------------------------------------------------------------

    def push(self, output: StreamOutput) -> None:
        self._outputs.append(output)
        self._wake()

    def replay(self) -> None:
        """The job starts again: results that nobody has seen are void."""
        self._outputs.clear()

    def fail(self, error: GatewayError) -> None:
        if not self._ended:
            self.error = error
            self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True

    async def _wait(self) -> None:
        """Until something has come since the last look. Raises the job's error."""
        if self.error is not None:
            raise self.error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
