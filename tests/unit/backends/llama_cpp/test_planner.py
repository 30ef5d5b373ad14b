"""The planner's decisions, one rule a test, and what must hold of every plan."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.planner import CostModel, Limits, Plan, plan, plan_apart

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


def test_cells_that_others_hold_already_are_counted_once() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64, headroom=0)
    rows = [decoding(80), decoding(80)]
    assert plan(rows, [], limits, 64).preempt == [1]
    assert plan(rows, [], limits, 64, cells=[80, 20]).preempt == []
    assert plan(rows, [], limits, 64, cells=[80, 21]).preempt == [1]
    assert plan(rows, [R(5)], limits, 64, cells=[80, 15]).admit == 1
    assert plan(rows, [R(6)], limits, 64, cells=[80, 15]).admit == 0


def test_those_whose_turn_it_is_not_take_no_part_but_keep_their_cells() -> None:
    limits = Limits(cells=100, sequences=4, batch_tokens=64, headroom=0)
    rows = [decoding(30), decoding(30), R(30, 5)]
    got = plan(rows, [R(10)], limits, 64, stepping=[False, True, False])
    assert got == Plan(preempt=[], decode=[1], prefill=[(3, 10)], admit=1)
    assert plan(rows, [R(11)], limits, 64, stepping=[False, True, False]).admit == 0


def test_forced_tokens_are_rows_of_the_batch() -> None:
    @dataclass
    class Forced(R):
        answering = True

    limits = Limits(cells=1000, sequences=4, batch_tokens=8)
    got = plan([Forced(20, 15), Forced(20, 16), decoding(9), R(50)], [], limits, 64)
    assert got == Plan(preempt=[], decode=[0, 2], prefill=[(3, 2)], admit=0)


def test_apart_prompts_come_first_and_one_at_a_time() -> None:
    rows = [decoding(9), R(50), R(60)]
    assert plan_apart(rows, [R(5)], LIMITS, 16) == Plan([], [], [(1, 16)], 0)


def test_apart_prompts_are_cut_at_the_same_places_wherever_they_begin() -> None:
    assert plan_apart([R(50, 20)], [], LIMITS, 16).prefill == [(0, 12)]
    assert plan_apart([R(50, 48)], [], LIMITS, 16).prefill == [(0, 2)]


def test_apart_one_joins_where_there_is_a_place() -> None:
    assert plan_apart([decoding(9)], [R(5), R(6)], LIMITS, 16) == Plan([], [], [(1, 5)], 1)
    assert plan_apart([decoding(9)] * 4, [R(5)], LIMITS, 16) == Plan([], [0, 1, 2, 3], [], 0)


def test_apart_only_those_whose_turn_it_is_take_part() -> None:
    rows = [decoding(9), R(50), decoding(9)]
    assert plan_apart(rows, [], LIMITS, 16, stepping=[True, False, True]).decode == [0, 2]
    assert plan_apart(rows, [], LIMITS, 16, stepping=[True, True, False]).prefill == [(1, 16)]


@given(_ROWS, _FRESH, st.integers(1, 40))
def test_apart_every_plan_is_one_piece_or_answers_only(
    running: list[R], waiting: list[R], chunk: int
) -> None:
    got = plan_apart(running, waiting, Limits(1000, 8, 32), chunk)
    members = running + waiting[: got.admit]
    assert not got.preempt
    assert len(got.prefill) + bool(got.decode) <= 1
    assert all(members[index].answering for index in got.decode)
    for index, tokens in got.prefill:
        held = members[index].held
        assert 0 < tokens <= members[index].length - held
        assert held // chunk == (held + tokens - 1) // chunk
    assert bool(members) == bool(got.prefill or got.decode)


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
