"""A picture as the pixels that a model was trained on, by the folder's own settings.

Owns resizing and cropping, as transformers' own processors do them with Pillow; the engine scales the
numbers. `preprocessor_config.json` holds the settings, or `processor_config.json` under `image_processor`.
Must not import torch or transformers.
"""

from pathlib import Path

from msgspec import Struct
from PIL import Image

from backends.model_folder import read_json

CHANNELS = 3


class _Settings(Struct, kw_only=True):
    do_resize: bool = True
    size: dict[str, int | None] | int = {}
    do_center_crop: bool | None = None
    crop_size: dict[str, int | None] | int | None = None
    resample: int = Image.Resampling.BICUBIC
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: list[float]
    image_std: list[float]


class _Processor(Struct):
    image_processor: _Settings


class Preprocessing(Struct, frozen=True):
    width: int
    height: int
    """Of what the model gets."""
    shortest_edge: int
    """To which the shorter side is brought before the middle is cut out; 0: both sides are stretched."""
    resample: int
    scale: float
    """Factor on a pixel's 0 to 255, before `mean` and `std`."""
    mean: list[float]
    std: list[float]

    @property
    def pixel_bytes(self) -> int:
        return self.width * self.height * CHANNELS


def read_preprocessing(folder: Path, image_size: int) -> Preprocessing:
    """The folder's settings, for a model that takes `image_size` squared. Raises ValueError."""
    settings = _read(folder)
    if not settings.do_resize:
        raise ValueError(f"{folder}: a model that does not resize its pictures is not supported")
    edge = _edge(settings.size)
    crop = bool(edge) if settings.do_center_crop is None else settings.do_center_crop
    if bool(edge) != crop:
        raise ValueError(
            f"{folder}: pictures must be stretched, or resized by their shorter side and cropped"
        )
    height, width = _sides(settings.crop_size if edge else settings.size) or (image_size, image_size)
    if (height, width) != (image_size, image_size):
        raise ValueError(
            f"{folder}: pictures become {width}x{height}, but the model takes {image_size} squared"
        )
    if edge and edge < image_size:
        raise ValueError(f"{folder}: pictures are resized to less than is cut out of them")
    if len(settings.image_mean) != CHANNELS or len(settings.image_std) != CHANNELS or 0 in settings.image_std:
        raise ValueError(
            f"{folder}: image_mean and image_std must be three numbers each, for red, green and blue"
        )
    return Preprocessing(
        width,
        height,
        edge,
        settings.resample,
        settings.rescale_factor if settings.do_rescale else 1.0,
        settings.image_mean if settings.do_normalize else [0.0] * CHANNELS,
        settings.image_std if settings.do_normalize else [1.0] * CHANNELS,
    )


def fit(image: Image.Image, to: Preprocessing) -> bytes:
    """RGB rows of the resized (and cropped) picture, a byte a number."""
    resample = Image.Resampling(to.resample)
    if not to.shortest_edge:
        return image.resize((to.width, to.height), resample).tobytes()
    width, height = _resized(image.size, to.shortest_edge)
    left, top = (width - to.width) // 2, (height - to.height) // 2
    # Only what is cut out is computed: the long side of a narrow strip would become as long as one likes.
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + to.width) * x, (top + to.height) * y)
    return image.resize((to.width, to.height), resample, box=box).tobytes()


def _resized(size: tuple[int, int], edge: int) -> tuple[int, int]:
    """Width and height once the shorter is `edge`."""
    width, height = size
    if width <= height:
        return edge, max(edge, int(edge * height / width))
    return max(edge, int(edge * width / height)), edge


def _read(folder: Path) -> _Settings:
    settings = read_json(folder / "preprocessor_config.json", _Settings)
    if settings is None:
        processor = read_json(folder / "processor_config.json", _Processor)
        settings = processor.image_processor if processor else None
    if settings is None:
        raise ValueError(f"{folder} holds neither preprocessor_config.json nor processor_config.json")
    return settings


def _edge(size: dict[str, int | None] | int) -> int:
    return size if isinstance(size, int) else size.get("shortest_edge") or 0


def _sides(size: dict[str, int | None] | int | None) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if not size or not size.get("height") or not size.get("width"):
        return None
    return size["height"] or 0, size["width"] or 0
