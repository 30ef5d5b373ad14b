"""Pixels as the numbers that a network takes, and through it. Imports torch: for engines only."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from backends.vision.preprocessing import CHANNELS, Preprocessing


def pixel_values(pixels: Sequence[bytes], how: Preprocessing, device: torch.device) -> torch.Tensor:
    """[pictures, channels, height, width] in float32 on `device`, scaled and normalised."""
    rows = np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, how.height, how.width, CHANNELS)
    values = torch.from_numpy(rows.copy()).to(device).permute(0, 3, 1, 2).to(torch.float32) * how.scale
    mean = torch.tensor(how.mean, device=device).view(1, CHANNELS, 1, 1)
    std = torch.tensor(how.std, device=device).view(1, CHANNELS, 1, 1)
    return (values - mean) / std


def seen(look: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor, at_once: int) -> torch.Tensor:
    """What `look` makes of [pictures, channels, height, width], so many pictures at a time."""
    return torch.cat([look(part) for part in values.split(at_once)])
