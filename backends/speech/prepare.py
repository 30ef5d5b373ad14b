"""From a speak job to pieces: which voice, which language, which speed, and what of the text is spoken.

Owns the checks that all voices share. A voice's own preparer says how text becomes pieces.
"""

from abc import abstractmethod
from collections.abc import Sequence
from difflib import get_close_matches

from msgspec import Struct

from backends.base import JobError, Preparer
from backends.protocol import Job, SpeakParameters, Text
from backends.speech.item import Piece, SpeechItem

SLOWEST, FASTEST = 0.25, 4.0
"""Speeds of OpenAI's API."""
_MOST_SEEDS = 2**63


class Repertoire(Struct, frozen=True):
    """What a model can be asked for: what its description tells too."""

    voices: Sequence[str]
    """The default first."""
    aliases: dict[str, str]
    """Other names of voices."""
    languages: Sequence[str]
    """ISO 639-1 codes, the default first."""
    honours_seed: bool = True


class SpeechPreparer(Preparer[SpeechItem]):
    def __init__(self, repertoire: Repertoire) -> None:
        self._repertoire = repertoire

    def prepare(self, job: Job) -> list[SpeechItem]:
        asked = job.parameters
        if not isinstance(asked, SpeakParameters):
            raise JobError("this model only speaks", param="model")
        voice, language = self._voice(asked.voice), self._language(asked.language)
        _check(asked)
        if asked.seed is not None and not self._repertoire.honours_seed:
            raise JobError("This model cannot follow a `seed`.", param="seed")
        items = []
        for item in job.items:
            if not isinstance(item, Text):
                raise JobError("only a text can be spoken", param="input")
            pieces = self.pieces(item.text, voice, language)
            if not pieces:
                raise JobError("There is nothing in this text that could be spoken.", param="input")
            items.append(SpeechItem(pieces, voice, language, asked.speed, asked.format, asked.seed))
        return items

    @abstractmethod
    def pieces(self, text: str, voice: str, language: str) -> list[Piece]:
        """What is spoken of the text, in order; empty where nothing can be. Raises JobError."""

    def _voice(self, name: str) -> str:
        known = self._repertoire
        if not name:
            return known.voices[0]
        voice = known.aliases.get(name, name) if name not in known.voices else name
        if voice in known.voices:
            return voice
        near = get_close_matches(name, known.voices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise JobError(
            f"There is no voice {name[:64]!r}. This model has: {', '.join(known.voices)}{hint}", param="voice"
        )

    def _language(self, code: str) -> str:
        known = self._repertoire.languages
        if not code:
            return known[0]
        if code.lower() in known:
            return code.lower()
        raise JobError(
            f"This model does not speak {code[:16]!r}. It speaks: {', '.join(known)}.", param="language"
        )


def _check(asked: SpeakParameters) -> None:
    if not SLOWEST <= asked.speed <= FASTEST:
        raise JobError(f"`speed` goes from {SLOWEST:g} to {FASTEST:g}.", param="speed")
    if asked.instructions:
        raise JobError("This model cannot follow `instructions`.", param="instructions")
    if asked.seed is not None and not 0 <= asked.seed < _MOST_SEEDS:
        raise JobError("`seed` goes from 0 to 2^63 - 1.", param="seed")
