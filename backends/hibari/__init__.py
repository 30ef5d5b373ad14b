"""hibari: a small English voice, one ONNX file a speaker.

Owns the way from text to sound by the package hibari-tts: its rules of pronunciation, alphabet and signal
processing. Files of voices come from the weights store alone, never from the package's own download.
Only `voice` may import onnxruntime.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.protocol import Description
from backends.speech.item import SpeechItem
from backends.speech.prepare import Repertoire, SpeechPreparer
from backends.speech.settings import aliases, description, threads
from config.parameters import HibariParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.speech.engine import SpeechEngine

__all__ = ["HibariBackend"]

RUNTIME_BYTES = 180 * 1024 * 1024
"""What a worker takes with its prepare helper before any voice, measured on Linux x86-64."""
_VOICE_BYTES = 4
"""Memory of a loaded voice for each byte of its file."""


class HibariBackend(Backend[SpeechItem]):
    """Raises ValueError where the package is not installed or a voice's name stands twice."""

    prepared_type = SpeechItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, HibariParameters)
        if find_spec("hibari") is None:
            raise ValueError("hibari-tts is not installed here: pip install 'llm-cortex[audio]'")
        self.files = self._files()
        self.repertoire = Repertoire(list(self.files), aliases(self.parameters, list(self.files)), ["en"])

    def describe(self) -> Description:
        for name, (file, _) in self.files.items():
            if not file.is_file():
                raise ValueError(f"voice {name}: there is no file {file}")
        memory_bytes = RUNTIME_BYTES + _VOICE_BYTES * sum(
            file.stat().st_size for file, _ in self.files.values()
        )
        return description(self.repertoire, memory_bytes, self.spec, {"sample_rate": "24000"})

    def preparer(self) -> SpeechPreparer:
        from backends.hibari.prepare import HibariPreparer

        return HibariPreparer(self.repertoire, {name for name, (_, british) in self.files.items() if british})

    def load(self, device: str) -> "SpeechEngine":
        from backends.hibari.voice import HibariVoice
        from backends.speech.engine import SpeechEngine

        files = {name: file for name, (file, _) in self.files.items()}
        return SpeechEngine(HibariVoice(files, threads(self.parameters, auto=1)), self.parameters.max_streams)

    def _files(self) -> dict[str, tuple[Path, bool]]:
        """File of each voice, and whether it is British; the default first."""
        parameters = self.parameters
        files = {parameters.voice: (self.weights, parameters.british)}
        for voice in parameters.voices:
            if voice.name in files:
                raise ValueError(f"voices: {voice.name!r} stands twice")
            files[voice.name] = (Path(voice.source), voice.british)
        return files
