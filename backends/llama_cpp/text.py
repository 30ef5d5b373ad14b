"""From token bytes to text that may be shown: whole characters, and nothing that may yet be a stop string.

Pure: no model, no clock. The text does not depend on how the bytes were cut into tokens.
"""

import codecs
from collections.abc import Sequence


class StopMatcher:
    """Finds one stop string in a text that comes character by character (Knuth, Morris and Pratt)."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.matched = 0
        """Length of the longest end of the text so far that begins the stop string."""
        self._fallback = _fallbacks(stop)

    def feed(self, character: str) -> bool:
        """True once the stop string is complete; not to be fed after that."""
        while self.matched and self.stop[self.matched] != character:
            self.matched = self._fallback[self.matched - 1]
        if self.stop[self.matched] == character:
            self.matched += 1
        return self.matched == len(self.stop)


class TextAssembler:
    """Collects one generation's text. The stop string that completes first ends it and is left out."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matchers = [StopMatcher(stop) for stop in stops if stop]
        self.held = ""
        """What may yet be a stop string."""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Text that became certain with these bytes."""
        text = self._decoder.decode(data)
        if not self._matchers or not text:
            return text
        text = self.held + text
        for index in range(len(self.held), len(text)):
            complete = [len(matcher.stop) for matcher in self._matchers if matcher.feed(text[index])]
            if complete:
                self.stopped = True
                self.held = ""
                return text[: index + 1 - max(complete)]
        keep = max(matcher.matched for matcher in self._matchers)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @property
    def held_bytes(self) -> int:
        """How many of the last bytes have become no text yet."""
        return len(self.held.encode()) + len(self._decoder.getstate()[0])

    def finish(self) -> str:
        """What was held back, once nothing more comes. Bytes of an unfinished character are dropped."""
        held, self.held = self.held, ""
        return held


def _fallbacks(stop: str) -> list[int]:
    """For each length, the longest proper beginning of `stop` that also ends there."""
    table = [0] * len(stop)
    length = 0
    for index in range(1, len(stop)):
        while length and stop[index] != stop[length]:
            length = table[length - 1]
        if stop[index] == stop[length]:
            length += 1
        table[index] = length
    return table
