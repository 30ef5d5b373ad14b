"""What a parser has made certain: text without the space around calls, and calls that were announced.

Owns the order and the numbering of pieces.
"""

from backends.chat.answer import CallPiece, NewCallId, Piece, TextPiece
from backends.chat.incoming import Incoming, NotExpected


class Told:
    """Collects pieces until they are taken."""

    def __init__(self, new_call_id: NewCallId) -> None:
        self._new_call_id = new_call_id
        self._pieces: list[Piece] = []
        self.space = ""
        """White space that belongs to the text unless a call follows."""
        self.after_call = False
        """Nothing but white space has come since a call."""
        self._calls = 0

    def text(self, text: str) -> None:
        if self.after_call:
            text = text.lstrip()
        if not text:
            return
        body = text.rstrip()
        if body:
            self._pieces.append(TextPiece(self.space + body))
            self.space = text[len(body) :]
            self.after_call = False
        else:
            self.space += text

    def call(self, name: str) -> None:
        """A call begins, and the arguments that follow are its own."""
        self._pieces.append(CallPiece(self._calls, id=self._new_call_id(), name=name))
        self._calls += 1
        self.space = ""
        self.after_call = True

    def arguments(self, text: str) -> None:
        self._pieces.append(CallPiece(self._calls - 1, text))

    def take(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        if self.space:
            self._pieces.append(TextPiece(self.space))
            self.space = ""


class OpenCall:
    """One call being read. It is announced once its name is known and its arguments begin, or it ends."""

    def __init__(self, incoming: Incoming, told: Told) -> None:
        self._incoming = incoming
        self._told = told
        self._name = ""
        self._early: list[str] = []
        """Arguments that came before the name."""
        self.has_arguments = False
        self.announced = False

    def named(self, name: str) -> None:
        self._name = self._name or name
        if self._early:
            self._announce()

    def arguments(self, text: str) -> None:
        self.has_arguments = True
        if self._name:
            self._announce()
            self._told.arguments(text)
        else:
            self._early.append(text)

    def close(self) -> None:
        """The call is whole. No arguments are an empty object."""
        self._announce()
        if not self.has_arguments:
            self._told.arguments("{}")

    def _announce(self) -> None:
        if not self._name:
            raise NotExpected
        if not self.announced:
            self.announced = True
            self._told.call(self._name)
            for text in self._early:
                self._told.arguments(text)
        self._incoming.settle()
