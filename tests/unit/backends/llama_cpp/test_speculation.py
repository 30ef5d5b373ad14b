"""How much is worth guessing: never less than nothing, the best there is, and rarely in vain."""

import random
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.llama_cpp.speculation import Candidate, SpeculationPolicy
from backends.llama_cpp.step_costs import StepCosts

CPU = {1: 0.010, 2: 0.018, 4: 0.025, 8: 0.039, 16: 0.070, 32: 0.135}
GPU = {1: 0.0050, 2: 0.0050, 4: 0.0051, 8: 0.0053, 16: 0.0056, 32: 0.0064, 64: 0.0080, 256: 0.0200}


def policy(costs: dict[int, float], fates: dict[int, tuple[int, int]] | None = None) -> SpeculationPolicy:
    """One that knows `costs`, and by key how many tokens it has seen proposed and accepted in each draft."""
    made = SpeculationPolicy()
    for rows, step_s in costs.items():
        made.measured(rows, step_s)
    for key, (proposed, accepted) in (fates or {}).items():
        for _ in range(40):
            made.observed(key, proposed, accepted)
    return made


def rate(
    made: SpeculationPolicy, costs: dict[int, float], rows: int, drafts: list[int], token_s: float
) -> float:
    """Tokens per second that are to be expected of drafts, by keys 0, 1 …"""
    expected = rows + sum(made.acceptance(key) ** j for key, n in enumerate(drafts) for j in range(1, n + 1))
    known = StepCosts()
    for count, step_s in costs.items():
        known.measured(count, step_s)
    step_s = known.step_s(rows + sum(drafts)) or 0.0
    return expected / (step_s + token_s * max(drafts, default=0))


def test_nothing_is_guessed_before_a_step_has_been_timed() -> None:
    assert SpeculationPolicy().decide(1, [Candidate(0, 8)]) == [0]


def test_on_a_gpu_it_begins_at_once() -> None:
    assert policy(GPU).decide(1, [Candidate(0, 8)])[0] >= 3


def test_on_a_cpu_only_good_drafts_pay() -> None:
    assert policy(CPU, {0: (4, 1)}).decide(1, [Candidate(0, 8)]) == [0]
    assert policy(CPU, {0: (8, 8)}).decide(1, [Candidate(0, 8)]) == [8]


def test_in_a_full_batch_rows_go_to_whoever_is_foretold_well() -> None:
    made = policy(GPU, {0: (4, 4), 1: (4, 0), 2: (4, 2)})
    good, bad, middling = made.decide(8, [Candidate(0, 16), Candidate(1, 16), Candidate(2, 16)])
    assert good > middling > bad


def test_a_slow_drafter_is_asked_for_less() -> None:
    made = policy(GPU, {0: (6, 5)})
    fast, slow, too_slow = (made.decide(1, [Candidate(0, 16)], token_s)[0] for token_s in (0, 0.001, 0.006))
    assert fast > slow > too_slow == 0


def test_a_drafter_that_has_nothing_to_offer_counts_as_slower() -> None:
    made = policy(GPU, {0: (6, 5)})
    before = made.decide(1, [Candidate(0, 16)], 0.0005)[0]
    for _ in range(40):
        made.observed(1, 0, 0)
    assert made.decide(1, [Candidate(0, 16)], 0.0005)[0] < before


def test_a_forgotten_sequence_is_like_any_other() -> None:
    made = policy(GPU, {0: (4, 4), 1: (4, 0)})
    assert made.acceptance(0) > made.acceptance(2) > made.acceptance(1)
    made.forget(0)
    made.forget(1)
    assert made.acceptance(0) == made.acceptance(1) == made.acceptance(2)


costs_of_steps = st.builds(
    lambda first, slopes: {
        rows: first * (1 + sum(slopes[:index])) for index, rows in enumerate((1, 2, 4, 8, 16))
    },
    st.floats(0.001, 0.1),
    st.lists(st.floats(0.0, 2.0), min_size=4, max_size=4),
)
fates = st.tuples(st.integers(1, 6), st.integers(0, 6)).map(lambda fate: (fate[0], min(fate)))


