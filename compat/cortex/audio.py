"""`/api/v1/audio/transcribe` and `/api/v1/audio/speak`, the older routes: speech in short form.

Transcribe: a form with `file`, and optionally `model` (default: the first that transcribes), `language` and
`prompt`. Answer: `{"id", "model", "text", "language", "duration_s", "segments"}`; a segment is
`{"start_s", "end_s", "text"}`.

Speak: `{"text"}`, and optionally `model` (default: the first that speaks), `voice`, `language`, `speed` and
`format` (default: wav). Answer: the audio. Errors are as under /v1.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from backends.protocol import (
    AudioFormat,
    Description,
    SpeakParameters,
    TranscribeParameters,
    TranscriptionResult,
)
from compat.decoding import convert, decode
from compat.forms import form_tree
from compat.openai.answers import Answer, encode
from compat.openai.raw import ABSENT
from compat.openai.speech import SpeechRequest, Speed, speak_parameters
from compat.openai.transcription import (
    TranscriptForm,
    TranscriptionRequest,
    transcribe_parameters,
)


class CortexTranscribeRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the recording is its part `file`."""

    model: str = ""
    language: str | None = None
    prompt: str | None = None


class CortexSegment(Struct, frozen=True):
    start_s: float
    end_s: float
    text: str


class CortexTranscript(Struct, frozen=True):
    id: str
    model: str
    text: str
    language: str
    """ISO 639-1 code."""
    duration_s: float
    segments: list[CortexSegment]


class CortexSpeakRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    text: str
    model: str = ""
    voice: str | None = None
    language: str | None = None
    speed: Speed | None = None
    format: AudioFormat = "wav"


_speak = msgspec.json.Decoder(CortexSpeakRequest)


def read_cortex_transcribe(texts: Sequence[tuple[str, str]]) -> CortexTranscribeRequest:
    """The request in a form's text parts. Raises InvalidRequest."""
    return convert(form_tree(texts), CortexTranscribeRequest)


def cortex_transcribe_parameters(
    request: CortexTranscribeRequest, model: str, description: Description
) -> TranscribeParameters:
    """Raises InvalidRequest for a parameter that the model does not honour."""
    asked = TranscriptionRequest(model=model, language=request.language, prompt=request.prompt)
    return transcribe_parameters(asked, TranscriptForm("transcribe"), description)


def render_cortex_transcript(answer: Answer, result: TranscriptionResult) -> bytes:
    segments = [
        CortexSegment(round(one.start_s, 3), round(one.end_s, 3), one.text.strip()) for one in result.segments
    ]
    text, duration_s = result.text.strip(), round(result.duration_s, 3)
    return encode(CortexTranscript(answer.id, answer.model, text, result.language, duration_s, segments))


def decode_cortex_speak(body: bytes) -> CortexSpeakRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _speak)


def cortex_speak_parameters(
    request: CortexSpeakRequest, model: str, description: Description
) -> SpeakParameters:
    """Raises InvalidRequest for a parameter that the model does not honour."""
    asked = SpeechRequest(
        model=model,
        input=request.text,
        voice=ABSENT if request.voice is None else msgspec.Raw(encode(request.voice)),
        response_format=request.format,
        speed=request.speed,
        language=request.language,
    )
    return speak_parameters(asked, description)
