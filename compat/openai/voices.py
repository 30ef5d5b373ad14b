"""`/v1/audio/voices` and `/v1/audio/models`: what web pages read to offer voices to choose from.

OpenAI's API has no such lists; the shapes are those that Open WebUI reads.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from compat.openai.answers import encode


class Voice(Struct, frozen=True):
    """`id` is what a request may name; the same voice of two models stands twice."""

    id: str
    name: str
    model: str


class VoiceList(Struct, frozen=True):
    voices: list[Voice]


class AudioModel(Struct, frozen=True):
    id: str
    name: str


class AudioModelList(Struct, frozen=True):
    models: list[AudioModel]


def render_voices(voices: Mapping[str, Sequence[str]]) -> bytes:
    """`voices`: names of each model's voices, the default first."""
    listed = [Voice(name, name, model) for model, names in voices.items() for name in names]
    return encode(VoiceList(listed))


def render_audio_models(models: Sequence[str]) -> bytes:
    return encode(AudioModelList([AudioModel(name, name) for name in models]))
