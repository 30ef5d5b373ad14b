"""What painting takes of memory, estimated, and how many pictures a step takes. Pure."""

from backends.diffusion.abilities import Abilities
from backends.diffusion.folder import PipelineFacts
from backends.model_folder import DTYPE_BYTES
from backends.vision.files import dtype_on
from config.parameters import DiffusionParameters

RUNTIME_BYTES = 700 * 1024 * 1024
"""Beside weights and rows. Measured on Linux x86-64 with torch 2.13: 490 MiB a worker that has painted with
hardly any weights (386 of them imports), 56 its helper, and 112 what a step copies of the weights of Stable
Diffusion 1.5's widest convolution, by its size in float32."""
_LIVE_ROWS = 24
"""Rows of the first level's width alive at once in the denoiser: skip connections, and a layer at work.
Measured for 1.5 in float32, beside that copy: 13 to 35, at 256 and 512 squared, 1 and 4 passes."""
_LIVE_PIXELS = 6
"""The same in the decoder, at the full size of the picture. Measured for 1.5 in float32: 5.1 and 6.0, at 256
and 512 squared."""
_TILE_PIXELS = 512 * 512
_FLOAT32 = 4


def batch_items(device: str, parameters: DiffusionParameters) -> int:
    """Most pictures in one step on `device`."""
    if parameters.batch_items != "auto":
        return parameters.batch_items
    return 8 if device.startswith("cuda") else 4


def memory_bytes(facts: PipelineFacts, can: Abilities, parameters: DiffusionParameters, device: str) -> int:
    """Estimated need of the libraries, the weights, a full step and a picture being decoded."""
    number = DTYPE_BYTES[dtype_on(device, parameters)]
    vae_number = _FLOAT32 if facts.upcasts_vae else number
    weights = {
        name: count * (vae_number if name == "vae" else number) for name, count in facts.numbers.items()
    }
    pixels = max(width * height for width, height in can.sizes)
    passes = batch_items("cuda" if device == "auto" else device, parameters) * (2 if can.guidance > 1 else 1)
    row = pixels // facts.pixels_per_latent**2 * facts.unet_channels * number
    decoded = min(pixels, _TILE_PIXELS) if parameters.vae_tiling else pixels
    resident = max(weights.values()) if parameters.offload else sum(weights.values())
    return (
        RUNTIME_BYTES
        + resident
        + max(passes * row * _LIVE_ROWS, decoded * facts.vae_channels * vae_number * _LIVE_PIXELS)
    )
