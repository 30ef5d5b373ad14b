"""What the preparer hands to the engine for one prompt."""

from backends.base import PreparedItem
from backends.protocol import PictureFormat


class PaintItem(PreparedItem, gc=False):
    prompt: str
    negative_prompt: str
    prompt_tokens: int
    width: int
    height: int
    steps: int
    """What the scheduler's timesteps are spread over."""
    guidance: float
    seed: int
    """Of the first picture; the next ones have the numbers that follow."""
    strength: float = 1.0
    format: PictureFormat = "png"
    compression: int = -1
    """Quality of jpeg and webp; -1: the library's default."""
    previews: int = 0
    picture: bytes = b""
    """What is edited: RGB rows of width x height, a byte a number; empty: nothing."""
    mask: bytes = b""
    """Rows of width x height, 255 where it is painted anew; empty: everywhere."""
