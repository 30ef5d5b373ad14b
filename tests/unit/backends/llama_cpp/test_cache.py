"""Who gets which id and what of older prompts; after every step what is held is exactly what was computed."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.cache import Cache, Holder, Move
from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.state_files import Data


def array(tokens: list[int]) -> TokenArray:
    return np.array(tokens, dtype=np.int32)


class FakeContext:
    """Records what it is told, and holds tokens; a state is the tokens as bytes."""

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {}
        self.calls: list[tuple[object, ...]] = []
        self.restores = True
        self.cuts = True

    def copy(self, source: int, target: int, end: int = -1) -> None:
        assert not self.held.get(target)
        self.calls.append(("copy", source, target, end))
        self.held[target] = self.held[source][: end if end >= 0 else None]

    def remove(self, seq_id: int, start: int = 0) -> bool:
        if start and not self.cuts:
            return False
        self.held[seq_id] = self.held.get(seq_id, [])[:start]
        return True

    def state(self, seq_id: int) -> memoryview:
        return memoryview(array(self.held[seq_id]).tobytes())

    def restore(self, seq_id: int, data: Data) -> bool:
        assert not self.held.get(seq_id)
        self.calls.append(("restore", seq_id))
        if self.restores:
            self.held[seq_id] = np.frombuffer(data, dtype=np.int32).tolist()
        return self.restores


@dataclass
class Bench:
    """A cache, its context and those that run in it."""

    size: int = 1000
    sequences: int = 2
    kept: int = 2
    partitioned: bool = False
    copies: bool = False
    saved: SavedStates | None = None
    running: list[Holder] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = FakeContext()
        self.cache = Cache(
            self.context,
            size=self.size,
            sequences=self.sequences,
            kept=self.kept,
            partitioned=self.partitioned,
            copies=self.copies,
            saved=self.saved,
        )

    def join(self, prompt: list[int], key: str = "", *, compute: bool = True) -> tuple[Holder, int]:
        """A running sequence that has computed its prompt, and how much of it was there."""
        seq_id, held = self.cache.join(array(prompt), key, self.running)
        assert self.context.held.get(seq_id, []) == prompt[:held]
        assert held < len(prompt)
        holder = Holder(seq_id, array(prompt[:held]), key)
        self.running.append(holder)
        if compute:
            self.compute(holder, prompt[held:])
        return holder, held

    def compute(self, holder: Holder, tokens: list[int]) -> None:
        self.cache.make_room(len(tokens))
        self.context.held.setdefault(holder.seq_id, []).extend(tokens)
        self.cache.grow(holder.seq_id, len(tokens))
        holder.tokens = array([*holder.tokens.tolist(), *tokens])

    def leave(self, holder: Holder, *, keep: bool = True) -> None:
        self.running.remove(holder)
        self.cache.leave(holder, keep=keep)

    def compact(self) -> list[Move]:
        moves = self.cache.compact()
        for move in moves:
            next(one for one in self.running if one.seq_id == move.source).seq_id = move.target
        return moves

    def check(self) -> None:
        for holder in self.running:
            assert self.context.held.get(holder.seq_id, []) == holder.tokens.tolist()
            assert self.cache.cells.length(holder.seq_id) == len(holder.tokens)
        held = {seq_id: len(tokens) for seq_id, tokens in self.context.held.items() if tokens}
        assert held == {seq_id: self.cache.cells.length(seq_id) for seq_id in self.cache.cells.holders()}
        assert len({holder.seq_id for holder in self.running}) == len(self.running)


LONG = list(range(100))


def test_a_new_sequence_takes_the_lowest_id_and_computes_everything() -> None:
    bench = Bench()
    assert [bench.join(LONG)[0].seq_id, bench.join([1, 2])[0].seq_id] == [0, 1]


def test_one_that_goes_on_where_another_ended_takes_its_place() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG)[0])
    holder, held = bench.join([*LONG, 7])
    assert (holder.seq_id, held) == (0, 100)
    assert bench.context.calls == []
    assert bench.cache.kept_cells == 0


def test_one_that_turns_off_earlier_shares_and_the_ended_one_stays() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG)[0])
    holder, held = bench.join([*LONG[:50], 7])
    assert (holder.seq_id, held) == (1, 50)
    assert bench.context.calls == [("copy", 0, 1, 50)]
    assert bench.cache.cells.total == 101
    assert bench.cache.kept_cells == 50


def test_a_running_one_shares_what_it_has_computed() -> None:
    bench = Bench()
    bench.join(LONG)
    assert bench.join(LONG)[1] == 99, "the last token is left to be computed"


def test_few_tokens_in_common_are_not_worth_it() -> None:
    bench = Bench()
    bench.join(LONG)
    assert bench.join([*LONG[:7], 200])[1] == 0


def test_other_adapters_share_nothing() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG, "a")[0])
    assert bench.cache.reusable(array(LONG), "", bench.running) == 0
    assert bench.join(LONG, "b")[1] == 0
    assert bench.join(LONG, "a")[1] == 99


def test_what_is_reusable_is_what_joining_reuses() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG)[0])
    prompt = [*LONG[:60], 300]
    assert bench.cache.reusable(array(prompt), "", []) == 60 == bench.join(prompt)[1]


def test_without_kept_sequences_nothing_is_shared() -> None:
    bench = Bench(kept=0)
    bench.join(LONG)
    assert not bench.cache.shares
    assert bench.join(LONG)[1] == 0


def test_the_one_used_least_recently_goes_first() -> None:
    bench = Bench()
    prompts = [[index] * 20 for index in range(3)]
    for prompt in prompts[:2]:
        bench.leave(bench.join(prompt)[0])
    bench.leave(bench.join([*prompts[0][:15], 9])[0])  # uses the first, and is a third
    kept = [bench.cache.reusable(array(prompt), "", []) for prompt in prompts]
    assert kept == [19, 0, 0]


def test_what_says_nothing_new_is_not_kept() -> None:
    bench = Bench()
    long, _ = bench.join(LONG)
    short, _ = bench.join(LONG[:60])
    bench.leave(long)
    bench.leave(short)
    other, _ = bench.join([500] * 20)
    bench.leave(other)
    assert bench.cache.reusable(array(LONG), "", []) == 99
    assert bench.cache.kept_cells == 120


def test_one_that_says_more_replaces_the_one_that_says_less() -> None:
    bench = Bench()
    first, _ = bench.join(LONG[:60])
    second, _ = bench.join(LONG)
    bench.leave(first)
    bench.leave(second)
    assert bench.cache.kept_cells == bench.cache.cells.total == 100


def test_who_must_not_be_kept_or_has_too_little_leaves_nothing() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG)[0], keep=False)
    bench.leave(bench.join(LONG[:7])[0])
    assert bench.cache.cells.total == 0


def test_room_is_made_of_what_has_ended_and_of_nothing_else() -> None:
    bench = Bench(size=130)
    bench.leave(bench.join([1] * 40)[0])
    bench.leave(bench.join([2] * 40)[0])
    bench.join([3] * 45)
    assert bench.cache.kept_cells == 80
    bench.cache.make_room(6)
    assert bench.cache.kept_cells == 40
    bench.cache.make_room(200)
    assert bench.cache.cells.total == 45
    assert not bench.cache.give_up_all()


def test_everything_that_has_ended_can_be_given_up() -> None:
    bench = Bench()
    bench.leave(bench.join(LONG)[0])
    assert bench.cache.give_up_all()
    assert bench.cache.cells.total == 0


def test_a_cache_that_only_knows_whole_sequences_forgets_all_of_one() -> None:
    bench = Bench()
    holder, _ = bench.join(LONG)
    bench.context.cuts = False
    assert not bench.cache.cut(holder.seq_id, 50, 50)
    assert bench.cache.cells.total == 0
    assert bench.context.held[holder.seq_id] == []


# --- saved states ----------------------------------------------------------------------------------------


def saved() -> SavedStates:
    return SavedStates(host_bytes=1_000_000)


def test_what_is_given_up_comes_back_from_its_saved_state() -> None:
    bench = Bench(saved=saved())
    bench.leave(bench.join(LONG)[0])
    bench.cache.give_up_all()
    holder, held = bench.join([*LONG[:90], 7, 8])
    assert held == 90
    bench.check()
    assert bench.context.calls == [("restore", holder.seq_id)]


def test_short_ones_are_not_saved() -> None:
    bench = Bench(saved=saved())
    bench.leave(bench.join(LONG[:60])[0])
    bench.cache.give_up_all()
    assert bench.join(LONG)[1] == 0


def test_closing_saves_what_is_kept() -> None:
    class Recording(SavedStates):
        def put(self, key: str, tokens: TokenArray, data: Data) -> None:
            puts.append((key, tokens.tolist()))

    puts: list[tuple[str, list[int]]] = []
    bench = Bench(saved=Recording(host_bytes=1000))
    bench.leave(bench.join(LONG, "a")[0])
    bench.cache.close()
    bench.cache.close()
    assert puts == [("a", LONG)]


def test_a_state_that_the_library_refuses_costs_nothing() -> None:
    bench = Bench(saved=saved())
    bench.leave(bench.join(LONG)[0])
    bench.cache.give_up_all()
    bench.context.restores = False
    assert bench.join(LONG)[1] == 0
    bench.check()


def test_what_was_given_up_for_a_state_in_vain_is_not_taken_for_a_source() -> None:
    bench = Bench(size=150, saved=saved())
    bench.leave(bench.join(LONG)[0])
    bench.cache.give_up_all()
    bench.leave(bench.join([*LONG[:20], 400])[0])  # shares less with the next than the saved state has
    bench.cache.give_up_all()
    bench.context.restores = False
    bench.leave(bench.join([*LONG[:20], 500])[0])
    bench.join([300] * 60)
    assert bench.join(LONG)[1] == 0
    bench.check()


# --- cells of one's own ----------------------------------------------------------------------------------


def test_partitioned_the_highest_moves_into_the_gap() -> None:
    bench = Bench(sequences=3, partitioned=True)
    first, second, third = (bench.join([index] * 20)[0] for index in range(3))
    bench.leave(first)
    assert bench.compact() == [Move(2, 0)]
    assert bench.context.calls == [("copy", 2, 0, -1)]
    bench.check()
    assert {second.seq_id, third.seq_id} == {0, 1}
    for one in (second, third):
        bench.leave(one)
    assert bench.compact() == []
    assert bench.cache.cells.total == 0


def test_partitioned_one_without_cells_moves_without_a_copy() -> None:
    bench = Bench(sequences=3, partitioned=True)
    first, _ = bench.join([1] * 20)
    empty, _ = bench.join([2] * 20, compute=False)
    bench.leave(first)
    assert bench.compact() == [Move(1, 0)]
    assert bench.context.calls == []
    bench.compute(empty, [2] * 20)
    bench.check()


def test_partitioned_one_that_joins_takes_the_gap_and_nobody_moves() -> None:
    bench = Bench(sequences=3, partitioned=True)
    first, *_ = (bench.join([index] * 20)[0] for index in range(3))
    bench.leave(first)
    assert bench.join([9] * 20)[0].seq_id == 0
    assert bench.compact() == []
    assert bench.context.calls == []


def test_partitioned_a_running_one_is_copied_whole_and_cut() -> None:
    bench = Bench(sequences=3, partitioned=True, copies=True)
    bench.join(LONG)
    other, reused = bench.join([*LONG[:50], 1, 2])
    assert (other.seq_id, reused) == (1, 50)
    assert bench.context.calls == [("copy", 0, 1, -1)]
    bench.check()


def test_partitioned_one_that_has_ended_comes_back_from_its_state() -> None:
    bench = Bench(sequences=3, partitioned=True, copies=True, saved=saved())
    bench.leave(bench.join(LONG)[0])
    assert bench.cache.cells.total == 0
    assert bench.join([*LONG, 1, 2])[1] == len(LONG)
    bench.check()


def test_partitioned_cells_that_are_being_copied_are_neither_saved_nor_filled() -> None:
    bench = Bench(sequences=3, partitioned=True, copies=True, saved=saved())
    bench.leave(bench.join(LONG)[0])
    first, second = ([index] * 80 for index in (1, 2))
    gone, moved = bench.join(first)[0], bench.join(second)[0]
    bench.leave(gone, keep=False)
    assert bench.compact() == [Move(1, 0)]
    other, reused = bench.join(LONG, compute=False)
    assert reused == 0, "its state must not be put where llama.cpp has yet to read"
    bench.leave(moved)
    bench.compute(other, LONG)
    assert bench.join([*second, 3])[1] == 0, "what was not there yet was not saved"


def test_partitioned_nothing_is_kept_or_shared() -> None:
    bench = Bench(partitioned=True)
    bench.leave(bench.join(LONG)[0])
    assert bench.join(LONG)[1] == 0


# --- anything at all -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(100, 500),
    st.sampled_from([(False, False), (True, False), (True, True)]),
    st.booleans(),
)
def test_after_any_history_what_is_held_is_what_was_computed(  # noqa: PLR0917
    seed: int, sequences: int, kept: int, size: int, parts: tuple[bool, bool], saves: bool
) -> None:
    """`Bench.join` checks that what is reused equals the prompt; keys stand in the tokens."""
    chance = random.Random(seed)
    partitioned, copies = parts
    bench = Bench(size, sequences, kept, partitioned, copies, saved() if saves else None)
    for _ in range(40):
        room = size - sum(len(holder.tokens) for holder in bench.running)
        if len(bench.running) < sequences and room > 90 and chance.random() < 0.6:
            key = chance.choice("ab")
            prompt = [ord(key)] * 2 + [chance.choice([5, 6])] * chance.randint(8, 75)
            bench.join([*prompt, chance.randint(1, 3)], key, compute=chance.random() < 0.9)
            bench.context.restores = chance.random() < 0.8
        elif bench.running and chance.random() < 0.5:
            bench.leave(chance.choice(bench.running), keep=chance.random() < 0.8)
        elif bench.running and room > 10:
            bench.compute(chance.choice(bench.running), [chance.randint(1, 3)])
        bench.check()
        if partitioned and chance.random() < 0.3:
            continue  # several may leave between two decodes
        bench.compact()
        bench.check()
        assert not partitioned or {one.seq_id for one in bench.running} == set(range(len(bench.running)))
    for holder in list(bench.running):
        bench.leave(holder, keep=False)
    bench.cache.give_up_all()
    assert bench.cache.cells.total == 0


@pytest.mark.parametrize("kept", [0, 2])
def test_ids_never_run_out(kept: int) -> None:
    bench = Bench(kept=kept)
    for index in range(20):
        holders = [bench.join([index, place] * 10)[0] for place in range(2)]
        for holder in holders:
            bench.leave(holder)
        bench.check()
