"""What a speech preparer hands to the speech engine."""

from msgspec import field

from backends.base import PreparedItem
from backends.protocol import AudioFormat


class Piece(PreparedItem):
    """What a voice speaks in one go: a sentence, or a clause of a long one."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    """What the model reads, where the preparer knows it; else the voice makes it of `text`."""


class SpeechItem(PreparedItem):
    """One text to be spoken. `voice` and `language` are the model's own names, never aliases."""

    pieces: list[Piece]
    voice: str
    language: str
    speed: float
    format: AudioFormat
    seed: int | None = None
