"""Loads an XTTS checkpoint: nothing in it is run, and nothing on the disk is changed."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models.xtts import Xtts, _legacy_safe_globals

from backends.base import OutOfMemory
from backends.xtts.files import Checkpoint


def load_model(checkpoint: Checkpoint, sha256: str, device: str, threads: int) -> Any:
    """The library's `Xtts`, ready to speak. Raises ValueError for files that are not what they should be."""
    _require_hash(checkpoint.weights, sha256)
    torch.set_num_threads(threads)
    config = XttsConfig()
    model = _model(checkpoint, config)
    try:
        return model.to(device)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from None


def _model(checkpoint: Checkpoint, config: Any) -> Any:
    try:
        config.load_json(str(checkpoint.config))
        model = Xtts(config)
        # The library's own reader writes a checkpoint of the older kind back to disk in another form.
        model._load_checkpoint = _read
        model.load_checkpoint(
            config,
            checkpoint_path=checkpoint.weights,
            vocab_path=checkpoint.vocabulary,
            speaker_file_path=checkpoint.weights.with_name("no-speakers"),
            eval=True,
        )
    except Exception as error:  # a file that is something else can fail in any way
        raise ValueError(f"{checkpoint.weights}: no checkpoint of XTTS: {error}") from error
    return model


def _read(path: Path) -> Any:
    """The tensors in `path`. The older kind of checkpoint also holds settings, as the library's classes."""
    with _legacy_safe_globals():
        return torch.load(path, map_location="cpu", weights_only=True)["model"]


def _require_hash(file: Path, expected: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected.lower():
        raise ValueError(f"{file} has SHA-256 {found} and not {expected}")
