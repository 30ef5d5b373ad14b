"""`/v1/vision/caption` and `/v1/vision/classify`: what may be asked, the job it becomes, and the answer.

A body is JSON with `image` or `images`, or a form with the one `file`. Must not know HTTP, the engine or
configuration.
"""

from array import array
from collections.abc import Sequence
from sys import byteorder
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from backends.protocol import (
    CaptionParameters,
    CaptionResult,
    ClassifyParameters,
    ClassifyResult,
    Description,
    Media,
)
from compat.decoding import convert, decode
from compat.errors import invalid, missing
from compat.forms import form_tree
from compat.openai.answers import encode
from compat.openai.sampling import Count, require
from compat.pictures import read_pictures

Label = Annotated[str, Meta(min_length=1, max_length=1000)]


class CaptionForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the picture is its part `file`."""

    model: str
    prompt: str | None = None
    """What the caption is to begin with; it comes back as part of the caption."""
    max_tokens: Count | None = None
    """Longest caption, tokens, the prompt not counted."""
    user: str | None = None
    """Accepted, without effect."""


class CaptionRequest(CaptionForm, frozen=True, forbid_unknown_fields=True, kw_only=True):
    image: str | None = None
    """A picture as a data URL or as base64, or its address: PNG, JPEG, WebP or GIF."""
    images: list[str] | None = None
    """Several, instead of `image`."""


class ClassifyForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form, `labels` once a label; the picture is its part `file`."""

    model: str
    labels: list[Label]
    """What a picture may show; it is weighed against each."""
    prompt: str | None = None
    """A text with `{}` where the label goes, such as "a photo of a {}"."""
    user: str | None = None
    """Accepted, without effect."""


class ClassifyRequest(ClassifyForm, frozen=True, forbid_unknown_fields=True, kw_only=True):
    image: str | None = None
    """A picture as a data URL or as base64, or its address: PNG, JPEG, WebP or GIF."""
    images: list[str] | None = None
    """Several, instead of `image`."""


class VisionUsage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Caption(Struct, frozen=True):
    index: int
    caption: str


class Captions(Struct, frozen=True):
    object: Literal["list"]
    model: str
    data: list[Caption]
    usage: VisionUsage


class LabelScore(Struct, frozen=True):
    label: str
    score: float
    """Probability among the labels of the request: together they are 1."""


class Classification(Struct, frozen=True):
    index: int
    labels: list[LabelScore]
    """The likeliest first."""


class Classifications(Struct, frozen=True):
    object: Literal["list"]
    model: str
    data: list[Classification]
    usage: VisionUsage


F = TypeVar("F", CaptionForm, ClassifyForm)

_caption = msgspec.json.Decoder(CaptionRequest)
_classify = msgspec.json.Decoder(ClassifyRequest)


def read_caption(body: bytes) -> tuple[CaptionForm, list[Media]]:
    """The request and its pictures. Raises InvalidRequest. Takes time in the body's length."""
    request = decode(body, _caption)
    return request, pictures_in(request.image, request.images)


def read_classify(body: bytes) -> tuple[ClassifyForm, list[Media]]:
    """The request and its pictures. Raises InvalidRequest. Takes time in the body's length."""
    request = decode(body, _classify)
    return request, pictures_in(request.image, request.images)


def read_vision_form(texts: Sequence[tuple[str, str]], kind: type[F]) -> F:
    """The request in a form's text parts. Raises InvalidRequest."""
    return convert(form_tree(texts, ("labels",)), kind)


def pictures_in(image: str | None, images: list[str] | None) -> list[Media]:
    """Raises InvalidRequest unless exactly one of the two is given and sound."""
    if image is not None and images is not None:
        raise invalid("images", "'image' is given too; give one of them.")
    if images is not None:
        if not images:
            raise invalid("images", "it must not be empty.")
        return read_pictures((f"images[{index}]", text) for index, text in enumerate(images))
    if image is None:
        raise missing("image")
    return read_pictures([("image", image)])


def caption_parameters(
    request: CaptionForm, pictures: Sequence[Media], description: Description
) -> CaptionParameters:
    """Raises InvalidRequest for what the model does not honour, and for more than it takes."""
    check_pictures(pictures, description)
    if request.prompt:
        require("prompt", request.model, description)
    if request.max_tokens is not None:
        require("max_tokens", request.model, description)
    return CaptionParameters(request.prompt or "", request.max_tokens)


def classify_parameters(
    request: ClassifyForm, pictures: Sequence[Media], description: Description
) -> ClassifyParameters:
    """Raises InvalidRequest for what the model does not honour, and for more than it takes."""
    check_pictures(pictures, description)
    labels = request.labels
    most = description.limits.get("labels", len(labels))
    if not 1 <= len(labels) <= most:
        raise invalid("labels", f"give 1 to {most} labels, got {len(labels)}.")
    if len(set(labels)) < len(labels):
        raise invalid("labels", "a label stands twice.")
    if request.prompt:
        require("prompt", request.model, description)
        if request.prompt.count("{}") != 1:
            raise invalid("prompt", "it must hold '{}' once, where the label goes.")
    return ClassifyParameters(labels, request.prompt or "")


def check_pictures(pictures: Sequence[Media], description: Description, param: str = "images") -> None:
    """Raises InvalidRequest for more pictures than the model takes in one request."""
    most = description.limits.get("images", len(pictures))
    if len(pictures) > most:
        raise invalid(param, f"at most {most} pictures a request, got {len(pictures)}.")


def render_captions(model: str, results: Sequence[CaptionResult]) -> bytes:
    data = [Caption(index, result.text) for index, result in enumerate(results)]
    prompt = sum(result.prompt_tokens for result in results)
    return encode(
        Captions("list", model, data, _usage(prompt, sum(one.completion_tokens for one in results)))
    )


def render_classifications(model: str, labels: list[str], results: Sequence[ClassifyResult]) -> bytes:
    data = [Classification(index, _ranked(labels, result)) for index, result in enumerate(results)]
    prompt = sum(result.prompt_tokens for result in results)
    return encode(Classifications("list", model, data, _usage(prompt, 0)))


def _ranked(labels: list[str], result: ClassifyResult) -> list[LabelScore]:
    scores = array("f", result.scores)
    if byteorder == "big":
        scores.byteswap()
    scored = [LabelScore(label, score) for label, score in zip(labels, scores, strict=True)]
    return sorted(scored, key=lambda one: -one.score)


def _usage(prompt: int, completion: int) -> VisionUsage:
    return VisionUsage(prompt, completion, prompt + completion)
