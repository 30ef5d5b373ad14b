"""Pictures as the API writes them: the whole answer, and the events of a stream."""

import base64
from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from backends.protocol import (
    ItemDone,
    PaintParameters,
    PaintProgress,
    PaintResult,
    PictureDelta,
    PictureFormat,
)
from compat.openai.answers import Answer, encode

Quality = Literal["low", "medium", "high"]
Background = Literal["opaque", "transparent"]

MEDIA_TYPES: dict[PictureFormat, bytes] = {"png": b"image/png", "jpeg": b"image/jpeg", "webp": b"image/webp"}


class Painted(Struct, frozen=True):
    """One finished picture."""

    data: bytes
    result: PaintResult


class ImageInputTokens(Struct, frozen=True):
    text_tokens: int
    image_tokens: int = 0


class ImageOutputTokens(Struct, frozen=True):
    text_tokens: int = 0
    image_tokens: int = 0


class ImageUsage(Struct, frozen=True):
    """Tokens of the prompt. Pictures are not made of tokens here: those that come out are 0."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: ImageInputTokens
    output_tokens_details: ImageOutputTokens = ImageOutputTokens()


class ImageData(Struct, frozen=True, kw_only=True):
    b64_json: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    seed: int
    """That paints the same picture again."""


class ImagesAnswer(Struct, frozen=True, kw_only=True):
    created: int
    model: str
    data: list[ImageData]
    background: Background
    output_format: PictureFormat
    quality: Quality | UnsetType = UNSET
    """If one was asked for."""
    size: str
    usage: ImageUsage


PartialType = Literal["image_generation.partial_image", "image_edit.partial_image"]
ProgressType = Literal["image_generation.progress", "image_edit.progress"]
CompletedType = Literal["image_generation.completed", "image_edit.completed"]


class PartialImage(Struct, frozen=True, kw_only=True):
    """A picture that is not finished."""

    type: PartialType
    b64_json: str
    background: Background | Literal["auto"]
    created_at: int
    output_format: PictureFormat
    quality: Quality | Literal["auto"]
    size: str
    """As it was asked for: `auto` where it was not."""
    partial_image_index: int


class ImageCompleted(Struct, frozen=True, kw_only=True):
    """The last event."""

    type: CompletedType
    b64_json: str
    background: Background
    created_at: int
    output_format: PictureFormat
    quality: Quality | Literal["auto"]
    size: str
    seed: int
    """That paints the same picture again."""
    usage: ImageUsage


class ImageProgress(Struct, frozen=True, kw_only=True):
    """With `progress`: a denoising step is done."""

    type: ProgressType
    step: int
    """From 1 to `steps`."""
    steps: int


IMAGE_EVENT = (PartialImage, ImageProgress, ImageCompleted)


class EventTypes(Struct, frozen=True):
    partial: PartialType
    progress: ProgressType
    completed: CompletedType


GENERATION_EVENTS = EventTypes(
    "image_generation.partial_image", "image_generation.progress", "image_generation.completed"
)
EDIT_EVENTS = EventTypes("image_edit.partial_image", "image_edit.progress", "image_edit.completed")


def render_images(
    answer: Answer, asked: PaintParameters, pictures: Sequence[Painted], urls: Sequence[str] | None
) -> bytes:
    """`urls`: where the pictures are to be had; None: they stand in the answer. Takes time in their size."""
    first = pictures[0].result
    return encode(
        ImagesAnswer(
            created=answer.created,
            model=answer.model,
            data=[
                _data(picture, None if urls is None else urls[index])
                for index, picture in enumerate(pictures)
            ],
            background=_background(asked),
            output_format=asked.format,
            quality=asked.quality or UNSET,
            size=_size(first),
            usage=_usage(first),
        )
    )


class ImageEvents:
    """Events of one streamed picture; `progress`: of its steps too."""

    def __init__(self, types: EventTypes, created: int, asked: PaintParameters, progress: bool) -> None:
        self._types = types
        self._created = created
        self._asked = asked
        self._progress = progress
        self._data = bytearray()
        """Of the picture that is on its way."""

    def opening(self) -> bytes:
        return b""

    def write(self, output: object) -> bytes:
        if isinstance(output, PaintProgress) and self._progress:
            told = ImageProgress(type=self._types.progress, step=output.step, steps=output.steps)
            return _event(told.type, told)
        if isinstance(output, PictureDelta):
            self._data += output.data
            if output.complete and output.preview >= 0:
                return self._partial(output.preview)
        elif isinstance(output, ItemDone) and isinstance(output.result, PaintResult):
            return self._completed(output.result)
        return b""

    def _partial(self, index: int) -> bytes:
        asked = self._asked
        told = PartialImage(
            type=self._types.partial,
            b64_json=self._taken(),
            background=asked.background or "auto",
            created_at=self._created,
            output_format=asked.format,
            quality=asked.quality or "auto",
            size=f"{asked.width}x{asked.height}" if asked.width else "auto",
            partial_image_index=index,
        )
        return _event(told.type, told)

    def _completed(self, result: PaintResult) -> bytes:
        asked = self._asked
        told = ImageCompleted(
            type=self._types.completed,
            b64_json=self._taken(),
            background=_background(asked),
            created_at=self._created,
            output_format=asked.format,
            quality=asked.quality or "auto",
            size=_size(result),
            seed=result.seed,
            usage=_usage(result),
        )
        return _event(told.type, told)

    def _taken(self) -> str:
        """The picture that is whole now, as base64."""
        text = _base64(self._data)
        self._data.clear()
        return text


def _event(name: str, told: Struct) -> bytes:
    """Named, as OpenAI names the events of pictures."""
    return b"event: " + name.encode("ascii") + b"\ndata: " + encode(told) + b"\n\n"


def _data(picture: Painted, url: str | None) -> ImageData:
    if url is not None:
        return ImageData(url=url, seed=picture.result.seed)
    return ImageData(b64_json=_base64(picture.data), seed=picture.result.seed)


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _background(asked: PaintParameters) -> Background:
    """Pictures are opaque unless the model was asked for others."""
    return "transparent" if asked.background == "transparent" else "opaque"


def _size(result: PaintResult) -> str:
    return f"{result.width}x{result.height}"


def _usage(result: PaintResult) -> ImageUsage:
    """The prompt was read once, however many pictures came of it."""
    return ImageUsage(result.prompt_tokens, 0, result.prompt_tokens, ImageInputTokens(result.prompt_tokens))
