"""A place in a source text that moves on as the text is read. Must not know what is being read."""


class Scanner:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def _peek(self, ahead: int = 0) -> str:
        """The next character, or the one so many after it; empty at the end."""
        return self._source[self._at + ahead : self._at + ahead + 1]

    def _take(self, sign: str) -> bool:
        """Move on if this character is next."""
        if self._peek() == sign:
            self._at += 1
            return True
        return False
