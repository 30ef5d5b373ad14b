"""POST /v1/images/generations, /v1/images/edits and /v1/images/variations."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Scope
from msgspec import Struct

from backends.protocol import Media, PaintParameters, Text
from compat.openai.image_answers import (
    EDIT_EVENTS,
    GENERATION_EVENTS,
    IMAGE_EVENT,
    EventTypes,
    ImageEvents,
    ImagesAnswer,
    render_images,
)
from compat.openai.images import (
    EditForm,
    EditRequest,
    GenerationRequest,
    PromptSettings,
    VariationForm,
    check_stream,
    decode_edit,
    decode_generation,
    paint_parameters,
    prompt_item,
    read_edit_form,
    read_variation_form,
)
from config.schema import ModelSpec, Task
from gateway.http.answer import Answer
from gateway.http.body import off_loop, read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import painted
from gateway.http.image_files import picture_address
from gateway.http.openapi.operation import documented
from gateway.http.remote_pictures import fetched
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_events
from gateway.http.uploads import read_form

_PICTURES = ("image", "image[]")
_FILES = {"image": "The picture: PNG, JPEG, WebP or GIF. Several are parts called `image[]`."}
_MASK = {"mask": "A picture of the same size: where it is transparent the first is painted anew."}
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
)
_ABOUT = (
    "Pictures come as base64, or with `response_format` url as addresses, which need no key: nobody can "
    "guess them, and they are good for an hour. With `stream`, previews of the unfinished picture and, if "
    "`progress` asks for them, its steps are told on the way."
)


class _Order(Struct, frozen=True):
    """What is to be painted, and by which model."""

    spec: ModelSpec
    task: Task
    prompt: Text
    asked: PaintParameters


def image_routes(services: Services) -> list[HTTPRouteHandler]:
    @post(
        "/v1/images/generations",
        status_code=200,
        opt=documented(
            summary="Paint what a text says",
            tag="images",
            description=_ABOUT,
            request=GenerationRequest,
            example={"prompt": "a red circle on a blue background", "n": 1, "seed": 7},
            answer=ImagesAnswer,
            stream=IMAGE_EVENT,
        ),
    )
    async def generations(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, services.config, decode_generation)
        spec = services.model_or_first(body.model or "", "paint")
        with until_disconnect(request.receive):
            check_stream(body)
            prompt = prompt_item(body.prompt)
            asked = paint_parameters(body, spec.name, await services.description(spec, "paint"))
            order = _Order(spec, "paint", prompt, asked)
            return await _paint(services, request.scope, order, body, GENERATION_EVENTS)

    @post(
        "/v1/images/edits",
        status_code=200,
        opt=documented(
            summary="Paint a picture anew, or a part of it",
            tag="images",
            description=_ABOUT,
            request=EditRequest,
            form=EditForm,
            files=_FILES,
            optional_files=_MASK,
            example={"prompt": "a red circle", "images": [{"image_url": PIXEL}]},
            answer=ImagesAnswer,
            stream=IMAGE_EVENT,
        ),
    )
    async def edits(request: Request[Any, Any, Any]) -> ASGIApp:
        body, images, mask = await _read_edit(services, request)
        spec = services.model_or_first(body.model or "", "edit")
        with until_disconnect(request.receive):
            check_stream(body)
            prompt = prompt_item(body.prompt)
            description = await services.description(spec, "edit")
            asked = await _with_pictures(
                services, paint_parameters(body, spec.name, description, images, mask)
            )
            order = _Order(spec, "edit", prompt, asked)
            return await _paint(services, request.scope, order, body, EDIT_EVENTS)

    @post(
        "/v1/images/variations",
        status_code=200,
        opt=documented(
            summary="Paint pictures like one",
            tag="images",
            request=VariationForm,
            files={"image": "The picture: PNG, JPEG, WebP or GIF."},
            answer=ImagesAnswer,
        ),
    )
    async def variations(request: Request[Any, Any, Any]) -> ASGIApp:
        upload = await read_form(request, services.config, services.spool, ("image",))
        with until_disconnect(request.receive):
            body = read_variation_form(upload.texts)
            image = upload.media("image")
            spec = services.model_or_first(body.model or "", "edit")
            description = await services.description(spec, "edit")
            asked = paint_parameters(body, spec.name, description, [image])
            order = _Order(spec, "edit", Text(""), asked)
            return await _whole(services, request.scope, order, body.response_format == "url")

    return [generations, edits, variations]


async def _read_edit(
    services: Services, request: Request[Any, Any, Any]
) -> tuple[EditForm, list[Media], Media | None]:
    """The request, its pictures and its mask, however it is sent."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "multipart/form-data":
        return await read_json(request, services.config, decode_edit)
    upload = await read_form(request, services.config, services.spool, (*_PICTURES, "mask"), _PICTURES)
    body = read_edit_form(upload.texts)
    images = upload.all_media(*_PICTURES)
    return body, images, upload.media("mask") if "mask" in upload.files else None


async def _with_pictures(services: Services, asked: PaintParameters) -> PaintParameters:
    """With the bytes of those that the request names by address; the mask is one of them."""
    masks = [] if asked.mask is None else [asked.mask]
    whole = await fetched(services, [*asked.images, *masks])
    images = whole[: len(asked.images)]
    return msgspec.structs.replace(asked, images=images, mask=whole[-1] if masks else None)


async def _paint(
    services: Services, scope: Scope, order: _Order, body: PromptSettings, types: EventTypes
) -> ASGIApp:
    """A stream if one was asked for, else the whole answer."""
    if not body.stream:
        return await _whole(services, scope, order, body.response_format == "url")
    answer = new_answer("image", order.spec)
    stream = services.submit(scope, answer, order.task, order.asked, [order.prompt], stream=True)
    events = ImageEvents(types, answer.created, order.asked, progress=bool(body.progress))
    return await open_events(stream, events, services.config.timeouts)


async def _whole(services: Services, scope: Scope, order: _Order, by_address: bool) -> ASGIApp:
    answer = new_answer("image", order.spec)
    pictures = await painted(services.submit(scope, answer, order.task, order.asked, [order.prompt]))
    data = [picture.data for picture in pictures]
    urls: list[str] | None = None
    if by_address:
        names = await services.pictures.keep(data, order.asked.format)
        urls = [picture_address(services, scope, name) for name in names]
    size = 0 if by_address else sum(map(len, data))
    return Answer(await off_loop(size, render_images, answer, order.asked, pictures, urls))
