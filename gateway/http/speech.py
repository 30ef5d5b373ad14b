"""POST /v1/audio/speech, GET /v1/audio/voices and /v1/audio/models."""

from typing import Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.openai.speech import (
    MEDIA_TYPES,
    SPEECH_EVENT,
    SpeechEvents,
    SpeechRequest,
    decode_speech,
    speak_parameters,
    speech_item,
)
from compat.openai.voices import AudioModelList, VoiceList, render_audio_models, render_voices
from gateway.engine.errors import GatewayError
from gateway.http.answer import Answer
from gateway.http.audio_stream import open_audio
from gateway.http.body import read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.openapi.operation import documented
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_events


def speech_routes(services: Services) -> list[HTTPRouteHandler]:
    @post(
        "/v1/audio/speech",
        status_code=200,
        opt=documented(
            summary="Speak a text",
            tag="audio",
            description="The audio flows while the rest is still to be spoken. A failure on the way cuts the "
            "connection; with `stream_format` sse it is told in-band.",
            request=SpeechRequest,
            example={
                "model": "tts-1",
                "input": "The tide is out.",
                "voice": "alloy",
                "response_format": "wav",
            },
            media="audio/mpeg",
            stream=SPEECH_EVENT,
        ),
    )
    async def speech(request: Request[Any, Any, Any]) -> ASGIApp:
        config = services.config
        body = await read_json(request, config, decode_speech)
        spec = services.model_for(body.model, "speak")
        with until_disconnect(request.receive):
            item = speech_item(body.input, "input", config.limits.speech_characters)
            parameters = speak_parameters(body, await services.description(spec, "speak"))
            answer = new_answer("speech", spec)
            stream = services.submit(request.scope, answer, "speak", parameters, [item], stream=True)
            if body.stream_format == "sse":
                return await open_events(stream, SpeechEvents(), config.timeouts)
            return await open_audio(stream, MEDIA_TYPES[parameters.format], config.timeouts)

    @get(
        "/v1/audio/voices",
        opt=documented(
            summary="Voices that can be asked for",
            tag="audio",
            query={"model": "Name or alias: the voices of this model only."},
            answer=VoiceList,
        ),
    )
    async def voices(request: Request[Any, Any, Any]) -> ASGIApp:
        asked = request.query_params.get("model")
        if asked:
            spec = services.model_for(asked, "speak")
            description = await services.description(spec, "speak")
            return Answer(render_voices({spec.name: description.voices}))
        return Answer(render_voices(await _all_voices(services)))

    @get(
        "/v1/audio/models",
        opt=documented(summary="Models that speak", tag="audio", answer=AudioModelList),
    )
    async def models() -> ASGIApp:
        return Answer(render_audio_models(_speaking(services)))

    return [speech, voices, models]


def _speaking(services: Services) -> list[str]:
    return [status.spec.name for status in services.engine.models() if "speak" in status.spec.tasks]


async def _all_voices(services: Services) -> dict[str, list[str]]:
    """Voices by model, without those of models that cannot be used: /v1/models says why not."""
    found: dict[str, list[str]] = {}
    for name in _speaking(services):
        try:
            found[name] = (await services.engine.description(name)).voices
        except GatewayError:
            continue
    return found
