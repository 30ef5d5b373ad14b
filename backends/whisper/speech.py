"""Where a recording is cut: probabilities of speech to stretches of speech, and those to windows.

Pure, and fed piece by piece, so that it serves recordings and live audio alike. Times are samples of 16 kHz.
Must not compute probabilities (voice_activity does) nor know what becomes of a window.
"""

from collections.abc import Iterable

from msgspec import Struct

from backends.protocol import VoiceActivity

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512
"""What one probability stands for: 32 ms."""
WINDOW_SAMPLES = 30 * SAMPLE_RATE
"""The most that the model hears at once."""
_LEAST_PADDING = SAMPLE_RATE * 4 // 10
"""Kept beside speech that fills a window: more is kept only where nothing else needs the room."""


class Span(Struct, frozen=True):
    """A stretch of the recording, samples: from `start` to before `end`."""

    start: int
    end: int


class SpeechSettings(Struct, frozen=True):
    threshold: float = 0.35
    """A frame at least so probable begins speech."""
    hysteresis: float = 0.15
    """Speech goes on down to so much below the threshold."""
    silence_ms: int = 160
    """Silence that ends a stretch of speech."""
    padding_ms: int = 1000
    """Kept in front of and behind speech, where a window has room for it: the model was trained on sound that
    was not trimmed, and mishears words at an edge."""
    edge_ms: int = 3000
    """Silence at a recording's ends that is left on, so that a clip is heard as it was recorded."""
    least_speech_ms: int = 90
    """Shorter stretches are clicks."""
    max_gap_ms: int = 5000
    """Stretches further apart than this are never in one window. Shorter gaps may hold speech that was too
    quiet to be found."""

    def asked(self, activity: VoiceActivity | None) -> "SpeechSettings":
        """These settings with what a request says."""
        if activity is None:
            return self
        return SpeechSettings(
            threshold=self.threshold if activity.threshold is None else activity.threshold,
            hysteresis=self.hysteresis,
            silence_ms=_or(activity.silence_duration_ms, self.silence_ms),
            padding_ms=_or(activity.prefix_padding_ms, self.padding_ms),
            edge_ms=self.edge_ms if activity.prefix_padding_ms is None else 0,
            least_speech_ms=self.least_speech_ms,
            max_gap_ms=max(self.max_gap_ms, _or(activity.silence_duration_ms, 0)),
        )


def _or(asked: int | None, default: int) -> int:
    return default if asked is None else asked


class SpeechFinder:
    """Stretches of speech in a run of frames, each given as soon as it has ended."""

    def __init__(self, settings: SpeechSettings, max_samples: int = WINDOW_SAMPLES) -> None:
        self._begin = settings.threshold
        self._go_on = max(settings.threshold - settings.hysteresis, 0.01)
        self._silence = max(1, _frames(settings.silence_ms))
        self._least = _frames(settings.least_speech_ms)
        self._most = max(2, (max_samples - 2 * _least_padding(settings)) // FRAME_SAMPLES)
        self._frame = 0
        self._start: int | None = None
        self._last_speech = 0
        """Frame after the last one that was speech."""
        self._heard: list[float] = []
        """Probabilities since `_start`."""

    @property
    def speaking(self) -> bool:
        return self._start is not None

    @property
    def speech_start(self) -> int | None:
        """Where the stretch began that is still going on."""
        return None if self._start is None else self._start * FRAME_SAMPLES

    def feed(self, probabilities: Iterable[float]) -> list[Span]:
        """Stretches that have ended by now."""
        spans: list[Span] = []
        for probability in probabilities:
            self._take(probability, spans)
            self._frame += 1
        return spans

    def finish(self) -> list[Span]:
        """The stretch that was still going on at the end."""
        if self._start is None:
            return []
        spans: list[Span] = []
        self._close(self._last_speech, spans)
        return spans

    def _take(self, probability: float, spans: list[Span]) -> None:
        if self._start is None:
            if probability < self._begin:
                return
            self._start, self._heard = self._frame, []
        self._heard.append(probability)
        if probability >= self._go_on:
            self._last_speech = self._frame + 1
        if self._frame + 1 - self._last_speech >= self._silence:
            self._close(self._last_speech, spans)
        elif len(self._heard) >= self._most:
            self._cut(spans)

    def _close(self, end: int, spans: list[Span]) -> None:
        assert self._start is not None
        if end - self._start >= self._least:
            spans.append(Span(self._start * FRAME_SAMPLES, end * FRAME_SAMPLES))
        self._start = None

    def _cut(self, spans: list[Span]) -> None:
        """Speech without a pause: cut where it is least probable, in the later half."""
        assert self._start is not None
        half = len(self._heard) // 2
        at = min(range(half, len(self._heard)), key=self._heard.__getitem__)
        spans.append(Span(self._start * FRAME_SAMPLES, (self._start + at) * FRAME_SAMPLES))
        self._start += at
        self._heard = self._heard[at:]


class WindowPacker:
    """Puts neighbouring stretches into windows of at most 30 s, the silence between them included."""

    def __init__(self, settings: SpeechSettings, max_samples: int = WINDOW_SAMPLES) -> None:
        self._padding = _samples(settings.padding_ms)
        self._edge = _samples(settings.edge_ms)
        self._least_padding = _least_padding(settings)
        self._max_gap = _samples(settings.max_gap_ms)
        self._max_samples = max_samples
        self._open: Span | None = None
        self._floor = 0
        """End of the last window: nothing is heard twice."""

    def feed(self, spans: Iterable[Span]) -> list[Span]:
        """Windows that nothing more can join."""
        done: list[Span] = []
        for span in spans:
            if self._open is None:
                self._open = span
            elif self._joins(self._open, span):
                self._open = Span(self._open.start, span.end)
            else:
                done.append(self._padded(self._open, (self._open.end + span.start) // 2))
                self._open = span
        return done

    def finish(self, length: int) -> list[Span]:
        """The last window of a recording of so many samples."""
        if self._open is None:
            return []
        window = self._padded(self._open, length)
        self._open = None
        if length - window.end <= self._edge and length - window.start <= self._max_samples:
            window = Span(window.start, length)
        return [window]

    def _joins(self, window: Span, span: Span) -> bool:
        close = span.start - window.end <= self._max_gap
        return close and span.end - window.start + 2 * self._least_padding <= self._max_samples

    def _padded(self, window: Span, limit: int) -> Span:
        """With its padding, within its most samples and what is not heard by the windows beside it."""
        padding = min(self._padding, (self._max_samples - (window.end - window.start)) // 2)
        start = max(self._floor, window.start - padding)
        if self._floor == 0 and start <= self._edge and window.end + padding <= self._max_samples:
            start = 0
        end = min(limit, window.end + padding)
        self._floor = end = min(end, start + self._max_samples)
        return Span(start, end)


def _least_padding(settings: SpeechSettings) -> int:
    return min(_samples(settings.padding_ms), _LEAST_PADDING)


def _frames(milliseconds: int) -> int:
    return _samples(milliseconds) // FRAME_SAMPLES


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000
