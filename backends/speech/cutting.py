"""Cuts what is to be spoken into pieces of bounded length. Pure.

Works on text and on phonemes alike: both have spaces between words and punctuation at the ends of clauses.
"""

import re
from collections.abc import Iterator

_CLAUSE_END = re.compile(r"(?<=[,;:—–、，；：])\s*")
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
    """Pieces of at most `most` characters, cut at clauses, else between words, else anywhere."""
    pieces: list[str] = []
    for clause in _joined(_CLAUSE_END.split(sentence), most):
        if len(clause) <= most:
            pieces.append(clause)
        else:
            words = [word[at : at + most] for word in clause.split() for at in range(0, len(word), most)]
            pieces += _joined(words, most)
    return pieces


def _joined(parts: list[str], most: int) -> list[str]:
    """Neighbours put together as long as they fit."""
    joined: list[str] = []
    for part in filter(None, (part.strip() for part in parts)):
        if joined and len(joined[-1]) + 1 + len(part) <= most:
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    return joined


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it: a voice has nothing to say of punctuation alone."""
    return any(character.isalnum() for character in text)


def is_mostly_latin(text: str) -> bool:
    """Whether at most half of its letters are of another script. Text without letters is."""
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(character < "\u0250" or "\u1e00" <= character < "\u1f00" for character in letters) >= len(
        letters
    )
