"""POST /v1/vision/caption and /v1/vision/classify, and the older /api/v1/vision/caption."""

from collections.abc import Callable
from typing import Any, TypeVar

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from backends.protocol import CaptionResult, ClassifyResult, Media
from compat.cortex.vision import CortexCaptionForm, CortexCaptionRequest, read_cortex_caption
from compat.vision import (
    CaptionForm,
    CaptionRequest,
    Captions,
    Classifications,
    ClassifyForm,
    ClassifyRequest,
    caption_parameters,
    classify_parameters,
    read_caption,
    read_classify,
    read_vision_form,
    render_captions,
    render_classifications,
)
from gateway.http.answer import Answer
from gateway.http.body import off_loop, read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import results_of
from gateway.http.openapi.operation import documented
from gateway.http.remote_pictures import with_pictures
from gateway.http.services import Services, new_answer
from gateway.http.uploads import read_form

FILE = {"file": "A picture: PNG, JPEG, WebP or GIF, of which the first frame counts."}
_ABOUT = (
    "Pictures come as data URLs or base64 in `image` or `images`, or one as the `file` of a form; http and "
    "https addresses only where the server's configuration allows them. They are "
    "set upright, transparent parts are white, and what else a file tells of itself is dropped."
)
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"

F = TypeVar("F", CaptionForm, ClassifyForm)
ReadJson = Callable[[bytes], tuple[F, list[Media]]]


def vision_routes(services: Services) -> list[HTTPRouteHandler]:
    @post("/v1/vision/caption", status_code=200, opt=_told_caption(CaptionRequest, CaptionForm))
    async def caption(request: Request[Any, Any, Any]) -> ASGIApp:
        return await _caption(services, request, read_caption, CaptionForm)

    @post(
        "/api/v1/vision/caption", status_code=200, opt=_told_caption(CortexCaptionRequest, CortexCaptionForm)
    )
    async def cortex_caption(request: Request[Any, Any, Any]) -> ASGIApp:
        return await _caption(services, request, read_cortex_caption, CortexCaptionForm)

    @post(
        "/v1/vision/classify",
        status_code=200,
        opt=documented(
            summary="Weigh pictures against labels",
            tag="vision",
            description=_ABOUT,
            request=ClassifyRequest,
            form=ClassifyForm,
            files=FILE,
            example={"model": "clip", "image": _PIXEL, "labels": ["a red circle", "a blue square"]},
            answer=Classifications,
        ),
    )
    async def classify(request: Request[Any, Any, Any]) -> ASGIApp:
        body, pictures = await _read(services, request, read_classify, ClassifyForm)
        spec = services.model_for(body.model, "classify")
        with until_disconnect(request.receive):
            parameters = classify_parameters(body, pictures, await services.description(spec, "classify"))
            items = await with_pictures(services, pictures)
            stream = services.submit(request.scope, new_answer("vision", spec), "classify", parameters, items)
            results = await results_of(stream, ClassifyResult)
            size = sum(len(result.scores) for result in results)
            return Answer(await off_loop(size, render_classifications, spec.name, parameters.labels, results))

    return [caption, classify, cortex_caption]


async def _caption(
    services: Services, request: Request[Any, Any, Any], read: ReadJson[CaptionForm], form: type[CaptionForm]
) -> ASGIApp:
    body, pictures = await _read(services, request, read, form)
    spec = services.model_or_first(body.model, "caption")
    with until_disconnect(request.receive):
        parameters = caption_parameters(body, pictures, await services.description(spec, "caption"))
        items = await with_pictures(services, pictures)
        stream = services.submit(request.scope, new_answer("vision", spec), "caption", parameters, items)
        return Answer(render_captions(spec.name, await results_of(stream, CaptionResult)))


async def _read(
    services: Services, request: Request[Any, Any, Any], read: ReadJson[F], form: type[F]
) -> tuple[F, list[Media]]:
    """The request and its pictures, however it is sent."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "multipart/form-data":
        return await read_json(request, services.config, read)
    upload = await read_form(request, services.config, services.spool, FILE)
    asked = read_vision_form(upload.texts, form)
    return asked, [upload.media("file")]


def _told_caption(request: type[CaptionRequest], form: type[CaptionForm]) -> dict[str, Any]:
    return documented(
        summary="Say what pictures show",
        tag="vision",
        description=_ABOUT,
        request=request,
        form=form,
        files=FILE,
        example={"model": "blip", "image": _PIXEL},
        answer=Captions,
    )
