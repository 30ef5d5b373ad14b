"""`/v1/images/generations`, `/edits` and `/variations`: what may be asked, and the job it becomes.

An edit is a form, or JSON with its pictures as data URLs; a variation is an edit without a prompt. `seed`,
`steps`, `guidance`, `negative_prompt`, `strength` and `progress` are our own, beside OpenAI's fields
(`extra_body` in the SDKs). Must not know HTTP, the engine or configuration.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from backends.protocol import Description, Media, PaintParameters, PictureFormat, Text
from compat.decoding import convert, decode
from compat.errors import InvalidRequest, invalid, missing, unsupported
from compat.forms import form_tree
from compat.openai.sampling import Count, check_answers, require
from compat.pictures import read_pictures

Pictures = Annotated[int, Meta(ge=1, le=10)]
MAX_PROMPT = 32_000
"""Characters, as OpenAI has it."""
MAX_IMAGES = 16
MAX_PREVIEWS = 3


class PictureSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all three routes share. null means absent."""

    model: str | None = None
    """Absent: the first that does it."""
    n: Pictures | None = None
    size: str | None = None
    """`WIDTHxHEIGHT`, one of those that the model's capabilities list, or `auto`."""
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] | None = None
    """How many steps, in the model's own terms. `auto` and `standard`: its default; `hd` is `high`."""
    response_format: Literal["url", "b64_json"] | None = None
    """`b64_json` where it is absent. `url`: an address of this server, good for an hour."""
    output_format: PictureFormat | None = None
    """`png` where it is absent."""
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Quality of jpeg and webp."""
    background: Literal["auto", "opaque", "transparent"] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Picture k of an answer has `seed` + k; the answer says which each had."""
    steps: Count | None = None
    """Denoising steps, instead of a `quality`."""
    guidance: Annotated[float, Meta(ge=0, le=100)] | None = None
    """How closely the prompt is followed: the scale of classifier-free guidance."""
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    """Another name of `guidance`."""
    negative_prompt: Annotated[str, Meta(max_length=MAX_PROMPT)] | None = None
    moderation: Literal["auto", "low"] | None = None
    """Accepted, without effect: nothing is moderated here."""
    user: str | None = None
    """Accepted, without effect."""
    safety_identifier: str | None = None
    """Accepted, without effect."""


