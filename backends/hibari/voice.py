"""hibari's voices, loaded: phoneme ids in, sound at 24 kHz out."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from hibari import SAMPLE_RATE, Hibari

from backends.hibari.prepare import alphabet
from backends.speech.item import Piece, SpeechItem
from backends.speech.voice import Spoken, Voice

_HOP = 300
"""Samples of a frame of the model's."""
_INPUTS = {"ids", "speed"}


class HibariVoice(Voice):
    """One session of onnxruntime for each voice."""

    sample_rate = SAMPLE_RATE
    # The package documents 0.5 to 2, but the model falls behind and swallows sounds when it hurries: at 2
    # Whisper base mishears 29 % of the words of Harvard sentences; spoken at 1 and stretched, 10 %.
    slowest, fastest = 0.5, 1.0

    def __init__(self, files: Mapping[str, Path], threads: int) -> None:
        """`files`: of each voice, by name. Raises ValueError for a file that is no voice."""
        self._voices = {name: _open(file, threads) for name, file in files.items()}

    def warm_up(self) -> None:
        ids = [0, *alphabet().values(), 0]
        for name in self._voices:
            item = SpeechItem([Piece(ids=ids)], name, "en", 1.0, "pcm")
            for spoken in self.read(item, 1.0):
                if not len(spoken.samples):
                    raise ValueError(f"voice {name} makes no sound")

    def read(self, item: SpeechItem, speed: float) -> Iterator[Spoken]:
        # One source of noise for the whole item: its sound does not depend on who else is spoken for.
        noise = np.random.default_rng(item.seed)
        for piece in item.pieces:
            samples = self._voices[item.voice].from_ids(piece.ids, speed, noise)
            yield Spoken(samples, len(piece.ids), len(samples) // _HOP)


def _open(file: Path, threads: int) -> Hibari:
    try:
        voice = Hibari(model=str(file), threads=threads)
    except Exception as error:  # onnxruntime's own kinds, which have no base but Exception
        raise ValueError(f"{file}: no voice of hibari: {error}") from error
    if {each.name for each in voice.sess.get_inputs()} != _INPUTS:
        raise ValueError(f"{file}: no voice of hibari: it takes other inputs than ids and speed")
    return voice
