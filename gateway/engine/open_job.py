"""A job from its submission to its end: its stream, and the times that become its metrics."""

from backends.protocol import (
    AudioDelta,
    Delta,
    EmbeddingResult,
    Failed,
    Finished,
    GenerationResult,
    ItemDone,
    Output,
    PaintProgress,
    PaintResult,
    PictureDelta,
    Requeue,
    Result,
    SessionParameters,
    Started,
    TranscriptDelta,
)
from gateway.engine.priorities import class_of
from gateway.engine.session import SessionStream
from gateway.engine.stream import JobStream
from gateway.telemetry.metrics import JobTimes, Metrics


class OpenJob:
    """`deliver` hands its outputs on; everything else is for the engine to read."""

    __slots__ = (
        "_arrived_at",
        "_first_at",
        "_generation_tokens",
        "_last_at",
        "_metrics",
        "_pictures",
        "_prompt_tokens",
        "_started_at",
        "stream",
    )

    def __init__(self, stream: JobStream, metrics: Metrics, now: float) -> None:
        self.stream = stream
        self._metrics = metrics
        self._arrived_at = now
        self._started_at = 0.0
        self._first_at = 0.0
        self._last_at = 0.0
        self._prompt_tokens = 0
        self._generation_tokens = 0
        self._pictures = 0

    @property
    def is_session(self) -> bool:
        return isinstance(self.stream.job.parameters, SessionParameters)

    def deliver(self, output: Output, now: float) -> None:
        """Hand an output to the stream and note the time."""
        match output:
            case Delta():
                if self._last_at:
                    self._metrics.inter_token(self.stream.job.model, now - self._last_at)
                else:
                    self._first_at = now
                self._last_at = now
                self.stream.push(output)
            case TranscriptDelta() | AudioDelta() | PaintProgress() | PictureDelta():
                self._first_at = self._first_at or now
                self.stream.push(output)
            case ItemDone():
                self._first_at = self._first_at or now
                self._count(output)
                self.stream.push(output)
            case Finished():
                self.stream.push(output)
            case Started():
                self._started_at = now
            case Failed() | Requeue():
                pass  # the scheduler's affair
            case _:
                if isinstance(self.stream, SessionStream):
                    self.stream.hear(output)

    def times(self, now: float) -> JobTimes:
        """Once it has ended."""
        job, error, since = self.stream.job, self.stream.error, self._arrived_at
        return JobTimes(
            job.model,
            job.task,
            class_of(job.priority),
            "ok" if error is None else error.code or "invalid_request",
            self._started_at - since if self._started_at else None,
            self._first_at - since if self._first_at else None,
            now - since,
            self._prompt_tokens,
            self._generation_tokens,
            self._pictures,
        )

    def _count(self, done: ItemDone) -> None:
        if done.item % self.stream.job.answers == 0:  # computed once an item
            self._prompt_tokens += _prompt_tokens(done.result)
        if isinstance(done.result, GenerationResult):
            self._generation_tokens += done.result.completion_tokens
        if isinstance(done.result, PaintResult):
            self._pictures += 1


def _prompt_tokens(result: Result) -> int:
    """Tokens that an engine read for this result."""
    counted = GenerationResult | EmbeddingResult | PaintResult
    return result.prompt_tokens if isinstance(result, counted) else 0