class PromptSettings(PictureSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prompt: Annotated[str, Meta(max_length=MAX_PROMPT)]
    stream: bool | None = None
    partial_images: Annotated[int, Meta(ge=0, le=MAX_PREVIEWS)] | None = None
    """With `stream`: so many previews on the way, at most one less than there are steps."""
    progress: bool | None = None
    """With `stream`: an event for every step too."""
    # Known, and honoured by no model here.
    style: str | None = None
    complexity: str | None = None


class GenerationRequest(PromptSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class EditForm(PromptSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the pictures are its parts `image` or `image[]`, and `mask`."""

    strength: Annotated[float, Meta(gt=0, le=1)] | None = None
    """How much of the picture may change."""
    # Known, and honoured by no model here.
    input_fidelity: str | None = None


class ImageReference(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    image_url: str | None = None
    """A picture as a data URL or as base64, or its address: PNG, JPEG, WebP or GIF."""
    file_id: str | None = None
    """Refused: this server keeps no files."""


class EditRequest(EditForm, frozen=True, forbid_unknown_fields=True, kw_only=True):
    images: list[ImageReference]
    mask: ImageReference | None = None
    """Where it is transparent the first picture is painted anew; of the same size."""


class VariationForm(PictureSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the picture is its part `image`."""

    strength: Annotated[float, Meta(gt=0, le=1)] | None = None
    """How much of the picture may change."""


REFUSED: dict[str, str] = {
    "style": "'style' is not supported by this server: say it in the prompt.",
    "complexity": "",
    "input_fidelity": "'input_fidelity' is not supported by this server: give 'strength', 0 to 1, which is "
    "how much of the picture may change.",
}
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_QUALITIES: dict[str, Any] = {"low": "low", "medium": "medium", "high": "high", "hd": "high"}
_generation = msgspec.json.Decoder(GenerationRequest)
_edit = msgspec.json.Decoder(EditRequest)


def decode_generation(body: bytes) -> GenerationRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _generation)


def decode_edit(body: bytes) -> tuple[EditForm, list[Media], Media | None]:
    """The request, its pictures and its mask. Raises InvalidRequest. Takes time in the body's length."""
    request = decode(body, _edit)
    if not request.images:
        raise invalid("images", "it must not be empty.")
    named = [(f"images[{index}]", one) for index, one in enumerate(request.images)]
    if request.mask is not None:
        named.append(("mask", request.mask))
    pictures = read_pictures([_address(param, one) for param, one in named])
    mask = pictures.pop() if request.mask is not None else None
    return request, pictures, mask


def read_edit_form(texts: Sequence[tuple[str, str]]) -> EditForm:
    """The request in a form's text parts. Raises InvalidRequest."""
    return convert(form_tree(texts), EditForm)


def read_variation_form(texts: Sequence[tuple[str, str]]) -> VariationForm:
    """The request in a form's text parts. Raises InvalidRequest."""
    return convert(form_tree(texts), VariationForm)


def prompt_item(prompt: str) -> Text:
    """Raises InvalidRequest where there is nothing in it."""
    if not prompt.strip():
        raise invalid("prompt", "there is nothing to paint in it.")
    return Text(prompt)


def check_stream(request: PromptSettings) -> None:
    """Raises InvalidRequest for what does not go with a stream, or without one."""
    if request.stream:
        if (request.n or 1) > 1:
            raise invalid("n", "streaming is only supported with n=1.")
        if request.response_format == "url":
            raise invalid("response_format", "the pictures of a stream come as b64_json.")
        return
    for name in ("partial_images", "progress"):
        if getattr(request, name):
            raise invalid(name, "it is only allowed when 'stream' is true.")


def paint_parameters(
    request: PictureSettings,
    model: str,
    description: Description,
    images: Sequence[Media] = (),
    mask: Media | None = None,
) -> PaintParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour.

    `images`: what an edit or a variation begins with.
    """
    for name, message in REFUSED.items():
        if getattr(request, name, None) is not None:
            raise unsupported(name, message)
    guidance = _guidance(request)
    strength = getattr(request, "strength", None)
    previews = getattr(request, "partial_images", None) or 0
    given = {
        "steps": request.steps is not None,
        "guidance": guidance is not None,
        "negative_prompt": bool(request.negative_prompt),
        "seed": request.seed is not None,
        "strength": strength is not None,
        "mask": mask is not None,
        "partial_images": previews > 0,
    }
    for name, is_given in given.items():
        if is_given:
            require(name, model, description)
    _check_images(images, description)
    width, height = _size(request.size, model, description)
    return PaintParameters(
        n=check_answers("n", request.n, model, description),
        width=width,
        height=height,
        quality=_quality(request, model, description),
        steps=_steps(request.steps, model, description),
        guidance=guidance,
        negative_prompt=request.negative_prompt or "",
        seed=request.seed,
        images=list(images),
        mask=mask,
        strength=strength,
        format=request.output_format or "png",
        compression=_compression(request),
        background=_background(request, model, description),
        previews=previews,
    )


def _address(param: str, reference: ImageReference) -> tuple[str, str]:
    """Where the picture stands, and its text."""
    if reference.file_id is not None:
        raise unsupported(
            f"{param}.file_id",
            "This server keeps no files: send the picture itself as 'image_url', a data URL.",
        )
    if reference.image_url is None:
        raise missing(f"{param}.image_url")
    return f"{param}.image_url", reference.image_url


def _check_images(images: Sequence[Media], description: Description) -> None:
    most = min(description.limits.get("images", 1), MAX_IMAGES)
    if len(images) > most:
        param = images[most].param.partition("[")[0]
        raise invalid(param, f"at most {most} pictures a request, got {len(images)}.")


def _size(size: str | None, model: str, description: Description) -> tuple[int, int]:
    """Width and height; 0 where they are not given."""
    if size in (None, "", "auto"):
        return 0, 0
    assert size is not None
    match = _SIZE.fullmatch(size)
    if match is None:
        raise invalid("size", "give WIDTHxHEIGHT, pixels, or 'auto'.")
    if description.sizes and size not in description.sizes:
        known = ", ".join(description.sizes)
        raise invalid("size", f"the model '{model}' does not paint {size}; it paints {known}.")
    return int(match[1]), int(match[2])


def _quality(request: PictureSettings, model: str, description: Description) -> Any:
    quality = _QUALITIES.get(request.quality or "", "")
    if quality:
        require("quality", model, description)
        if request.steps is not None:
            raise invalid("quality", "'steps' is given too; give one of them.")
    return quality


def _steps(steps: int | None, model: str, description: Description) -> int | None:
    most = description.limits.get("steps")
    if steps is not None and most is not None and steps > most:
        raise invalid("steps", f"the model '{model}' takes at most {most} steps, got {steps}.")
    return steps


def _guidance(request: PictureSettings) -> float | None:
    if request.guidance is not None and request.guidance_scale is not None:
        raise invalid("guidance_scale", "'guidance' is given too, which is the same; give one of them.")
    return request.guidance_scale if request.guidance is None else request.guidance


def _compression(request: PictureSettings) -> int | None:
    """100 asks for nothing of a png, which loses nothing anyway."""
    compression = request.output_compression
    if (request.output_format or "png") != "png":
        return compression
    if compression not in (None, 100):
        raise InvalidRequest(
            "'output_compression' goes with 'output_format' jpeg and webp only.",
            "output_compression",
            "unsupported_parameter",
        )
    return None


def _background(request: PictureSettings, model: str, description: Description) -> Any:
    background = request.background
    if background == "transparent":
        require("background", model, description)
        if request.output_format == "jpeg":
            raise invalid("background", "jpeg has no transparency; ask for png or webp.")
    return "" if background in (None, "auto") else background
