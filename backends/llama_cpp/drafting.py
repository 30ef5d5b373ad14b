"""Foretelling tokens, so that one decode can check several: the contract, and prompt lookup.

A draft is a guess and never an answer: the engine samples at every place as it would have without one and
keeps what agrees. draft_model has the other drafter; speculation decides how much is worth guessing.
"""

from typing import Protocol

from msgspec import Struct

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.ngrams import SIZES, NgramIndex


class DraftRequest(Struct):
    key: int
    """Which sequence; its own until `forget`."""
    tokens: TokenArray
    """The whole history, prompt and answer, up to the newest sampled token."""
    most: int


class Drafter(Protocol):
    @property
    def token_s(self) -> float:
        """Seconds that guessing one token further takes, for all sequences together."""

    def propose(self, wanted: list[DraftRequest]) -> list[list[int]]:
        """Up to `most` tokens each, in order; none where nothing is likely. Never raises."""

    def accepted(self, key: int, proposed: int, accepted: int) -> None:
        """What came of a proposal."""

    def forget(self, key: int) -> None:
        """The sequence has ended, or its key is to be another's."""

    def close(self) -> None: ...


class LookupDrafter:
    """Guesses that what followed the newest tokens the last time will follow again.

    It sees a sequence's own history alone. Where guesses from short runs fail, longer ones are asked for.
    """

    token_s = 0.0

    def __init__(self) -> None:
        self._texts: dict[int, _Text] = {}

    def propose(self, wanted: list[DraftRequest]) -> list[list[int]]:
        return [self._guess(request) for request in wanted]

    def accepted(self, key: int, proposed: int, accepted: int) -> None:
        text = self._texts.get(key)
        if text is not None and proposed > 0:
            step = -1 if accepted > 0 else 1
            text.shortest = min(max(text.shortest + step, SIZES[-1]), SIZES[0])

    def forget(self, key: int) -> None:
        self._texts.pop(key, None)

    def close(self) -> None:
        self._texts.clear()

    def _guess(self, request: DraftRequest) -> list[int]:
        tokens = request.tokens
        text = self._texts.get(request.key)
        if text is None or not text.index.continues(tokens):
            text = self._texts[request.key] = _Text(NgramIndex())
        text.index.extend(tokens)
        found = text.index.find(tokens, text.shortest)
        if found is None or request.most <= 0:
            return []
        end, _ = found
        followed = tokens[end : end + request.most].tolist()
        # Where it ends with the text itself, the text goes round in a circle.
        return [int(followed[i % len(followed)]) for i in range(request.most)]


class _Text(Struct):
    index: NgramIndex
    shortest: int = SIZES[-1]
