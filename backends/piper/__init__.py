"""Piper: small neural voices in some forty languages, one ONNX file a voice or a group of speakers.

Owns the way from text to sound by piper-tts. It is under the GPL, no part of this project, and used
only where somebody has installed it. Only `voice` may load a model.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.cores import own_cores
from backends.piper.files import PiperFiles
from backends.protocol import Description
from backends.speech.item import SpeechItem
from backends.speech.prepare import Repertoire, SpeechPreparer
from backends.speech.settings import aliases, description, threads
from config.parameters import PiperParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.speech.engine import SpeechEngine

__all__ = ["PiperBackend"]

RUNTIME_BYTES = 200 * 1024 * 1024
"""What a worker takes with its prepare helper before any voice, measured on Linux x86-64."""
_VOICE_BYTES = 3
"""Memory of a loaded voice for each byte of its file."""


class PiperBackend(Backend[SpeechItem]):
    """Raises ValueError where the package is not installed or the files are no voice that it can speak."""

    prepared_type = SpeechItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, PiperParameters)
        if find_spec("piper") is None:
            raise ValueError("piper-tts is not installed here: pip install 'llm-cortex[piper]'")
        self.files = PiperFiles.find(weights, self.parameters.voice)
        voices = list(self.files.speakers)
        # The noise of these models is drawn inside them: a seed would change nothing.
        self.repertoire = Repertoire(
            voices, aliases(self.parameters, voices), [self.files.language], honours_seed=False
        )

    def describe(self) -> Description:
        size = self.files.model.stat().st_size
        details = {"sample_rate": str(self.files.sample_rate), "quality": self.files.quality}
        return description(self.repertoire, RUNTIME_BYTES + _VOICE_BYTES * size, self.spec, details)

    def preparer(self) -> SpeechPreparer:
        from backends.piper.prepare import PiperPreparer

        return PiperPreparer(self.repertoire, self.files)

    def load(self, device: str) -> "SpeechEngine":
        from backends.piper.voice import PiperVoice
        from backends.speech.engine import SpeechEngine

        voice = PiperVoice(self.files, threads(self.parameters, auto=own_cores()))
        return SpeechEngine(voice, self.parameters.max_streams)
