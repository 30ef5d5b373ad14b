"""POST /v1/audio/transcriptions and /v1/audio/translations."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from backends.protocol import TranscriptionResult
from compat.openai.transcription import (
    TranscribeTask,
    TranscriptionRequest,
    read_transcription,
    transcribe_parameters,
    transcript_form,
)
from compat.openai.transcription_answers import (
    MEDIA_TYPES,
    TRANSCRIPT_EVENT,
    TranscriptEvents,
    Transcription,
    VerboseTranscription,
    render_transcription,
)
from gateway.http.answer import Answer
from gateway.http.body import off_loop
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import single
from gateway.http.openapi.operation import documented
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_events
from gateway.http.uploads import read_form

FILE = {"file": "A recording in any common container: wav, mp3, m4a, ogg, opus, flac, webm, mp4."}
_ABOUT = (
    "Lists are parts of one name, `timestamp_granularities[]` and `include[]`. `text`, `srt` and `vtt` are "
    "answered as text. With `stream`, what has been heard goes out while the rest is still to be decoded."
)
_SEGMENT_BYTES = 1000
"""About what a segment of an answer weighs."""


def transcription_routes(services: Services) -> list[HTTPRouteHandler]:
    @post("/v1/audio/transcriptions", status_code=200, opt=_told("Write down what is spoken"))
    async def transcriptions(request: Request[Any, Any, Any]) -> ASGIApp:
        return await _transcribe(services, request, "transcribe")

    @post("/v1/audio/translations", status_code=200, opt=_told("Write down in English what is spoken"))
    async def translations(request: Request[Any, Any, Any]) -> ASGIApp:
        return await _transcribe(services, request, "translate")

    return [transcriptions, translations]


async def _transcribe(services: Services, request: Request[Any, Any, Any], task: TranscribeTask) -> ASGIApp:
    upload = await read_form(request, services.config, services.spool, FILE)
    with until_disconnect(request.receive):
        body = read_transcription(upload.texts)
        recording = upload.media("file")
        form = transcript_form(body, task)
        spec = services.model_for(body.model, task)
        parameters = transcribe_parameters(body, form, await services.description(spec, task))
        stream = services.submit(
            request.scope,
            new_answer("transcript", spec),
            task,
            parameters,
            [recording],
            stream=bool(body.stream),
        )
        if body.stream:
            return await open_events(stream, TranscriptEvents(form), services.config.timeouts)
        result = await single(stream, TranscriptionResult)
        size = _SEGMENT_BYTES * len(result.segments) + len(result.logprobs)
        return Answer(
            await off_loop(size, render_transcription, result, form), media=MEDIA_TYPES[form.format]
        )


def _told(summary: str) -> dict[str, Any]:
    return documented(
        summary=summary,
        tag="audio",
        description=_ABOUT,
        request=TranscriptionRequest,
        files=FILE,
        answer=(Transcription, VerboseTranscription),
        stream=TRANSCRIPT_EVENT,
    )
