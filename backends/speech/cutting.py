"""Cuts what is to be spoken into pieces of bounded length. Pure.

Works on text and on phonemes alike: both have spaces between words and punctuation at the ends of clauses.
"""

import re
from collections.abc import Iterable, Iterator

_CLAUSE_END = re.compile(r"(?<=[,;:])\s+|(?<=[—–、，；：])\s*")
"""A comma or colon without space behind it stands in a number or a time."""
_WORD_END = re.compile(r"\s+")
_INSIDE_WORD = re.compile(r"(?<=[,;:])")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”’)\]]*\s+|(?<=[。！？])")
_INITIAL = re.compile(r"(^|[\s(])[^\W\d_]\.$")
_ABBREVIATED = re.compile(
    r"(^|[\s(])(Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|No|Nr|Hr|Fr|Sra|Mme|Mlle|Dott|Ing|bzw|ca)\.$", re.I
)


def sentences(text: str) -> list[str]:
    """The sentences of a text in any language that ends them with . ! ? or their CJK forms."""
    return [sentence for line in text.splitlines() for sentence in _of_line(line) if sentence]


def _of_line(line: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(line):
        before, after = line[start : end.start()], line[end.end() : end.end() + 1]
        if after.islower() or _INITIAL.search(before[-3:]) or _ABBREVIATED.search(before[-8:]):
            continue
        # Closing quotes that the separator took belong to the sentence.
        yield (before + end.group().rstrip()).strip()
        start = end.end()
    yield line[start:].strip()


def bounded(sentence: str, most: int) -> list[str]:
    """Pieces of at most `most` characters, cut at clauses, else between words, else anywhere.

    What is not cut stays as it is written.
    """
    pieces: list[str] = []
    for clause in _joined(_parts(_CLAUSE_END, sentence.strip()), most):
        if len(clause) <= most:
            pieces.append(clause)
        else:
            words = (part for word in _parts(_WORD_END, clause) for part in _of_word(word, most))
            pieces += _joined(words, most)
    return pieces


def _parts(end: re.Pattern[str], text: str) -> Iterator[str]:
    """A text cut behind each `end`: every part keeps the space that follows it."""
    start = 0
    for match in end.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def _of_word(word: str, most: int) -> Iterator[str]:
    """The word, or where it is too long, parts of it: in scripts without spaces it may be a whole clause."""
    if len(word.rstrip()) <= most:
        yield word
        return
    for part in _parts(_INSIDE_WORD, word):
        yield from (part[at : at + most] for at in range(0, len(part), most))


def _joined(parts: Iterable[str], most: int) -> list[str]:
    """Neighbours put together as long as they fit, with the space that is between them."""
    joined: list[str] = []
    for part in parts:
        if joined and len((joined[-1] + part).rstrip()) <= most:
            joined[-1] += part
        else:
            joined.append(part)
    return [text for text in map(str.strip, joined) if text]


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it: a voice has nothing to say of punctuation alone."""
    return any(character.isalnum() for character in text)


def is_mostly_latin(text: str) -> bool:
    """Whether at most half of its letters are of another script. Text without letters is."""
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(character < "\u0250" or "\u1e00" <= character < "\u1f00" for character in letters) >= len(
        letters
    )
