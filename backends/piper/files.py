"""What a Piper voice's files say. Reads no weights."""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field


class _Audio(Struct):
    sample_rate: int
    quality: str = ""


class _Espeak(Struct):
    voice: str


class _Language(Struct):
    code: str


class _Config(Struct):
    """Of `NAME.onnx.json`, what matters here."""

    audio: _Audio
    espeak: _Espeak
    num_speakers: int
    # Others bring models of their own along, which the library fetches while it speaks.
    phoneme_type: Literal["espeak", "text"] = "espeak"
    speaker_id_map: dict[str, int] = field(default_factory=dict)
    language: _Language | None = None


class PiperFiles(Struct, frozen=True):
    model: Path
    config: Path
    sample_rate: int
    quality: str
    language: str
    """ISO 639-1."""
    speakers: dict[str, int]
    """The model's numbers of voices by name, the default first."""

    @classmethod
    def find(cls, weights: Path, default: str) -> "PiperFiles":
        """`weights`: the ONNX file, or the folder that holds it. Raises ValueError for anything else."""
        model = _only_model(weights) if weights.is_dir() else weights
        config = model.with_name(model.name + ".json")
        try:
            read = msgspec.json.decode(config.read_bytes(), type=_Config)
        except (OSError, msgspec.MsgspecError) as error:
            raise ValueError(f"{config}: {error}") from None
        code = read.language.code if read.language is not None else read.espeak.voice
        return cls(
            model=model,
            config=config,
            sample_rate=read.audio.sample_rate,
            quality=read.audio.quality,
            language=code.replace("_", "-").partition("-")[0].lower(),
            speakers=_speakers(read, model.stem, default),
        )


def _only_model(folder: Path) -> Path:
    models = sorted(folder.glob("*.onnx"))
    if len(models) != 1:
        raise ValueError(f"{folder} holds {len(models)} ONNX files; `source` must name one")
    return models[0]


def _speakers(config: _Config, stem: str, default: str) -> dict[str, int]:
    if config.num_speakers <= 1 or not config.speaker_id_map:
        # en_US-joe-medium: the middle is the voice.
        parts = stem.split("-")
        return {default or (parts[1] if len(parts) > 2 else stem): 0}
    by_name = config.speaker_id_map
    first = default or min(by_name, key=lambda name: by_name[name])
    if first not in by_name:
        raise ValueError(f"voice: there is no speaker {first!r}; there are: {', '.join(list(by_name)[:20])}")
    return {first: by_name[first], **by_name}
