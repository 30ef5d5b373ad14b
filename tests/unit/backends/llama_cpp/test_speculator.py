"""Who gets a draft, how long it is, and who hears what came of it."""

from typing import Any

from backends.llama_cpp.drafting import DraftRequest
from backends.llama_cpp.guide import GuideError
from backends.llama_cpp.sequence import Sequence
from backends.llama_cpp.speculation import Candidate
from backends.llama_cpp.speculator import Speculator
from tests.unit.backends.llama_cpp.sequences import sequence


class FakeDrafter:
    token_s = 0.25

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.asked: list[tuple[list[int], int]] = []

    def propose(self, wanted: list[DraftRequest]) -> list[list[int]]:
        self.asked += [(request.tokens.tolist(), request.most) for request in wanted]
        return [list(range(1, request.most + 1)) for request in wanted]

    def accepted(self, key: int, proposed: int, accepted: int) -> None:
        self.calls.append(("accepted", key, proposed, accepted))

    def forget(self, key: int) -> None:
        self.calls.append(("forget", key))

    def close(self) -> None:
        self.calls.append(("close",))


class FakePolicy:
    """Grants each what it wants, up to a list's numbers."""

    def __init__(self, grants: list[int]) -> None:
        self.grants = grants
        self.calls: list[tuple[Any, ...]] = []

    def decide(self, rows: int, candidates: list[Candidate], token_s: float) -> list[int]:
        self.calls.append(("decide", rows, [candidate.most for candidate in candidates], token_s))
        return [min(grant, candidate.most) for grant, candidate in zip(self.grants, candidates, strict=True)]

    def observed(self, key: int, proposed: int, accepted: int) -> None:
        self.calls.append(("observed", key, proposed, accepted))

    def measured(self, rows: int, step_s: float) -> None:
        self.calls.append(("measured", rows, step_s))

    def forget(self, key: int) -> None:
        self.calls.append(("forget", key))


class FakeGuide:
    def __init__(self, allows: int) -> None:
        self._allows = allows

    def allowed(self, tokens: list[int]) -> int:
        if self._allows < 0:
            raise GuideError("broken")
        return self._allows


def speculator(*grants: int) -> tuple[Speculator, FakeDrafter, FakePolicy]:
    drafter, policy = FakeDrafter(), FakePolicy(list(grants))
    return Speculator(drafter, policy), drafter, policy  # type: ignore[arg-type]


def lengths(*sequences: Sequence) -> list[int]:
    return [len(one.draft) for one in sequences]


def test_only_those_who_may_are_asked_for() -> None:
    made, drafter, policy = speculator(4, 0, 2)
    rows = [sequence([index] * 3) for index in range(3)]
    made.draft(rows, 100)
    assert lengths(*rows) == [4, 0, 2]
    assert drafter.asked == [([0] * 3, 4), ([2] * 3, 2)]
    assert policy.calls == [("decide", 3, [49, 49, 49], 0.25)]


def test_nobody_is_asked_where_nothing_decodes() -> None:
    made, drafter, policy = speculator()
    made.draft([], 100)
    assert (drafter.asked, policy.calls) == ([], [])


def test_a_draft_ends_before_the_answers_last_token() -> None:
    made, _, _ = speculator(9, 9)
    near, last = sequence([1], 4), sequence([2], 1)
    made.draft([near, last], 100)
    assert lengths(near, last) == [3, 0]


def test_all_drafts_together_fit_the_room() -> None:
    made, _, _ = speculator(4, 4, 4)
    rows = [sequence([index]) for index in range(3)]
    made.draft(rows, 6)
    assert lengths(*rows) == [4, 2, 0]
    made.draft(rows, 0)
    assert lengths(*rows) == [4, 2, 0], "no room: nobody is asked, what there was is the engine's to clear"


def test_a_grammar_cuts_a_draft_and_a_broken_one_takes_it_away() -> None:
    made, _, _ = speculator(5, 5)
    bound, broken = sequence([1], guide=FakeGuide(2)), sequence([2], guide=FakeGuide(-1))
    made.draft([bound, broken], 100)
    assert lengths(bound, broken) == [2, 0]


def test_what_agreed_is_told_of_those_who_were_allowed_a_draft() -> None:
    made, drafter, policy = speculator(3, 0)
    drafted, plain = sequence([1]), sequence([2])
    made.draft([drafted, plain], 100)
    made.judged(drafted, 2)
    made.judged(plain, 0)
    assert policy.calls[1:] == [("observed", id(drafted), 3, 2)]
    assert drafter.calls == [("accepted", id(drafted), 3, 2)]
    assert lengths(drafted) == [0]


def test_the_ended_are_forgotten_and_the_drafter_is_closed() -> None:
    made, drafter, policy = speculator()
    one = sequence([1])
    made.measured(3, 0.5)
    made.forget(one)
    made.close()
    assert policy.calls == [("measured", 3, 0.5), ("forget", id(one))]
    assert drafter.calls == [("forget", id(one)), ("close",)]
