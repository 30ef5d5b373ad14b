"""The planner's decisions, one rule a test, and what must hold of every plan."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.planner import CostModel, Limits, Plan, plan

LIMITS = Limits(cells=1000, sequences=4, batch_tokens=64)


@dataclass
class R:
    length: int
    held: int = 0

    @property
    def answering(self) -> bool:
        return self.length - self.held == 1


def decoding(length: int) -> R:
    return R(length, length - 1)


def test_running_sequences_decode_first_then_prompts_share_the_budget() -> None:
    got = plan([decoding(10), R(30, 5), R(40)], [], LIMITS, prefill_tokens=40)
    assert got == Plan(preempt=[], decode=[0], prefill=[(1, 25), (2, 15)], admit=0)


def test_decode_rows_count_against_the_batch() -> None:
    got = plan([decoding(10), decoding(20), R(500)], [], LIMITS, prefill_tokens=1000)
    assert got.prefill == [(2, 62)]


def test_waiting_sequences_join_in_order_while_budget_lasts() -> None:
    got = plan([decoding(10)], [R(8), R(8), R(8)], LIMITS, prefill_tokens=12)
    assert got == Plan(preempt=[], decode=[0], prefill=[(1, 8), (2, 4)], admit=2)


def test_no_more_sequences_than_there_are_places() -> None:
    got = plan([decoding(10)] * 3, [R(8), R(8)], LIMITS, prefill_tokens=64)
    assert got.admit == 1


def test_admission_counts_cells_really_used_and_leaves_headroom() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64, headroom=16)
    assert plan([decoding(40)], [R(28)], limits, 64).admit == 1
    assert plan([decoding(40)], [R(29)], limits, 64).admit == 0


def test_nobody_overtakes_one_that_does_not_fit() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64, headroom=0)
    assert plan([decoding(40)], [R(70), R(5)], limits, 64).admit == 0


def test_alone_a_sequence_may_fill_the_whole_cache() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64, headroom=16)
    assert plan([], [R(100)], limits, 64).prefill == [(0, 64)]


def test_the_youngest_steps_back_when_the_cache_is_full() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64)
    got = plan([decoding(50), decoding(40), decoding(11)], [R(1)], limits, 64)
    assert got == Plan(preempt=[2], decode=[0, 1], prefill=[], admit=0)


def test_the_last_one_is_never_preempted() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64)
    assert plan([decoding(101)], [], limits, 64).decode == [0]


_ROWS = st.lists(
    st.integers(1, 80).flatmap(lambda n: st.builds(R, st.just(n), st.integers(0, n - 1))), max_size=8
)
_FRESH = st.lists(st.builds(R, st.integers(1, 80)), max_size=8)


@given(_ROWS, _FRESH, st.integers(1, 100), st.integers(90, 300))
def test_every_plan_fits_batch_places_and_cells(
    running: list[R], waiting: list[R], budget: int, cells: int
) -> None:
    limits = Limits(cells=cells, sequences=8, batch_tokens=32)
    got = plan(running, waiting, limits, budget)
    members = running[: len(running) - len(got.preempt)] + waiting[: got.admit]
    steps = {**dict.fromkeys(got.decode, 1), **dict(got.prefill)}
    assert len(steps) == len(got.decode) + len(got.prefill)
    assert sum(steps.values()) <= limits.batch_tokens
    assert len(members) <= limits.sequences
    assert len(members) <= 1 or sum(row.length for row in members) <= cells
    assert all(0 < n <= members[i].length - members[i].held for i, n in steps.items())
    assert bool(members) == bool(steps), "work that is there moves on"


def test_a_cost_model_bounds_prefill_by_what_steps_took() -> None:
    costs = CostModel()
    costs.measured(0.020, decode_rows=4, prefill_tokens=0)
    costs.measured(0.220, decode_rows=4, prefill_tokens=100)
    assert costs.prefill_tokens(0.150, decode_rows=4) == 65
    assert costs.prefill_tokens(1.0, decode_rows=0) == 500


def test_a_cost_model_lets_prefill_move_on_however_slow_it_is() -> None:
    costs = CostModel()
    assert costs.prefill_tokens(0.150, decode_rows=1) == 16
    costs.measured(5.0, decode_rows=0, prefill_tokens=16)
    assert costs.prefill_tokens(0.150, decode_rows=1) == 16


def test_a_cost_model_follows_a_machine_that_gets_slower() -> None:
    costs = CostModel()
    costs.measured(0.1, decode_rows=0, prefill_tokens=100)
    for _ in range(40):
        costs.measured(0.2, decode_rows=0, prefill_tokens=100)
    assert 490 <= costs.prefill_tokens(1.0, decode_rows=0) <= 510
