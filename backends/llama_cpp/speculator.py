"""Drafts for the running sequences of a step: who may have one, how long, and what came of it.

Owns drafter and policy together. Must not touch the target's cache.
"""

from collections.abc import Sequence as Many

from backends.llama_cpp.drafting import Drafter, DraftRequest
from backends.llama_cpp.guide import GuideError
from backends.llama_cpp.sequence import Sequence
from backends.llama_cpp.speculation import Candidate, SpeculationPolicy


class Speculator:
    def __init__(self, drafter: Drafter, policy: SpeculationPolicy) -> None:
        self._drafter = drafter
        self._policy = policy
        self._allowed: list[Sequence] = []

    def draft(self, decoding: Many[Sequence], batch_room: int) -> None:
        """Give some of these sequences a draft, of `batch_room` tokens together at most."""
        self._allowed = []
        if not decoding:
            return
        # A token that the grammar or the request's end forbids is not worth guessing.
        candidates = [Candidate(_key(one), min(one.room - 1, batch_room)) for one in decoding]
        counts = self._policy.decide(len(decoding), candidates, self._drafter.token_s)
        asked = [(one, count) for one, count in zip(decoding, counts, strict=True) if count > 0]
        if not asked:
            return
        drafts = self._drafter.propose(
            [DraftRequest(_key(one), one.history[: one.length], count) for one, count in asked]
        )
        for (one, _), draft in zip(asked, drafts, strict=True):
            self._allowed.append(one)
            one.draft = draft[: min(_allowed(one, draft), batch_room)]
            batch_room -= len(one.draft)

    def judged(self, sequence: Sequence, accepted: int) -> None:
        """Of a sequence's draft so many tokens agreed."""
        if sequence in self._allowed:
            self._policy.observed(_key(sequence), len(sequence.draft), accepted)
            self._drafter.accepted(_key(sequence), len(sequence.draft), accepted)
        sequence.draft = []

    def measured(self, rows: int, step_s: float) -> None:
        """A step without prefill, all of whose rows had their logits wanted."""
        self._policy.measured(rows, step_s)

    def forget(self, sequence: Sequence) -> None:
        self._policy.forget(_key(sequence))
        self._drafter.forget(_key(sequence))

    def close(self) -> None:
        self._drafter.close()


def _allowed(sequence: Sequence, draft: list[int]) -> int:
    """How much of it the grammar lets pass. One that has broken says so again at the next token."""
    if sequence.guide is None or not draft:
        return len(draft)
    try:
        return sequence.guide.allowed(draft)
    except GuideError:
        return 0


def _key(sequence: Sequence) -> int:
    return id(sequence)
