"""What XTTS makes of a voice's recordings, once: kept on disk under a hash of all that it depends on."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
from msgspec import Struct
from safetensors.torch import load_file, save_file

log = logging.getLogger(__name__)

_RATE = 22050
_SHORTEST_S = 0.5
_VERSION = "1"
"""Of the way from recordings to latents."""


class Latents(Struct, frozen=True):
    """How a voice speaks (`gpt`) and how it sounds (`speaker`): tensors."""

    gpt: Any
    speaker: Any


class LatentsCache:
    """Files in safetensors' format; a folder that cannot be written to costs time only."""

    def __init__(self, folder: Path, model: Any, weights_sha256: str) -> None:
        self._folder = folder
        self._model = model
        config = model.config
        self._seconds = (config.gpt_cond_len, config.gpt_cond_chunk_len, config.max_ref_len)
        self._normalise = bool(config.sound_norm_refs)
        self._key = f"{_VERSION} {weights_sha256} {self._seconds} {self._normalise}"

    def of(self, recordings: Sequence[Path]) -> Latents:
        """Latents of the voice in these recordings. Raises ValueError for one that cannot be used."""
        file = self._folder / f"{self._digest(recordings)}.safetensors"
        try:
            kept = load_file(file)
            return Latents(kept["gpt"], kept["speaker"])
        except Exception as error:  # not there, cut off or foreign: it is made anew
            if file.exists():
                log.warning("%s cannot be read (%s); making it anew", file, error)
        latents = self._made(recordings)
        self._keep(file, latents)
        return latents

    def _digest(self, recordings: Sequence[Path]) -> str:
        digest = hashlib.sha256(self._key.encode())
        for file in recordings:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def _made(self, recordings: Sequence[Path]) -> Latents:
        whole_s, piece_s, most_s = self._seconds
        clips = [self._clip(file, most_s) for file in recordings]
        speakers = [self._model.get_speaker_embedding(clip, _RATE) for clip in clips]
        gpt = self._model.get_gpt_cond_latents(torch.cat(clips, dim=-1), _RATE, whole_s, piece_s)
        return Latents(gpt.cpu(), torch.stack(speakers).mean(dim=0).cpu())

    def _clip(self, file: Path, most_s: int) -> Any:
        """The beginning of a recording, mono, at the model's rate: shape (1, samples)."""
        try:
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise ValueError(f"{file}: {error}") from None
        if len(samples) < _SHORTEST_S * rate:
            raise ValueError(
                f"{file}: a recording of {len(samples) / rate:.2f} s is too short to clone a voice"
            )
        mono = torch.from_numpy(np.ascontiguousarray(samples.mean(axis=1)))[None, :]
        clip = torchaudio.functional.resample(mono, rate, _RATE)[:, : _RATE * most_s].clip(-1, 1)
        loudest = clip.abs().max()
        if not loudest > 0:
            raise ValueError(f"{file}: there is nothing but silence in it")
        return clip / loudest * 0.75 if self._normalise else clip

    def _keep(self, file: Path, latents: Latents) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            tensors = {"gpt": latents.gpt.contiguous(), "speaker": latents.speaker.contiguous()}
            save_file(tensors, partial)
            partial.replace(file)
        except Exception as error:  # safetensors has an exception of its own for a full disk
            log.warning("latents cannot be kept in %s: %s", file.parent, error)
