"""English text to hibari's phonemes, as ids. Must not load a voice."""

from collections.abc import Collection
from functools import cache
from pathlib import Path

import hibari
import msgspec
from hibari.g2p import G2P

from backends.base import JobError
from backends.speech.cutting import bounded, is_mostly_latin, is_speakable
from backends.speech.item import Piece
from backends.speech.prepare import Repertoire, SpeechPreparer

MOST_PHONEMES = 250
"""In a piece. The model was trained on up to 400; a shorter one keeps a step short and others' turns near."""
_PAD = 0


class HibariPreparer(SpeechPreparer):
    def __init__(self, repertoire: Repertoire, british: Collection[str]) -> None:
        super().__init__(repertoire)
        self._british = british
        self._ids = alphabet()
        self._rules(repertoire.voices[0] in british)("Warm up.")

    def pieces(self, text: str, voice: str, language: str) -> list[Piece]:
        if not is_mostly_latin(text):
            raise JobError("This voice reads English; this text is in another script.", param="input")
        rules = self._rules(voice in self._british)
        pieces = []
        for sentence in hibari.Hibari.split_sentences(text):
            for phonemes in bounded(rules(sentence), MOST_PHONEMES):
                if is_speakable(phonemes):
                    pieces.append(Piece(ids=self._encoded(phonemes)))
        return pieces

    def _encoded(self, phonemes: str) -> list[int]:
        return [_PAD, *(self._ids[sign] for sign in phonemes if sign in self._ids), _PAD]

    @staticmethod
    @cache
    def _rules(british: bool) -> G2P:
        return G2P(british=british)


def alphabet() -> dict[str, int]:
    """Ids of phonemes, as the package has them."""
    file = Path(hibari.__file__).with_name("assets") / "vocab.json"
    return msgspec.json.decode(file.read_bytes(), type=dict[str, int])
