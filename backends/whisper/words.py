"""Word times from the model's alignment of text and sound.

Pure. Times are seconds from the window's beginning; the alignment pairs text tokens with moments of 20 ms.
"""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

_MOMENT_S = 0.02
_OPENING = "\"'“¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"
_TYPICAL_S = 0.7
"""No typical word is longer."""


class Word(Struct, frozen=True):
    text: str
    start_s: float
    end_s: float
    probability: float


def timed(
    words: Sequence[tuple[str, int]],
    alignment: Sequence[tuple[int, int]],
    probabilities: Sequence[float],
    first: int,
) -> list[Word]:
    """The words of one segment, each with its number of tokens, that begin at text token `first`."""
    starts = _starts(alignment, len(probabilities))
    result: list[Word] = []
    for text, count in words:
        own = probabilities[first : first + count]
        if count and own:
            start_s, end_s = starts[first] * _MOMENT_S, starts[first + count] * _MOMENT_S
            result.append(Word(text, start_s, max(start_s, end_s), sum(own) / len(own)))
        first += count
    return _bounded(_joined(result))


def _starts(alignment: Sequence[tuple[int, int]], tokens: int) -> list[int]:
    """The moment at which each token begins, and the one after the last ends."""
    starts = [0] * (tokens + 2)
    seen = -1
    last = 0
    for token, moment in alignment:
        if token > seen:
            starts[seen + 1 : token + 1] = [moment] * (token - seen)
            seen = token
        last = moment
    starts[seen + 1 :] = [last] * (len(starts) - seen - 1)
    return starts


def _joined(words: Sequence[Word]) -> list[Word]:
    """Punctuation goes with the word that it stands at."""
    result: list[Word] = []
    opening: Word | None = None
    for word in words:
        mark = word.text.strip()
        if mark and all(c in _CLOSING for c in mark) and result and not word.text.startswith(" "):
            before = result[-1]
            result[-1] = Word(before.text + word.text, before.start_s, before.end_s, before.probability)
        elif mark and all(c in _OPENING for c in mark) and word.text.startswith(" "):
            opening = word if opening is None else _together(opening, word)
        else:
            result.append(word if opening is None else _after(opening, word))
            opening = None
    return result if opening is None else [*result, opening]


def _together(mark: Word, more: Word) -> Word:
    """Opening marks in a row. No word may follow them, so their times must hold by themselves."""
    return Word(mark.text + more.text, mark.start_s, more.end_s, more.probability)


def _after(opening: Word, word: Word) -> Word:
    return Word(opening.text + word.text, word.start_s, word.end_s, word.probability)


def _bounded(words: Sequence[Word]) -> list[Word]:
    """A word beside a pause is given some of the pause: it gets no more than twice a word's usual time."""
    lengths = [word.end_s - word.start_s for word in words if word.end_s > word.start_s]
    if not lengths:
        return list(words)
    most = 2 * min(_TYPICAL_S, median(lengths))
    result = list(words)
    if result[0].end_s - result[0].start_s > most:
        word = result[0]
        result[0] = Word(word.text, word.end_s - most, word.end_s, word.probability)
    if result[-1].end_s - result[-1].start_s > most:
        word = result[-1]
        result[-1] = Word(word.text, word.start_s, word.start_s + most, word.probability)
    return result
