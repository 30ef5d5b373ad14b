"""When a window is heard again, and which of its hearings counts.

Pure. The thresholds are Whisper's own: a text that repeats itself, or one that the model itself finds
unlikely, is tried again; first in the model's full window, where it was heard in a shorter one, then at
higher temperatures. There are few temperatures, so that noise cannot take long.
"""

import zlib
from collections.abc import Sequence

from msgspec import Struct

COMPRESSION_RATIO = 2.4
"""Above it a text repeats itself."""
AVERAGE_LOGPROB = -1.0
"""Below it the model does not believe in its text."""
SURE_LOGPROB = -0.8
"""Below it what was heard in a short window does not count: the full window gives other texts there."""
SURE_COMPRESSION_RATIO = 1.8
"""Above it a short window has most likely made the model write a sentence twice. Measured: what fills 20 s
stays below 1.6, a sentence that was said once and written twice has 2.2."""
NO_SPEECH = 0.6
"""Above it, and with a text that the model does not believe in, nobody was speaking. Alone it says little:
it is 0.9 of clear speech that repeats its sentences."""


class Attempt(Struct, frozen=True):
    temperature: float
    full: bool
    """In the model's full window of 30 s, whatever the length of the sound."""


class Score(Struct, frozen=True):
    average_logprob: float
    compression_ratio: float
    no_speech: float

    @property
    def silent(self) -> bool:
        return self.no_speech > NO_SPEECH and self.average_logprob < AVERAGE_LOGPROB

    @property
    def repeats(self) -> bool:
        return self.compression_ratio > COMPRESSION_RATIO

    @property
    def sure(self) -> bool:
        likely = self.average_logprob >= SURE_LOGPROB and not self.silent
        return likely and self.compression_ratio <= SURE_COMPRESSION_RATIO

    @property
    def good(self) -> bool:
        return self.silent or not (self.repeats or self.average_logprob < AVERAGE_LOGPROB)


def attempts(temperature: float | None, ladder: Sequence[float], short: bool) -> list[Attempt]:
    """What is tried in turn. A request's own temperature above 0 is the only one; 0 and None are greedy,
    and `ladder` follows. `short`: the first hearing is in less than the full window."""
    first, *others = [temperature] if temperature else ladder
    tries = [Attempt(first, full=not short)]
    if short:
        tries.append(Attempt(first, full=True))
    return tries + [Attempt(other, full=True) for other in others]


def enough(attempt: Attempt, score: Score) -> bool:
    """True where no further hearing is needed. Of a short window only a text that the model is sure of
    counts; that nobody speaks, or something unlikely or said twice, only the full window can say."""
    return score.good and (attempt.full or score.sure)


def best(scores: Sequence[Score]) -> int:
    """Which of the hearings counts: the last if it ended the search, else the likeliest unrepetitive."""
    if scores[-1].good:
        return len(scores) - 1
    fluent = [index for index, score in enumerate(scores) if not score.repeats]
    return max(fluent or range(len(scores)), key=lambda index: scores[index].average_logprob)


def compression_ratio(text: str) -> float:
    """Bytes of the text to its bytes when compressed: the more it repeats itself, the higher."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
