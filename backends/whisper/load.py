"""Makes an engine of a model folder.

Owns the choice of device, number format and threads.
"""

from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel

from backends.base import OutOfMemory
from backends.whisper.engine import Ears, EngineSettings, WhisperEngine
from backends.whisper.files import ModelFacts
from backends.whisper.hearing import Decoding, Hearing
from backends.whisper.live import LiveWhisper
from backends.whisper.memory import keep_freed_memory
from backends.whisper.parallel import calls_and_threads, windows_of_a_call
from backends.whisper.speech import SpeechSettings
from backends.whisper.vocabulary import Vocabulary
from backends.whisper.voice_activity import VoiceActivityModel
from backends.whisper.windows import StepBudget
from config.parameters import WhisperParameters

_ENCODED_AT_ONCE = {"cpu": 1}
"""A processor encodes windows no faster together, and the buffers of many cost more than they save."""
_STEPS_OF_PATIENCE = 4
"""A part of a call that takes so many times `max_step_s` may have hung."""


def load_engine(folder: Path, facts: ModelFacts, parameters: WhisperParameters, device: str) -> LiveWhisper:
    """Raises ValueError for files that are no usable model, OutOfMemory where they do not fit."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        keep_freed_memory()
    calls, threads = calls_and_threads(parameters, kind)
    model = _open(folder, parameters, device, calls, threads)
    vocabulary = Vocabulary(folder, facts.multilingual)
    hearing = Hearing(model.model, vocabulary, Decoding(parameters.beam_size, parameters.best_of))
    batch = windows_of_a_call(parameters, kind, calls)
    engine = WhisperEngine(
        Ears(hearing, vocabulary, model.feature_extractor, VoiceActivityModel),
        StepBudget(parameters.max_step_s, batch),
        EngineSettings(
            margin_s=parameters.window_margin_s,
            least_window_s=parameters.window_least_s,
            temperatures=[0.0, *parameters.fallback_temperatures],
            speech=SpeechSettings(
                threshold=parameters.vad_threshold,
                silence_ms=parameters.vad_silence_ms,
                padding_ms=parameters.vad_padding_ms,
            ),
            max_recordings=4 * batch,
            encoded_at_once=_ENCODED_AT_ONCE.get(kind, batch),
            calls_at_once=calls,
            patience_s=_STEPS_OF_PATIENCE * parameters.max_step_s,
            only_language="" if facts.multilingual else facts.languages[0],
        ),
    )
    return LiveWhisper(engine, vocabulary.prompt, VoiceActivityModel)


def _open(folder: Path, parameters: WhisperParameters, device: str, calls: int, threads: int) -> WhisperModel:
    kind, _, number = device.partition(":")
    compute_type = parameters.compute_type
    if compute_type == "auto":
        compute_type = "float16" if kind == "cuda" else "int8"
    supported = ctranslate2.get_supported_compute_types(kind, int(number or 0))
    if compute_type not in supported:
        known = ", ".join(sorted(supported))
        raise ValueError(f"compute_type {compute_type}: this device computes in {known}")
    try:
        return WhisperModel(
            str(folder),
            device=kind,
            device_index=int(number or 0),
            compute_type=compute_type,
            cpu_threads=threads,
            num_workers=calls,
            local_files_only=True,
        )
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise OutOfMemory(str(error)) from error
        raise ValueError(f"{folder}: {error}") from error
