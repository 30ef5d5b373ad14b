"""`/v1/audio/speech`: what may be asked, and the job it becomes; the events of a stream.

Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from backends.protocol import AudioDelta, AudioFormat, Description, SpeakParameters, SpeechResult, Text
from compat.decoding import decode, decode_part
from compat.errors import invalid, unsupported
from compat.openai.answers import encode, event
from compat.openai.raw import ABSENT, is_given
from compat.openai.sampling import require

Speed = Annotated[float, Meta(ge=0.25, le=4.0)]
StreamFormat = Literal["audio", "sse"]
MAX_SHOWN = 100
"""Most voices that an error message names."""


class SpeechRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: str
    voice: Raw = ABSENT
    """A name or `{"id": name}`; absent: the model's first."""
    response_format: AudioFormat | None = None
    """`mp3` where it is absent. `pcm` is little-endian int16 at 24 kHz, mono."""
    speed: Speed | None = None
    instructions: str | None = None
    stream_format: StreamFormat | None = None
    """`audio`, where it is absent: the bytes as they come. `sse`: events with the bytes as base64."""
    language: str | None = None
    """ISO 639-1 code, for voices that speak several."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class VoiceId(Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class SpeechUsage(Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechAudioDelta(Struct, frozen=True, kw_only=True):
    type: Literal["speech.audio.delta"] = "speech.audio.delta"
    audio: str
    """Base64."""


class SpeechAudioDone(Struct, frozen=True, kw_only=True):
    type: Literal["speech.audio.done"] = "speech.audio.done"
    usage: SpeechUsage


SPEECH_EVENT = (SpeechAudioDelta, SpeechAudioDone)

MEDIA_TYPES: dict[AudioFormat, bytes] = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/ogg",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}

_decoder = msgspec.json.Decoder(SpeechRequest)
_voice_id = msgspec.json.Decoder(VoiceId)
_text = msgspec.json.Decoder(str)


def decode_speech(body: bytes) -> SpeechRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def speech_item(text: str, param: str, max_characters: int) -> Text:
    """What is to be spoken. Raises InvalidRequest where that is nothing, or too much."""
    if not text.strip():
        raise invalid(param, "there is nothing to speak in it.")
    if len(text) > max_characters:
        raise invalid(param, f"at most {max_characters} characters, got {len(text)}.")
    return Text(text)


def speak_parameters(request: SpeechRequest, description: Description) -> SpeakParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    for name in ("instructions", "seed"):
        if getattr(request, name) not in (None, ""):
            require(name, request.model, description)
    if request.speed not in (None, 1.0):
        require("speed", request.model, description)
    return SpeakParameters(
        voice=check_voice(_voice(request.voice), request.model, description),
        speed=1.0 if request.speed is None else request.speed,
        format=request.response_format or "mp3",
        language=_language(request, description),
        instructions=request.instructions or "",
        seed=request.seed,
    )


def check_voice(name: str, model: str, description: Description) -> str:
    """The name, if the model has such a voice or calls one so; empty stays empty. Raises InvalidRequest."""
    if not name or name in description.voices or name in description.voice_aliases:
        return name
    if not description.voices:
        raise unsupported("voice", f"The model '{model}' has one voice, which has no name.")
    known = ", ".join(description.voices[:MAX_SHOWN])
    raise invalid("voice", f"the model '{model}' has no voice '{name[:64]}'; it has {known}.")


def _voice(raw: Raw) -> str:
    if not is_given(raw):
        return ""
    data = bytes(raw)
    if data[:1] == b"{":
        return decode_part(data, _voice_id, "voice").id
    return decode_part(data, _text, "voice")


def _language(request: SpeechRequest, description: Description) -> str:
    code = (request.language or "").strip().lower()
    if not code:
        return ""
    require("language", request.model, description)
    if description.languages and code not in description.languages:
        known = ", ".join(description.languages)
        raise invalid(
            "language", f"the model '{request.model}' does not speak '{code[:16]}'; it speaks {known}."
        )
    return code


class SpeechEvents:
    """Events of one spoken text."""

    def opening(self) -> bytes:
        return b""

    def write(self, output: object) -> bytes:
        if isinstance(output, AudioDelta):
            audio = base64.b64encode(output.data).decode("ascii")
            return event(encode(SpeechAudioDelta(audio=audio)))
        result = getattr(output, "result", None)
        if isinstance(result, SpeechResult):
            total = result.input_tokens + result.output_tokens
            usage = SpeechUsage(result.input_tokens, result.output_tokens, total)
            return event(encode(SpeechAudioDone(usage=usage)))
        return b""
