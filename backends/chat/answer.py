"""The parts of an answer, and what a parser needs to know to tell them apart.

Owns the vocabulary between the code that renders a prompt, the parser, and an engine. Pure: no template, no
model, no grammar library.
"""

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct, field

CallFormat = Literal["none", "hermes", "llama3", "mistral", "deepseek", "functionary", "json"]
"""How a family of models writes a tool call; `none`: nothing in an answer is a call."""


class AnswerFormat(Struct, frozen=True, array_like=True, omit_defaults=True):
    """How an answer is written. Made with the prompt, in the prepare helper; travels to the engine."""

    calls: CallFormat = "none"
    tools: list[str] = field(default_factory=list)
    """Names that may be called: other JSON that looks like a call stays text."""
    think_open: str = ""
    think_close: str = ""
    """Tags around reasoning; empty: the model has none."""
    in_reasoning: bool = False
    """The prompt ends inside an open reasoning tag."""
    lead: str = ""
    """End of the prompt that an answer's parser must know: `>>>`, where the prompt opens the first part."""


class TextPiece(Struct, frozen=True):
    text: str


class ReasoningPiece(Struct, frozen=True):
    text: str


class CallPiece(Struct, frozen=True):
    """The next piece of one call. `id` and `name` stand in its first piece only."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


Piece = TextPiece | ReasoningPiece | CallPiece


class AnswerParser(Protocol):
    """Cuts a growing text into parts. What it gives in all does not depend on how the text was split."""

    in_reasoning: bool
    """Whether the text fed so far ends inside reasoning."""

    @property
    def held(self) -> str:
        """The end of the text fed so far that has become no piece yet."""

    def feed(self, text: str) -> list[Piece]:
        """What became certain with this text."""

    def finish(self) -> list[Piece]:
        """What had been held back, once nothing more comes. A call that is not whole stays as it was told."""


class PlainParser:
    """All of it is text."""

    in_reasoning = False
    held = ""

    def feed(self, text: str) -> list[Piece]:
        return [TextPiece(text)] if text else []

    def finish(self) -> list[Piece]:
        return []


NewCallId = Callable[[], str]
