"""XTTS: speech in 16 languages, in any voice of which there is a short recording.

Owns the way from text to sound by coqui-tts. Only `model`, `latents` and `voice` import torch and TTS, and
`load` alone imports them. The library may live in an interpreter of its own (`backends.xtts.python`).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.cores import own_cores
from backends.protocol import Description
from backends.speech.item import SpeechItem
from backends.speech.prepare import Repertoire
from backends.speech.settings import aliases, description, threads
from backends.xtts.files import Checkpoint, languages, recordings
from backends.xtts.prepare import XttsPreparer
from config.parameters import XttsParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.speech.engine import SpeechEngine

__all__ = ["XttsBackend"]

RUNTIME_BYTES = 1024 * 1024 * 1024
"""What torch and the library take before any weights, measured on Linux x86-64."""


class XttsBackend(Backend[SpeechItem]):
    """Raises ValueError for missing files, recordings or packages, and for weights without a pinned hash."""

    prepared_type = SpeechItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, XttsParameters)
        if find_spec("TTS") is None:
            raise ValueError(
                "coqui-tts is not installed here: see .ci/install-xtts, and set backends.xtts.python"
            )
        if spec.sha256 is None:
            # The file is a pickle. It is read without running anything, and must be the one that was meant.
            raise ValueError("weights of XTTS need `sha256` in the configuration")
        self.sha256 = spec.sha256
        self.checkpoint = Checkpoint.find(weights, self.parameters)
        self.recordings = recordings(Path(self.parameters.voices_dir), self.parameters.voice)
        voices = list(self.recordings)
        self.repertoire = Repertoire(
            voices,
            aliases(self.parameters, voices),
            languages(self.checkpoint.config, self.parameters.language),
        )

    def describe(self) -> Description:
        size = self.checkpoint.weights.stat().st_size
        return description(
            self.repertoire,
            RUNTIME_BYTES + size,
            self.spec,
            {"sample_rate": "24000", "cloning": "from recordings in voices_dir"},
            device_kinds=_device_kinds(),
        )

    def preparer(self) -> XttsPreparer:
        return XttsPreparer(self.repertoire)

    def load(self, device: str) -> "SpeechEngine":
        from backends.speech.engine import SpeechEngine
        from backends.xtts.latents import LatentsCache
        from backends.xtts.model import load_model
        from backends.xtts.voice import Sampling, XttsVoice

        model = load_model(self.checkpoint, self.sha256, device, threads(self.parameters, auto=own_cores()))
        folder = self.parameters.latents_dir or Path(self.parameters.voices_dir) / ".latents"
        cache = LatentsCache(Path(folder), model, self.sha256)
        latents = {name: cache.of(files) for name, files in self.recordings.items()}
        sampling = Sampling.of(model, self.parameters)
        voice = XttsVoice(model, latents, sampling, self.parameters.language)
        return SpeechEngine(voice, self.parameters.max_streams)


def _device_kinds() -> list[str]:
    """Asks torch: it takes seconds, once for each model and version, as descriptions are kept."""
    import torch

    return ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