@settings(max_examples=150)
@example(
    costs={1: 0.015625, 2: 0.015625, 4: 0.015625, 8: 0.015625, 16: 0.03125},
    seen=[(1, 1), (2, 1)],
    others=2,
    room=4,
    token_s=0.002,
)
@given(
    costs=costs_of_steps,
    seen=st.lists(fates, min_size=1, max_size=2),
    others=st.integers(0, 4),
    room=st.integers(0, 4),
    token_s=st.sampled_from([0.0, 0.002]),
)
def test_a_decision_is_the_best_of_all(
    costs: dict[int, float], seen: list[tuple[int, int]], others: int, room: int, token_s: float
) -> None:
    """Compared with every other allotment; without credit there are no trials."""
    made = policy(costs, dict(enumerate(seen)))
    made._credit_s = 0.0
    rows = len(seen) + others
    allowed = made.decide(rows, [Candidate(key, room) for key in range(len(seen))], token_s)
    assert all(0 <= n <= room for n in allowed)
    every = product(range(room + 1), repeat=len(seen))
    best = max(rate(made, costs, rows, list(drafts), token_s) for drafts in every)
    plain = rate(made, costs, rows, [0] * len(seen), token_s)
    got = rate(made, costs, rows, allowed, token_s)
    assert got >= plain
    # Whatever is better by less than the margin may be left.
    assert got >= best / 1.03


class Run:
    """A machine of known costs and sequences of known habits."""

    def __init__(self, costs: dict[int, float], agrees: Callable[[int], float]) -> None:
        self.costs = StepCosts()
        for rows, step_s in costs.items():
            self.costs.measured(rows, step_s)
        self.policy = SpeculationPolicy()
        self.agrees = agrees
        self.random = random.Random(7)
        self.seconds = 0.0
        self.wasted = 0.0
        self.tokens = 0

    def step(self, keys: list[int]) -> list[int]:
        allowed = self.policy.decide(len(keys), [Candidate(key, 8) for key in keys])
        for key, proposed in zip(keys, allowed, strict=True):
            accepted = 0
            while accepted < proposed and self.random.random() < self.agrees(key):
                accepted += 1
            self.tokens += 1 + accepted
            if proposed:
                self.policy.observed(key, proposed, accepted)
        rows = len(keys) + sum(allowed)
        step_s = self.costs.step_s(rows) or 0.0
        self.policy.measured(rows, step_s)
        self.seconds += step_s
        self.wasted += step_s - (self.costs.step_s(len(keys)) or 0.0)
        return allowed


@pytest.mark.parametrize("sequences", [1, 4])
def test_drafts_that_never_agree_cost_two_percent_at_most(sequences: int) -> None:
    run = Run(CPU, lambda key: 0.0)
    drafted = 0
    for _ in range(4000):
        drafted += sum(run.step(list(range(sequences))))
    assert drafted > 0
    assert run.wasted <= 0.0201 * run.seconds


def test_a_sequence_that_is_foretold_well_is_found_out_on_a_cpu() -> None:
    run = Run(CPU, lambda key: 0.95)
    for _ in range(1500):
        run.step([0])
    assert sum(run.step([0]) != [0] for _ in range(100)) > 90
    assert run.tokens / run.seconds > 1.2 / 0.010


def test_everyone_gets_a_trial() -> None:
    run = Run(CPU, lambda key: 0.0)
    tried: set[int] = set()
    for _ in range(4000):
        tried |= {key for key, n in enumerate(run.step([0, 1, 2, 3])) if n}
    assert tried == {0, 1, 2, 3}


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 1.0), st.sampled_from([CPU, GPU]), st.integers(1, 4))
def test_speculation_never_slows_a_run_down(agrees: float, costs: dict[int, float], sequences: int) -> None:
    run = Run(costs, lambda key: agrees)
    for _ in range(400):
        run.step(list(range(sequences)))
    plain = sequences / (run.costs.step_s(sequences) or 0.0)
    assert run.tokens / run.seconds > 0.95 * plain
