"""`/v1/audio/transcriptions` and `/v1/audio/translations`: what may be asked, and the job it becomes.

The body is a form, so every value is a text here; lists are parts of the same name, with or without `[]`.
Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from backends.protocol import Description, TranscribeParameters, VoiceActivity
from compat.decoding import convert, decode_part
from compat.errors import invalid, unsupported
from compat.forms import form_tree
from compat.openai.sampling import require

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]
TranscribeTask = Literal["transcribe", "translate"]


class ServerVad(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: Literal["server_vad"]
    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None
    silence_duration_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None


class TranscriptionRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the recording is its part `file`."""

    model: str
    language: str | None = None
    """ISO 639-1 code of what is spoken; absent or empty: found out."""
    prompt: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    response_format: TranscriptFormat | Literal["diarized_json"] | None = None
    """`json` where it is absent. Nobody here tells speakers apart: `diarized_json` is refused."""
    timestamp_granularities: list[Granularity] = []
    """With `verbose_json`: of segments (where it is absent), of words, or of both."""
    stream: bool | None = None
    """With `json` and `verbose_json`, whose events tell of segments too."""
    include: list[Literal["logprobs"]] = []
    chunking_strategy: ServerVad | str | None = None
    """`auto`, or a `server_vad` object: as JSON text, or part by part as `chunking_strategy[type]` …"""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    # Known, and honoured by no model here.
    known_speaker_names: list[str] = []
    known_speaker_references: list[str] = []
    keywords: list[str] = []
    languages: list[str] = []


class TranscriptForm(Struct, frozen=True):
    """What decides the shape of the answer."""

    task: TranscribeTask
    format: TranscriptFormat = "json"
    segments: bool = True
    words: bool = False
    logprobs: bool = False


_LISTS = (
    "timestamp_granularities",
    "include",
    "known_speaker_names",
    "known_speaker_references",
    "keywords",
    "languages",
)
_REFUSED = ("known_speaker_names", "known_speaker_references", "keywords", "languages")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_vad = msgspec.json.Decoder(ServerVad)


def read_transcription(texts: Sequence[tuple[str, str]]) -> TranscriptionRequest:
    """The request in a form's text parts. Raises InvalidRequest."""
    return convert(form_tree(texts, _LISTS, objects=("chunking_strategy",)), TranscriptionRequest)


def transcript_form(request: TranscriptionRequest, task: TranscribeTask) -> TranscriptForm:
    """Raises InvalidRequest for what does not go together, and for a format that nobody here writes."""
    wanted = request.response_format or "json"
    if wanted == "diarized_json":
        raise unsupported(
            "response_format", "No model of this server tells speakers apart, as 'diarized_json' asks for."
        )
    granularities = request.timestamp_granularities
    if granularities and wanted != "verbose_json":
        raise unsupported(
            "timestamp_granularities",
            "'timestamp_granularities' goes with 'response_format' verbose_json only.",
        )
    if request.include and wanted not in ("json", "verbose_json"):
        raise unsupported("include", f"'include' does not go with 'response_format' {wanted}.")
    if request.stream and wanted not in ("json", "verbose_json"):
        raise unsupported("stream", f"'stream' does not go with 'response_format' {wanted}.")
    return TranscriptForm(
        task,
        wanted,
        segments=not granularities or "segment" in granularities,
        words="word" in granularities,
        logprobs="logprobs" in request.include,
    )


def transcribe_parameters(
    request: TranscriptionRequest, form: TranscriptForm, description: Description
) -> TranscribeParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    for name in _REFUSED:
        if getattr(request, name):
            raise unsupported(name)
    for name in ("prompt", "temperature", "seed"):
        if getattr(request, name) not in (None, ""):
            require(name, request.model, description)
    if form.words:
        require("word_timestamps", request.model, description, "timestamp_granularities")
    if form.logprobs:
        require("logprobs", request.model, description, "include")
    voice_activity = _voice_activity(request.chunking_strategy)
    if voice_activity is not None:
        require("voice_activity", request.model, description, "chunking_strategy")
    return TranscribeParameters(
        language=_language(request, description),
        prompt=request.prompt or "",
        temperature=request.temperature,
        word_timestamps=form.words,
        logprobs=form.logprobs,
        voice_activity=voice_activity,
        seed=request.seed,
    )


def _language(request: TranscriptionRequest, description: Description) -> str:
    code = (request.language or "").strip().lower()
    if not code:
        return ""
    if not _LANGUAGE.fullmatch(code):
        raise invalid("language", "give an ISO 639-1 code such as 'en'.")
    if description.languages and code not in description.languages:
        known = ", ".join(description.languages)
        raise invalid("language", f"the model '{request.model}' knows no '{code}'; it knows {known}.")
    return code


def _voice_activity(strategy: ServerVad | str | None) -> VoiceActivity | None:
    if strategy is None or strategy in ("", "auto"):
        return None
    if isinstance(strategy, str) and not strategy.lstrip().startswith("{"):
        raise invalid("chunking_strategy", "give 'auto' or a 'server_vad' object.")
    vad = decode_part(strategy.encode(), _vad, "chunking_strategy") if isinstance(strategy, str) else strategy
    return VoiceActivity(vad.threshold, vad.prefix_padding_ms, vad.silence_duration_ms)
