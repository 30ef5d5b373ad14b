"""What the fake model sees: a picture's bytes are read as a script, like those of recordings. Pure.

The caption is what `@say` gives, else `picture <hash>`, of the picture's own hash, so that equal files get
equal captions. Of a request's labels those that stand in the bytes are nine times as likely as others.
"""

import struct

from backends.fake_answers import FakeItem, words
from backends.fake_media import read_script
from backends.protocol import (
    CaptionParameters,
    CaptionResult,
    ClassifyParameters,
    ClassifyResult,
    Item,
    Media,
    Result,
)

HONOURED = {"caption": ["prompt", "max_tokens"], "classify": ["prompt"]}
LIMITS = {"images": 8, "labels": 64}

PAINT_TASKS = ("paint", "edit")
_PAINT = ["n", "quality", "steps", "guidance", "negative_prompt", "seed", "background", "partial_images"]
PAINTED = {"paint": _PAINT, "edit": [*_PAINT, "mask", "strength"]}
PAINT_LIMITS = {"images": 4, "steps": 1000}
SIZES = ["64x64", "96x64", "64x96", "1024x1024"]
"""What backends/fake_painting.py paints."""


def see(item: Item) -> FakeItem:
    """A picture as its script and its hash. Raises JobError."""
    param = item.param if isinstance(item, Media) else ""
    return read_script(item, param or "image", "invalid_image")


def look(asked: CaptionParameters | ClassifyParameters, item: FakeItem) -> Result:
    return _caption(asked, item) if isinstance(asked, CaptionParameters) else _classify(asked, item)


def _caption(asked: CaptionParameters, item: FakeItem) -> CaptionResult:
    told = words(f"picture {item.digest}") if item.said is None else item.said
    kept = told if asked.max_tokens is None else told[: asked.max_tokens]
    prompt = words(asked.prompt)
    text = f"{asked.prompt} {''.join(kept)}" if prompt else "".join(kept)
    return CaptionResult(text, len(prompt), len(kept), "stop" if len(kept) == len(told) else "length")


def _classify(asked: ClassifyParameters, item: FakeItem) -> ClassifyResult:
    weights = [9.0 if label in item.text else 1.0 for label in asked.labels]
    scores = [weight / sum(weights) for weight in weights]
    tokens = sum(len((asked.template or "{}").replace("{}", label).split()) for label in asked.labels)
    return ClassifyResult(struct.pack(f"<{len(scores)}f", *scores), tokens)
