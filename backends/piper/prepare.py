"""Text to the ids of a Piper voice's phonemes, by espeak-ng inside piper-tts. Must not load a voice."""

import json
from typing import Any

from piper.config import PiperConfig
from piper.voice import PiperVoice

from backends.piper.files import PiperFiles
from backends.speech.cutting import bounded, is_speakable, sentences
from backends.speech.item import Piece
from backends.speech.prepare import Repertoire, SpeechPreparer

MOST_CHARACTERS = 250
"""In a piece: keeps a step short and others' turns near."""


class PiperPreparer(SpeechPreparer):
    def __init__(self, repertoire: Repertoire, files: PiperFiles) -> None:
        super().__init__(repertoire)
        session: Any = None  # phonemes need none
        self._reader = PiperVoice(session, read_config(files))
        self._reader.phonemize("Warm up.")

    def pieces(self, text: str, voice: str, language: str) -> list[Piece]:
        cut = [piece for sentence in sentences(text) for piece in bounded(sentence, MOST_CHARACTERS)]
        read = [phonemes for piece in cut for phonemes in self._reader.phonemize(piece)]
        # espeak-ng spells out signs that it knows by name, so that what is speakable shows only here.
        return [
            Piece(ids=self._reader.phonemes_to_ids(phonemes))
            for phonemes in read
            if is_speakable("".join(phonemes))
        ]


def read_config(files: PiperFiles) -> Any:
    return PiperConfig.from_dict(json.loads(files.config.read_bytes()))
