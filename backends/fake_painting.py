"""What the fake model paints: real pictures of one colour, which depends on the prompt and the seed.

The prompt's directives script a painting as they do a text, `@tokens:N` its denoising steps. A picture's rim
is black; with a transparent background it is transparent instead. An edit keeps the size of its first picture
unless another is asked for, and what the mask keeps; `strength` is how much of the new colour there is in
what it does not. Previews are grey at first.
"""

import io
import secrets
from hashlib import sha256

from PIL import Image

from backends.base import JobError
from backends.fake_answers import Canvas, FakeItem, directives
from backends.fake_pictures import SIZES
from backends.media.image import ImageLimits, check_mask, read_image, read_mask
from backends.protocol import (
    MAX_PICTURE_DELTA_BYTES,
    Item,
    Job,
    Output,
    PaintParameters,
    PaintProgress,
    PaintResult,
    PictureDelta,
    Text,
)

_STEPS = {"low": 2, "medium": 4, "high": 8}
_LARGEST_SEED = 2**31 - 1


def sketch(item: Item, asked: PaintParameters, tokens: int) -> FakeItem:
    """The prompt, and what is to be edited. `tokens`: steps that the model is set to. Raises JobError."""
    if not isinstance(item, Text):
        raise JobError("only a text can be painted", param="prompt")
    steps = _steps(asked, item.text, tokens)
    if asked.previews >= steps:
        raise JobError(f"{steps} steps have at most {steps - 1} previews.", param="partial_images")
    canvas = _canvas(asked) if asked.images else None
    return FakeItem(item.text, len(item.text.split()), canvas=canvas)


def _steps(asked: PaintParameters, text: str, tokens: int) -> int:
    wanted = asked.steps or directives(text).get("tokens") or _STEPS.get(asked.quality, tokens)
    return max(1, round(wanted * (asked.strength or 1)))


def _canvas(asked: PaintParameters) -> Canvas:
    pictures = [read_image(one.blob, ImageLimits(param=one.param or "image")) for one in asked.images]
    first = pictures[0]
    if asked.mask is None:
        return Canvas(_png(first), b"")
    mask = read_mask(asked.mask.blob, ImageLimits(param=asked.mask.param or "mask"))
    check_mask(mask, first, asked.mask.param or "mask")
    return Canvas(_png(first), _png(mask.point(lambda value: 255 - value)))


class FakePainting:
    """A picture on its way, a denoising step a step."""

    def __init__(self, job: Job, index: int, item: FakeItem, *, tokens: int, step_ms: float) -> None:
        assert isinstance(job.parameters, PaintParameters)
        asked = job.parameters
        self.job = job
        self.index = index
        self.script = directives(item.text)
        self.limit = _steps(asked, item.text, tokens)
        self.step_s = self.script.get("slow", step_ms) / 1000
        self.done = 0
        self._asked = asked
        self._item = item
        self._seed = self._chosen_seed(asked)
        self._previews = [self.limit * k // (asked.previews + 1) for k in range(1, asked.previews + 1)]
        self._canvas = self._opened(item.canvas)

    def advance(self) -> list[Output]:
        self.done += 1
        outputs: list[Output] = []
        if self.job.stream:
            outputs.append(PaintProgress(self.job.id, self.index, self.done, self.limit))
            outputs += [out for k, at in enumerate(self._previews) if at == self.done for out in self._out(k)]
        return outputs + (self._out(-1) if self.done == self.limit else [])

    def result(self) -> PaintResult:
        return PaintResult(*self._size(), self.limit, self._seed, self._item.tokens)

    def _chosen_seed(self, asked: PaintParameters) -> int:
        first = secrets.randbelow(_LARGEST_SEED) if asked.seed is None else asked.seed
        return first + self.index % asked.n

    def _opened(self, canvas: Canvas | None) -> Image.Image | None:
        return None if canvas is None else Image.open(io.BytesIO(canvas.picture)).convert("RGB")

    def _size(self) -> tuple[int, int]:
        if self._asked.width:
            return self._asked.width, self._asked.height
        if self._canvas is not None:
            return self._canvas.size
        width, _, height = SIZES[0].partition("x")
        return int(width), int(height)

    def _out(self, preview: int) -> list[Output]:
        data = self._encoded(self._picture(self.done / self.limit))
        step = MAX_PICTURE_DELTA_BYTES
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        last = len(pieces) - 1
        return [
            PictureDelta(self.job.id, self.index, piece, number == last, preview)
            for number, piece in enumerate(pieces)
        ]

    def _picture(self, share: float) -> Image.Image:
        size = self._size()
        digest = sha256(f"{self._seed} {self._asked.negative_prompt} {self._item.text}".encode()).digest()
        colour = tuple(round(128 + (value - 128) * share) for value in digest[:3])
        if self._canvas is not None:
            return self._edited(self._canvas, colour).resize(size)
        transparent = self._asked.background == "transparent"
        picture = Image.new("RGBA" if transparent else "RGB", size)
        picture.paste(colour, (4, 4, size[0] - 4, size[1] - 4))
        return picture

    def _edited(self, canvas: Image.Image, colour: tuple[int, ...]) -> Image.Image:
        assert self._item.canvas is not None
        painted = Image.new("RGB", canvas.size, colour)
        blended = Image.blend(canvas, painted, self._asked.strength or 1)
        if not self._item.canvas.keep:
            return blended
        return Image.composite(canvas, blended, Image.open(io.BytesIO(self._item.canvas.keep)))

    def _encoded(self, picture: Image.Image) -> bytes:
        if self._asked.compression is None or self._asked.format == "png":
            return _encode(picture, self._asked.format)
        return _encode(picture, self._asked.format, quality=self._asked.compression)


def _png(picture: Image.Image) -> bytes:
    return _encode(picture, "png")


def _encode(picture: Image.Image, form: str, **settings: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **settings)
    return file.getvalue()
