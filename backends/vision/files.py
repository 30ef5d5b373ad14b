"""Reads a model folder in the layout of transformers, without loading any weights.

Must not import torch or transformers.
"""

from pathlib import Path

from msgspec import Struct

from backends.model_folder import DTYPE_BYTES, count_weights
from config.parameters import VisionParameters

RUNTIME_BYTES = 400 * 1024 * 1024
"""What torch and transformers take before any weights, measured on Linux x86-64."""
_LIVE_ACTIVATIONS = 6
"""Intermediate-sized rows alive at once in a layer."""
_CPU_TOKENS = 640
"""Measured: CLIP-B/32, 50 a picture, gains up to eight pictures; BLIP-base, 577, loses with two."""


class VisionConfig(Struct):
    """Of a vision transformer; a file leaves out what is as BLIP has it."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    image_size: int = 384
    patch_size: int = 16

    @property
    def tokens(self) -> int:
        """Patches of a picture, and one for the whole."""
        return (self.image_size // self.patch_size) ** 2 + 1


def dtype_on(device: str, parameters: VisionParameters) -> str:
    """What the model computes in on `device`."""
    if parameters.dtype != "auto":
        return parameters.dtype
    return "float16" if device.startswith("cuda") else "float32"


def batch_items(device: str, parameters: VisionParameters) -> int:
    """Most pictures in one call on `device`."""
    if parameters.batch_items != "auto":
        return parameters.batch_items
    return 32 if device.startswith("cuda") else 8


def seen_at_once(device: str, vision: VisionConfig) -> int:
    """Pictures of a batch that go through the encoder together. Many patches fill a processor's matrices by
    themselves: of more at once a layer only holds what its caches do not."""
    return 10_000 if device.startswith("cuda") else max(1, _CPU_TOKENS // vision.tokens)


def memory_bytes(folder: Path, vision: VisionConfig, device: str, parameters: VisionParameters) -> int:
    """Estimated need of the libraries, the weights and a full batch."""
    number = DTYPE_BYTES[dtype_on(device, parameters)]
    row = max(vision.intermediate_size, vision.hidden_size) * number
    largest = "cuda" if device == "auto" else device
    batch = batch_items(largest, parameters)
    activations = min(batch, seen_at_once(largest, vision)) * vision.tokens * row * _LIVE_ACTIVATIONS
    seen = batch * vision.tokens * vision.hidden_size * number
    return RUNTIME_BYTES + count_weights(folder) * number + activations + seen
