"""Writes a trained model as a folder in transformers' layout."""

from pathlib import Path
from typing import Any

import torch

STARTER = Path(__file__).parent.parent / "config" / "starter"
"""Where the package keeps the models that it ships."""


def save(model: Any, tokenizer: Any, images: Any, folder: Path) -> None:
    """Weights as float16: half the size, and to a model of this size the same."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    print(f"wrote {folder}", flush=True)
