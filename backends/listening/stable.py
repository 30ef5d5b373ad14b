"""Text that grows while one still speaks, and is never taken back. Pure.

A recogniser changes its mind about the last words as more is heard. What two successive hypotheses agree on
from the beginning is taken for settled (local agreement: Liu et al. 2020, Machacek et al. 2023). The final
text keeps what has gone out, and goes on after the words that this stands for.
"""

import re
from collections.abc import Sequence

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")


def words(text: str) -> list[str]:
    """Words with the space in front of them, or characters where there are no spaces; joined, the text."""
    return _WORD.findall(text.rstrip())


class StableText:
    """Of one turn."""

    def __init__(self) -> None:
        self.said = ""
        """What has gone out."""
        self._before: list[str] = []
        """Words of the last hypothesis."""

    def hear(self, hypothesis: str) -> str:
        """What is certain now and was not before: nothing, or whole words."""
        heard = words(hypothesis.strip())
        agreed = 0
        for one, other in zip(heard, self._before, strict=False):
            if one != other:
                break
            agreed += 1
        self._before = heard
        # The last word may still grow: it is settled once another follows it.
        text = "".join(heard[: min(agreed, len(heard) - 1)])
        if len(text) <= len(self.said) or not text.startswith(self.said):
            return ""
        piece = text[len(self.said) :]
        self.said = text
        return piece

    def finish(self, text: str) -> str:
        """The whole text, given the one that the recogniser ends with."""
        text = text.strip()
        if text.startswith(self.said):
            return text
        final = words(text)
        rest = "".join(final[_aligned(_plain(words(self.said)), _plain(final)) :])
        if rest and not rest[0].isspace() and not re.match(f"[{_UNSPACED}]", rest):
            rest = " " + rest
        return self.said + rest


def _plain(spelled: Sequence[str]) -> list[str]:
    """Words without case and punctuation."""
    return ["".join(filter(str.isalnum, word)).casefold() for word in spelled]


def _aligned(said: Sequence[str], final: Sequence[str]) -> int:
    """How many words of `final` best stand for `said`: the prefix with the least edit distance to it."""
    row = list(range(len(final) + 1))
    for i, word in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(final, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other)))
    return min(range(len(row)), key=lambda j: (row[j], abs(j - len(said))))
