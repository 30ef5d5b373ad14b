"""What the settings of all voice backends have in common, made into what preparers and descriptions need."""

from collections.abc import Sequence

from backends.protocol import Description
from backends.speech.prepare import Repertoire
from config.parameters import SpeechParameters
from config.schema import ModelSpec

HONOURED = ["voice", "speed", "response_format", "stream_format", "seed", "language"]
"""Of a speech request's parameters."""


def aliases(settings: SpeechParameters, voices: list[str]) -> dict[str, str]:
    """Other names of voices, each with the voice it means. Raises ValueError where there is no such voice."""
    meant = {alias: voice or voices[0] for alias, voice in settings.voice_aliases.items()}
    for alias, voice in meant.items():
        if voice not in voices:
            raise ValueError(
                f"voice_aliases.{alias}: there is no voice {voice!r}; there are: {', '.join(voices)}"
            )
    return {alias: voice for alias, voice in meant.items() if alias not in voices}


def threads(settings: SpeechParameters, auto: int) -> int:
    return auto if settings.n_threads == "auto" else settings.n_threads


def description(
    repertoire: Repertoire,
    memory_bytes: int,
    spec: ModelSpec,
    details: dict[str, str],
    device_kinds: Sequence[str] = ("cpu",),
) -> Description:
    """What the model can do. Raises ValueError for `defaults`, of which a voice has none."""
    if spec.defaults:
        raise ValueError(f"defaults: {next(iter(spec.defaults))} means nothing here; see `parameters`")
    return Description(
        tasks=["speak"],
        parameters=[name for name in HONOURED if name != "seed" or repertoire.honours_seed],
        memory_bytes=memory_bytes,
        licence=spec.licence or "",
        details=details,
        device_kinds=list(device_kinds),
        voices=list(repertoire.voices),
        voice_aliases=dict(repertoire.aliases),
        languages=list(repertoire.languages),
    )
