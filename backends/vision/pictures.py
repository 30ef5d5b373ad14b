"""The pictures of a job as pixels for the engine, in the prepare helper."""

from backends.base import JobError
from backends.media.image import ImageLimits, read_image
from backends.protocol import MAX_FRAME_BYTES, Item, Media
from backends.vision.preprocessing import Preprocessing, fit
from config.parameters import VisionParameters

_MOST = 64


def most_pictures(to: Preprocessing) -> int:
    """Pictures of one job: they travel to the engine in one frame."""
    return max(1, min(_MOST, MAX_FRAME_BYTES * 3 // 4 // to.pixel_bytes))


def check_count(items: list[Item], to: Preprocessing) -> None:
    """Raises JobError."""
    count = sum(isinstance(item, Media) for item in items)
    if count > most_pictures(to):
        raise JobError(f"At most {most_pictures(to)} pictures a request, got {count}.", param="images")


def pixels_of(item: Media, to: Preprocessing, parameters: VisionParameters) -> bytes:
    """Raises JobError for what is no picture, or too large."""
    limits = ImageLimits(parameters.max_pixels, parameters.max_frames, item.param or "image")
    return fit(read_image(item.blob, limits), to)
