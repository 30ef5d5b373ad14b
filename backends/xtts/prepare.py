"""Texts to sentences for XTTS, in its languages. The model's own tokenizer reads them in the worker."""

from backends.speech.cutting import bounded, is_speakable, sentences
from backends.speech.item import Piece
from backends.speech.prepare import SpeechPreparer

MOST_CHARACTERS = {
    "ar": 166,
    "cs": 186,
    "de": 253,
    "en": 250,
    "es": 239,
    "fr": 273,
    "hi": 150,
    "hu": 224,
    "it": 213,
    "ja": 71,
    "ko": 95,
    "nl": 251,
    "pl": 224,
    "pt": 203,
    "ru": 182,
    "tr": 226,
    "zh": 82,
}
"""Longest text by language that the model speaks to its end. Source: coqui-tts 0.28, VoiceBpeTokenizer."""
_MOST_IN_OTHERS = 150


class XttsPreparer(SpeechPreparer):
    def pieces(self, text: str, voice: str, language: str) -> list[Piece]:
        most = MOST_CHARACTERS.get(language, _MOST_IN_OTHERS)
        cut = [piece for sentence in sentences(text) for piece in bounded(sentence, most)]
        return [Piece(text=piece) for piece in cut if is_speakable(piece)]
