"""POST /api/v1/audio/transcribe and /api/v1/audio/speak, the older routes; see compat.cortex.audio."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from backends.protocol import TranscriptionResult
from compat.cortex.audio import (
    CortexSpeakRequest,
    CortexTranscribeRequest,
    CortexTranscript,
    cortex_speak_parameters,
    cortex_transcribe_parameters,
    decode_cortex_speak,
    read_cortex_transcribe,
    render_cortex_transcript,
)
from compat.openai.speech import MEDIA_TYPES, speech_item
from gateway.http.answer import Answer
from gateway.http.audio_stream import open_audio
from gateway.http.body import read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import single
from gateway.http.openapi.operation import documented
from gateway.http.services import Services, new_answer
from gateway.http.transcription import FILE
from gateway.http.uploads import read_form


def cortex_audio_routes(services: Services) -> list[HTTPRouteHandler]:
    @post(
        "/api/v1/audio/transcribe",
        status_code=200,
        opt=documented(
            summary="Write down what is spoken, in short form",
            tag="audio",
            description="Without a model, the first that transcribes.",
            request=CortexTranscribeRequest,
            files=FILE,
            answer=CortexTranscript,
        ),
    )
    async def cortex_transcribe(request: Request[Any, Any, Any]) -> ASGIApp:
        upload = await read_form(request, services.config, services.spool, FILE)
        with until_disconnect(request.receive):
            body = read_cortex_transcribe(upload.texts)
            recording = upload.media("file")
            spec = services.model_or_first(body.model, "transcribe")
            description = await services.description(spec, "transcribe")
            parameters = cortex_transcribe_parameters(body, spec.name, description)
            answer = new_answer("transcript", spec)
            stream = services.submit(request.scope, answer, "transcribe", parameters, [recording])
            return Answer(render_cortex_transcript(answer, await single(stream, TranscriptionResult)))

    @post(
        "/api/v1/audio/speak",
        status_code=200,
        opt=documented(
            summary="Speak a text, in short form",
            tag="audio",
            description="Without a model, the first that speaks.",
            request=CortexSpeakRequest,
            example={"text": "The tide is out."},
            media="audio/wav",
        ),
    )
    async def cortex_speak(request: Request[Any, Any, Any]) -> ASGIApp:
        config = services.config
        body = await read_json(request, config, decode_cortex_speak)
        spec = services.model_or_first(body.model, "speak")
        with until_disconnect(request.receive):
            item = speech_item(body.text, "text", config.limits.speech_characters)
            parameters = cortex_speak_parameters(body, spec.name, await services.description(spec, "speak"))
            answer = new_answer("speech", spec)
            stream = services.submit(request.scope, answer, "speak", parameters, [item], stream=True)
            return await open_audio(stream, MEDIA_TYPES[parameters.format], config.timeouts)

    return [cortex_transcribe, cortex_speak]
