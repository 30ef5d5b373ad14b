"""What the author of a voice backend writes for the speech engine."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from backends.speech.encoding import Samples
from backends.speech.item import SpeechItem


@dataclass(frozen=True, slots=True)
class Spoken:
    """The next stretch of sound: mono, between -1 and 1."""

    samples: Samples
    input_tokens: int
    """Of the piece, what the model read for this stretch."""
    output_tokens: int
    """What it made for it: frames or audio tokens."""
    ends_piece: bool = True


class Voice(ABC):
    """A loaded model that speaks prepared items."""

    sample_rate: int
    """Hz."""
    slowest: float = 1.0
    fastest: float = 1.0
    """Speeds that the model itself speaks at; the rest is stretched afterwards."""

    @abstractmethod
    def warm_up(self) -> None:
        """One real call. Raises if the model cannot work."""

    @abstractmethod
    def read(self, item: SpeechItem, speed: float) -> Iterator[Spoken]:
        """Speak the pieces in order, each in one or more stretches of bounded length.

        Items are read in turns, so that nothing of one may be kept outside its iterator; a turn ends with a
        piece. `speed` is the model's own part of the item's. Raises OutOfMemory if the device has no room.
        """
