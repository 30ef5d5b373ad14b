"""Transcripts as the API writes them: five formats, and the events of a stream."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from backends.protocol import TokenLogprob, TranscriptDelta, TranscriptionResult, TranscriptSegment
from compat.openai.answers import encode, event
from compat.openai.languages import language_name
from compat.openai.logprobs import finite, token_text
from compat.openai.subtitles import srt, vtt
from compat.openai.transcription import TranscriptForm


class DurationUsage(Struct, frozen=True):
    type: Literal["duration"]
    seconds: float
    """Of the recording."""


class TranscriptLogprob(Struct, frozen=True):
    token: str
    logprob: float
    octets: list[int] = field(name="bytes")


class Word(Struct, frozen=True):
    """Times in seconds from the recording's beginning."""

    word: str
    start: float
    end: float


class Segment(Struct, frozen=True, kw_only=True):
    """Times in seconds from the recording's beginning; scores as in Whisper."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class Transcription(Struct, frozen=True, kw_only=True):
    """`json`."""

    text: str
    logprobs: list[TranscriptLogprob] | UnsetType = UNSET
    usage: DurationUsage


class VerboseTranscription(Struct, frozen=True, kw_only=True):
    """`verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[Segment] | UnsetType = UNSET
    words: list[Word] | UnsetType = UNSET
    logprobs: list[TranscriptLogprob] | UnsetType = UNSET
    usage: DurationUsage


class TranscriptTextDelta(Struct, frozen=True, kw_only=True):
    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[TranscriptLogprob] | UnsetType = UNSET


class TranscriptTextSegment(Struct, frozen=True, kw_only=True):
    """With `verbose_json`. `speaker` is empty: speakers are not told apart."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str = ""
    words: list[Word] | UnsetType = UNSET


class TranscriptTextDone(Struct, frozen=True, kw_only=True):
    """The last event; `language` and `duration` with `verbose_json`."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    language: str | UnsetType = UNSET
    duration: float | UnsetType = UNSET
    logprobs: list[TranscriptLogprob] | UnsetType = UNSET
    usage: DurationUsage


TRANSCRIPT_EVENT = (TranscriptTextDelta, TranscriptTextSegment, TranscriptTextDone)

MEDIA_TYPES = {
    "json": b"application/json",
    "verbose_json": b"application/json",
    "text": b"text/plain; charset=utf-8",
    "srt": b"text/plain; charset=utf-8",
    "vtt": b"text/vtt; charset=utf-8",
}


def render_transcription(result: TranscriptionResult, form: TranscriptForm) -> bytes:
    """The whole answer, of the media type that MEDIA_TYPES says."""
    match form.format:
        case "text":
            return f"{result.text.strip()}\n".encode()
        case "srt":
            return srt(result.segments).encode()
        case "vtt":
            return vtt(result.segments).encode()
        case "json":
            logprobs = _logprobs(result.logprobs) if form.logprobs else UNSET
            return encode(Transcription(text=result.text.strip(), logprobs=logprobs, usage=_usage(result)))
    return encode(_verbose(result, form))


def _verbose(result: TranscriptionResult, form: TranscriptForm) -> VerboseTranscription:
    words = [word for segment in result.segments for word in _words(segment)]
    return VerboseTranscription(
        task=form.task,
        language=_language(result, form),
        duration=_seconds(result.duration_s),
        text=result.text.strip(),
        segments=list(map(_segment, result.segments)) if form.segments else UNSET,
        words=words if form.words else UNSET,
        logprobs=_logprobs(result.logprobs) if form.logprobs else UNSET,
        usage=_usage(result),
    )


class TranscriptEvents:
    """Events of one streamed transcript; a segment goes out as soon as it is heard."""

    def __init__(self, form: TranscriptForm) -> None:
        self._form = form
        self._verbose = form.format == "verbose_json"
        self._sent = 0
        """Segments."""
        self._logprobs_sent = 0
        self._blank = True
        """No text has gone out: that of the first segment loses the space in front of it."""

    def opening(self) -> bytes:
        return b""

    def write(self, output: object) -> bytes:
        if isinstance(output, TranscriptDelta):
            return self._segments(output.segments, output.logprobs)
        result = getattr(output, "result", None)
        if isinstance(result, TranscriptionResult):
            late = self._segments(result.segments[self._sent :], result.logprobs[self._logprobs_sent :])
            return late + self._done(result)
        return b""

    def _segments(self, segments: Sequence[TranscriptSegment], logprobs: Sequence[TokenLogprob]) -> bytes:
        self._sent += len(segments)
        self._logprobs_sent += len(logprobs)
        text = "".join(segment.text for segment in segments)
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        events = b""
        if text or logprobs:
            told = _logprobs(logprobs) if self._form.logprobs else UNSET
            events = event(encode(TranscriptTextDelta(delta=text, logprobs=told)))
        if self._verbose and self._form.segments:
            events += b"".join(event(encode(self._told(segment))) for segment in segments)
        return events

    def _told(self, segment: TranscriptSegment) -> TranscriptTextSegment:
        return TranscriptTextSegment(
            id=f"seg_{segment.id}",
            start=_seconds(segment.start_s),
            end=_seconds(segment.end_s),
            text=segment.text,
            words=_words(segment) if self._form.words else UNSET,
        )

    def _done(self, result: TranscriptionResult) -> bytes:
        done = TranscriptTextDone(
            text=result.text.strip(),
            language=_language(result, self._form) if self._verbose else UNSET,
            duration=_seconds(result.duration_s) if self._verbose else UNSET,
            logprobs=_logprobs(result.logprobs) if self._form.logprobs else UNSET,
            usage=_usage(result),
        )
        return event(encode(done))


def _segment(segment: TranscriptSegment) -> Segment:
    return Segment(
        id=segment.id,
        seek=segment.seek,
        start=_seconds(segment.start_s),
        end=_seconds(segment.end_s),
        text=segment.text,
        tokens=segment.tokens,
        temperature=segment.temperature,
        avg_logprob=finite(segment.avg_logprob),
        compression_ratio=finite(segment.compression_ratio),
        no_speech_prob=finite(segment.no_speech_prob),
    )


def _words(segment: TranscriptSegment) -> list[Word]:
    return [Word(word.word.strip(), _seconds(word.start_s), _seconds(word.end_s)) for word in segment.words]


def _logprobs(tokens: Sequence[TokenLogprob]) -> list[TranscriptLogprob]:
    return [
        TranscriptLogprob(token_text(token.token), finite(token.logprob), list(token.token))
        for token in tokens
    ]


def _language(result: TranscriptionResult, form: TranscriptForm) -> str:
    """Of a translation it is that of the text, as OpenAI has it."""
    return "english" if form.task == "translate" else language_name(result.language)


def _usage(result: TranscriptionResult) -> DurationUsage:
    return DurationUsage("duration", _seconds(result.duration_s))


def _seconds(seconds: float) -> float:
    return round(seconds, 3)
