"""One recording on its way to a transcript: what has been scanned, which windows there are, what was heard.

Owns the order and the times of the segments: whatever is heard first, they leave from the beginning on. Must
not call any model.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field
from msgspec.structs import replace

from backends.protocol import (
    Job,
    TokenLogprob,
    TranscribeParameters,
    TranscriptionResult,
    TranscriptSegment,
    TranscriptWord,
)
from backends.whisper.attempts import Attempt, Score
from backends.whisper.hearing import Features, Heard, Sound
from backends.whisper.segments import Piece
from backends.whisper.speech import SAMPLE_RATE, Span
from backends.whisper.words import Word

Samples = npt.NDArray[np.int16]
_FRAMES_PER_S = 100


class Trial(Struct):
    """One hearing of a window."""

    heard: Heard
    attempt: Attempt


class Window(Struct, eq=False):
    """A stretch of a recording that is heard as one."""

    transcript: "Transcript"
    span: Span
    attempts: list[Attempt]
    trials: list[Trial] = field(default_factory=list)
    features: Features | None = None
    sound: Sound | None = None
    """Encoded, for the length at which it was heard last."""
    segments: list[TranscriptSegment] | None = None
    """None: not heard yet."""
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def attempt(self) -> Attempt:
        return self.attempts[len(self.trials)]

    @property
    def scores(self) -> list[Score]:
        return [trial.heard.score for trial in self.trials]

    @property
    def start_s(self) -> float:
        return self.span.start / SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        return (self.span.end - self.span.start) / SAMPLE_RATE


class Transcript:
    """Of one item of a job."""

    def __init__(self, job: Job, index: int, samples: Samples, prompt: list[int], arrival: int) -> None:
        assert isinstance(job.parameters, TranscribeParameters)
        self.job = job
        self.index = index
        self.samples = samples
        self.prompt = prompt
        self.arrival = arrival
        self.parameters = job.parameters
        self.language = job.parameters.language
        self.language_probability = 1.0
        self.scanned_samples = 0
        self.speech: list[Span] = []
        """Stretches found so far, in order of time."""
        self.windows: list[Window] = []
        """In order of time."""
        self._left = 0
        """Windows whose segments have left."""
        self._segments: list[TranscriptSegment] = []
        self._logprobs: list[TokenLogprob] = []

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def scanned(self) -> bool:
        return self.scanned_samples >= len(self.samples)

    @property
    def done(self) -> bool:
        return self.scanned and self._left == len(self.windows)

    def sound(self, span: Span) -> npt.NDArray[np.float32]:
        """The samples of a window as numbers from -1 to 1."""
        return self.samples[span.start : span.end].astype(np.float32) / 32768.0

    def speech_in(self, span: Span) -> int:
        """Samples of speech in a stretch of what has been scanned."""
        common = (min(span.end, one.end) - max(span.start, one.start) for one in self.speech)
        return sum(length for length in common if length > 0)

    def open_windows(self) -> list[Window]:
        """Those that can be heard now. While the language is not known, only the first, which tells it."""
        waiting = [window for window in self.windows[self._left :] if window.segments is None]
        return waiting if self.language else waiting[:1]

    def add(self, window: Window) -> None:
        self.windows.append(window)

    def insert_after(self, window: Window, follower: Window) -> None:
        """A window for what `window` did not get to."""
        self.windows.insert(self.windows.index(window) + 1, follower)

    def leaving(self) -> tuple[list[TranscriptSegment], list[TokenLogprob]]:
        """Segments, in order of time, before which nothing can come any more, numbered."""
        segments: list[TranscriptSegment] = []
        logprobs: list[TokenLogprob] = []
        while self._left < len(self.windows):
            window = self.windows[self._left]
            if window.segments is None:
                break
            for segment in window.segments:
                segments.append(replace(segment, id=len(self._segments) + len(segments)))
            logprobs += window.logprobs
            self._left += 1
        self._segments += segments
        self._logprobs += logprobs
        return segments, logprobs

    def result(self) -> TranscriptionResult:
        text = "".join(segment.text for segment in self._segments).strip()
        return TranscriptionResult(
            text=text,
            language=self.language or "en",
            duration_s=self.duration_s,
            segments=self._segments,
            language_probability=self.language_probability if self.language else 0.0,
            logprobs=self._logprobs,
        )


def segment(
    window: Window, piece: Piece, text: str, trial: "Trial", words: Sequence[Word]
) -> TranscriptSegment:
    """One segment with its times in the recording; words, where there are any, say them more exactly."""
    offset_s, score = window.start_s, trial.heard.score
    end_s = window.transcript.duration_s
    timed = [
        TranscriptWord(
            word.text,
            round(offset_s + word.start_s, 2),
            min(round(offset_s + word.end_s, 2), end_s),
            word.probability,
        )
        for word in words
    ]
    return TranscriptSegment(
        id=0,
        start_s=timed[0].start_s if timed else round(offset_s + piece.start_s, 2),
        end_s=timed[-1].end_s if timed else min(round(offset_s + piece.end_s, 2), end_s),
        text=text,
        seek=round(offset_s * _FRAMES_PER_S),
        tokens=piece.tokens,
        temperature=trial.attempt.temperature,
        avg_logprob=score.average_logprob,
        compression_ratio=score.compression_ratio,
        no_speech_prob=score.no_speech,
        words=timed,
    )
