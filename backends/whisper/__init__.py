"""Whisper by CTranslate2: recordings in, transcripts out, many at a time.

Owns the way from a model folder to a running engine. Only `load` may import ctranslate2 and faster_whisper,
so that describing a model and preparing its recordings stay fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.protocol import Description, JobTask
from backends.whisper.files import ModelFacts, read_facts
from backends.whisper.parallel import windows_at_once
from backends.whisper.prepare import RecordingItem, WhisperPreparer
from config.parameters import WhisperParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.whisper.live import LiveWhisper

__all__ = ["RecordingItem", "WhisperBackend"]

RUNTIME_BYTES = 300 * 1024 * 1024
"""What the worker and its prepare helper take before any weights, measured on Linux x86-64."""
_BASE_BYTES = 138 * 1024 * 1024
_BASE_WINDOW_BYTES = 80 * 1024 * 1024
"""What whisper-base is, and what a window of 27 s takes of it while it is heard with five beams: eight of
them at once were seen to take 0.6 GiB."""
_WINDOW_GROWTH = 0.85
"""A window takes memory by the decoder's layers times its width: from base to large 13 times as much, where
weights are 21 times as large."""
_PARAMETERS = ["language", "prompt", "temperature", "word_timestamps", "logprobs", "voice_activity"]


class WhisperBackend(Backend[RecordingItem]):
    """A Whisper model in CTranslate2's format. Raises ValueError for a folder that holds none."""

    prepared_type = RecordingItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, WhisperParameters)

    def facts(self) -> ModelFacts:
        return read_facts(self.weights)

    def describe(self) -> Description:
        facts = self.facts()
        can: list[JobTask] = ["transcribe", "translate"] if facts.multilingual else ["transcribe"]
        named = set(self.spec.tasks)
        sessions: list[JobTask] = ["listen"] if "transcribe" in named else []
        if wrong := sorted(named - set(can)):
            raise ValueError(f"{self.spec.name} cannot {wrong[0]}: the model hears English only")
        return Description(
            tasks=[*(task for task in can if task in named), *sessions],
            parameters=_PARAMETERS,
            vocabulary_size=facts.vocabulary_size,
            memory_bytes=RUNTIME_BYTES + facts.weights_bytes + self._windows_bytes(facts.weights_bytes),
            licence=self.spec.licence or "",
            details={
                "architecture": "whisper",
                "languages": "multilingual" if facts.multilingual else "English",
                "beam_size": str(self.parameters.beam_size),
            },
            device_kinds=["cuda", "cpu"],
            languages=facts.languages,
        )

    def _windows_bytes(self, weights_bytes: int) -> int:
        """What as many windows as are heard at once take."""
        window_bytes = _BASE_WINDOW_BYTES * (weights_bytes / _BASE_BYTES) ** _WINDOW_GROWTH
        return int(windows_at_once(self.parameters) * window_bytes)

    def preparer(self) -> WhisperPreparer:
        return WhisperPreparer(self.weights, self.facts(), self.parameters.max_audio_s)

    def load(self, device: str) -> "LiveWhisper":
        from backends.whisper.load import load_engine

        return load_engine(self.weights, self.facts(), self.parameters, device)
