"""The step loop against a cache simulated in Python, whose next token depends on every token it holds.

A token lost, doubled or put at a wrong position anywhere would change the answer.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.base import JobError
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.cache import Cache
from backends.llama_cpp.engine import LlamaEngine
from backends.protocol import (
    Capacity,
    Delta,
    Failed,
    Finished,
    GenerateParameters,
    ItemDone,
    Job,
    Output,
    Started,
    Text,
)

VOCABULARY = 128
END = 0


def next_token(history: list[int]) -> int:
    value = 7
    for token in history:
        value = (value * 31 + token + 1) % 10007
    return value % (VOCABULARY - 32) + 32 if value % 41 else END


def answer(prompt: list[int], max_new: int) -> tuple[str, str]:
    """What a run undisturbed must give, and why it ends."""
    history = prompt.copy()
    while len(history) - len(prompt) < max_new:
        token = next_token(history)
        if token == END:
            return "".join(map(chr, history[len(prompt) :])), "stop"
        history.append(token)
    return "".join(map(chr, history[len(prompt) :])), "length"


class FakeVocabulary:
    size = VOCABULARY

    def piece(self, token: int) -> bytes:
        return chr(token).encode()

    written = piece

    def end_tokens(self) -> frozenset[int]:
        return frozenset({END})

    def suppressed_tokens(self) -> list[int]:
        return []


class FakeModel:
    vocabulary = FakeVocabulary()
    closed = False

    def close(self) -> None:
        self.closed = True


@dataclass(eq=False)
class Cell:
    token: int


class FakeDecoder:
    """A cache shared by all sequences. `fault` may fail a decode, given the tokens of each sequence in it."""

    def __init__(self, n_ctx: int = 256, n_batch: int = 64, n_seq_max: int = 4) -> None:
        self.n_ctx, self.n_batch, self.n_seq_max = n_ctx, n_batch, n_seq_max
        self.cells: dict[int, list[Cell]] = {}
        self.rows: list[int] = []
        self.sizes: list[int] = []
        self.fault: Callable[[dict[int, list[int]]], int] = lambda _: 0
        self.closed = False

    def decode(self, batch: Any) -> int:
        assert 0 < batch.n_tokens <= self.n_batch
        added: dict[int, list[int]] = {}
        for row in range(batch.n_tokens):
            added.setdefault(batch.seq_id[row][0], []).append(batch.token[row])
        if result := self.fault(added):
            return result
        if self.used + batch.n_tokens > self.n_ctx:
            return 1
        self.rows = []
        self.sizes.append(batch.n_tokens)
        for row in range(batch.n_tokens):
            held = self.cells.setdefault(batch.seq_id[row][0], [])
            assert batch.pos[row] == len(held), "positions must be consecutive"
            held.append(Cell(batch.token[row]))
            self.rows.append(next_token([cell.token for cell in held]) if batch.logits[row] else -1)
        return 0

    def accept(self, chain: Any, token: int) -> None: ...

    def logits(self, row: int) -> NDArray[np.float32]:
        """Nearly all of the probability on the token that `sample` gives."""
        logits = np.zeros(VOCABULARY, dtype=np.float32)
        logits[self.rows[row]] = 10.0
        return logits

    def live_logits(self, row: int) -> NDArray[np.float32]:
        return self.logits(row)

    def copy(self, source: int, target: int, end: int = -1) -> None:
        assert not self.cells.get(target)
        held = self.cells[source]
        assert 0 < end <= len(held)
        self.cells[target] = held[:end]

    def state(self, seq_id: int) -> memoryview:
        return memoryview(bytes(cell.token for cell in self.cells[seq_id]))

    def restore(self, seq_id: int, data: bytes | bytearray | memoryview) -> bool:
        if self.used + len(data) > self.n_ctx:
            return False
        self.cells[seq_id] = [Cell(token) for token in bytes(data)]
        return True

    def sample(self, chain: Any, row: int) -> int:
        assert self.rows[row] >= 0, "sampled from a row without logits"
        return self.rows[row]

    def remove(self, seq_id: int, start: int = 0) -> bool:
        self.cells[seq_id] = self.cells.get(seq_id, [])[:start]
        return True

    def held(self, seq_id: int) -> int:
        return len(self.cells.get(seq_id, []))

    def close(self) -> None:
        self.closed = True

    @property
    def used(self) -> int:
        """Cells in use; one may be of several sequences."""
        return len({id(cell) for held in self.cells.values() for cell in held})


class Bench:
    """An engine on a fake decoder, and everything it has said."""

    def __init__(self, sequences: int = 4, kept: int = 0, **limits: int) -> None:
        self.decoder = FakeDecoder(n_seq_max=sequences + kept, **limits)
        self.model = FakeModel()
        ticks = itertools.count()
        decoder = self.decoder
        self.engine = LlamaEngine(
            self.model,  # type: ignore[arg-type]
            decoder,
            Cache(decoder, size=decoder.n_ctx, sequences=sequences, kept=decoder.n_seq_max - sequences),
            sequences=sequences,
            defaults={},
            context_length=200,
            max_step_s=0.1,
            clock=lambda: next(ticks) * 0.001,
        )
        self.outputs: list[Output] = []
        self.engine.announce = lambda job_id: self.outputs.append(Started(job_id))

    def add(
        self, job_id: str, *prompts: list[int], stream: bool = False, priority: int = 0, **kw: Any
    ) -> None:
        parameters = GenerateParameters(temperature=0.0, **kw)
        items = [PreparedPrompt(np.array(prompt, dtype="<i4").tobytes()) for prompt in prompts]
        texts = [Text("") for _ in prompts]
        job = Job(job_id, "m", "generate", parameters, texts, stream=stream, priority=priority)
        self.engine.add(job, items)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.outputs += self.engine.step()

    def run(self) -> None:
        for _ in range(5000):
            if not self.engine.has_work():
                return
            self.step()
        raise AssertionError("the engine does not come to an end")

    def of(self, kind: type, job_id: str) -> list[Any]:
        return [output for output in self.outputs if isinstance(output, kind) and output.job_id == job_id]

    def text(self, job_id: str, item: int = 0) -> str:
        done = [output for output in self.of(ItemDone, job_id) if output.item == item]
        assert len(done) == 1
        return done[0].result.text


PROMPT = [5, 6, 7]


def test_a_job_is_told_in_order() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=5)
    bench.run()
    assert [type(output) for output in bench.outputs] == [Started, ItemDone, Finished]
    result = bench.of(ItemDone, "a")[0].result
    assert (result.text, result.finish_reason) == answer(PROMPT, 5)
    assert (result.prompt_tokens, result.completion_tokens) == (3, len(result.text))


def test_a_stream_shows_in_deltas_what_would_have_been_the_text() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=9, stream=True)
    bench.run()
    deltas = bench.of(Delta, "a")
    assert "".join(delta.text for delta in deltas) == answer(PROMPT, 9)[0]
    assert sum(delta.tokens for delta in deltas) == bench.of(ItemDone, "a")[0].result.completion_tokens
    assert bench.text("a") == ""


def test_items_of_a_job_run_side_by_side_and_it_finishes_once() -> None:
    bench = Bench()
    prompts = [[1, 2], [3], [4, 5, 6]]
    bench.add("a", *prompts, max_tokens=6)
    bench.run()
    assert [bench.text("a", item) for item in range(3)] == [answer(prompt, 6)[0] for prompt in prompts]
    assert len(bench.of(Started, "a")) == len(bench.of(Finished, "a")) == 1


def test_the_model_ends_its_answer() -> None:
    prompt = next([i] for i in range(1, 128) if 1 < len(answer([i], 90)[0]) < 80)
    bench = Bench()
    bench.add("a", prompt, max_tokens=90)
    bench.run()
    assert bench.of(ItemDone, "a")[0].result.finish_reason == "stop"
    assert bench.text("a") == answer(prompt, 90)[0]


def test_without_max_tokens_the_context_is_the_limit() -> None:
    prompt = next([i] * 190 for i in range(1, 128) if answer([i] * 190, 10)[1] == "length")
    bench = Bench()
    bench.add("a", prompt)
    bench.run()
    result = bench.of(ItemDone, "a")[0].result
    assert (result.finish_reason, result.completion_tokens) == ("length", 10)


def test_a_stop_string_ends_the_answer_and_frees_its_cells() -> None:
    full, _ = answer(PROMPT, 20)
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=20, stop=[full[4:6]])
    bench.run()
    assert bench.text("a") == full[: full.index(full[4:6])]
    assert bench.decoder.used == 0


@pytest.mark.parametrize("prompt", [[], [1, VOCABULARY], [-1], [1] * 200])
def test_a_prompt_that_can_never_run_is_refused(prompt: list[int]) -> None:
    with pytest.raises(JobError):
        Bench().add("a", prompt)


def test_an_abort_frees_cells_in_every_phase() -> None:
    bench = Bench(n_batch=16)
    bench.add("decoding", [1] * 4, max_tokens=90)
    bench.step(3)
    bench.add("prefilling", [2] * 100)
    bench.step()
    for index in range(4):
        bench.add(f"waiting{index}", [3])
    assert 0 < bench.decoder.used < 104
    for job_id in ("prefilling", "decoding", *(f"waiting{index}" for index in range(4))):
        assert bench.engine.abort(job_id)
    assert bench.decoder.used == 0
    assert not bench.engine.has_work()
    assert not bench.engine.abort("decoding")


def test_prefill_never_starves_running_answers() -> None:
    bench = Bench(n_batch=16)
    bench.add("a", PROMPT, max_tokens=30, stream=True)
    bench.step()
    bench.add("b", [2] * 100, max_tokens=1)
    before = len(bench.of(Delta, "a"))
    bench.step(5)
    assert len(bench.of(Delta, "a")) - before == 5


def test_preempted_answers_come_out_whole() -> None:
    bench = Bench(n_ctx=64)
    long_answers = (prompt for i in range(1, 128) if answer(prompt := [i] * 4, 40)[1] == "length")
    prompts = {f"j{i}": next(long_answers) for i in range(4)}
    for job_id, prompt in prompts.items():
        bench.add(job_id, prompt, max_tokens=40, stream=True)
    preemptions = 0
    while bench.engine.has_work():
        bench.step()
        preemptions += bench.engine.stats().preemptions
    assert preemptions > 0
    for job_id, prompt in prompts.items():
        assert "".join(delta.text for delta in bench.of(Delta, job_id)) == answer(prompt, 40)[0]
        assert len(bench.of(Started, job_id)) == 1


def test_a_larger_priority_goes_first_and_leaves_last() -> None:
    bench = Bench(sequences=1)
    bench.add("low", PROMPT, max_tokens=2)
    bench.add("high", PROMPT, max_tokens=2, priority=5)
    bench.run()
    assert [output.job_id for output in bench.outputs if isinstance(output, Finished)] == ["high", "low"]


def test_a_failed_decode_fails_only_the_suspect() -> None:
    bench = Bench()
    bench.decoder.fault = lambda added: -3 if any(99 in tokens for tokens in added.values()) else 0
    bench.add("good", PROMPT, max_tokens=10)
    bench.add("bad", [1, 99, 2], max_tokens=10)
    bench.add("fine", [8, 9], max_tokens=10)
    bench.run()
    assert bench.text("good") == answer(PROMPT, 10)[0]
    assert bench.text("fine") == answer([8, 9], 10)[0]
    failed = bench.of(Failed, "bad")
    assert [(failure.kind, len(failed)) for failure in failed] == [("internal", 1)]
    assert not bench.of(Finished, "bad")
    assert bench.decoder.used == 0


def test_a_fault_that_passes_costs_nobody_an_answer() -> None:
    bench = Bench()
    results = iter([0, 0, -3])
    bench.decoder.fault = lambda _: next(results, 0)
    bench.add("a", PROMPT, max_tokens=10)
    bench.add("b", [8, 9], max_tokens=10)
    bench.run()
    assert bench.text("a") == answer(PROMPT, 10)[0]
    assert bench.text("b") == answer([8, 9], 10)[0]


def test_a_half_done_decode_is_taken_up_where_the_cache_stands() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=10)
    bench.add("b", [8, 9], max_tokens=10)
    bench.step(2)
    done_half = iter([True])

    def fault(added: dict[int, list[int]]) -> int:
        if not next(done_half, False):
            return 0
        seq_id, tokens = next(iter(added.items()))
        bench.decoder.cells[seq_id] += tokens
        return 2

    bench.decoder.fault = fault
    bench.run()
    assert bench.text("a") == answer(PROMPT, 10)[0]
    assert bench.text("b") == answer([8, 9], 10)[0]


def test_a_job_that_finds_no_memory_twice_says_so() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: -2
    bench.add("a", PROMPT)
    bench.run()
    assert [failure.kind for failure in bench.of(Failed, "a")] == ["out_of_memory"]


def test_a_cache_that_is_full_before_its_time_takes_the_youngest_out() -> None:
    bench = Bench()
    bench.decoder.fault = lambda added: 1 if len(added) > 2 else 0
    prompts = {f"j{i}": [i + 1] * 4 for i in range(4)}
    for job_id, prompt in prompts.items():
        bench.add(job_id, prompt, max_tokens=12)
    bench.run()
    assert all(bench.text(job_id) == answer(prompt, 12)[0] for job_id, prompt in prompts.items())


def test_a_cache_with_no_room_for_one_fails_it() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: 1
    bench.add("a", PROMPT)
    bench.run()
    assert [failure.kind for failure in bench.of(Failed, "a")] == ["out_of_memory"]


def test_capacity_counts_what_is_promised() -> None:
    bench = Bench()
    assert bench.engine.capacity() == Capacity(free_sequences=4, free_kv_tokens=256, queued=0, received=0)
    bench.add("a", [1] * 6, [2] * 10)
    assert bench.engine.capacity() == Capacity(free_sequences=4, free_kv_tokens=240, queued=2, received=0)
    bench.step()
    capacity = bench.engine.capacity()
    assert (capacity.free_sequences, capacity.queued) == (2, 0)


def test_jobs_that_have_not_started_are_given_back_the_newest_first() -> None:
    bench = Bench(sequences=1)
    for job_id in "abcd":
        bench.add(job_id, PROMPT, max_tokens=30)
    bench.step()
    assert bench.engine.requeue(1) == ["d", "c"]
    bench.run()
    assert {output.job_id for output in bench.outputs} == {"a", "b"}


def test_stats_tell_of_the_step() -> None:
    bench = Bench()
    bench.add("a", PROMPT, max_tokens=5)
    bench.step()
    assert bench.engine.stats().prefill_tokens == 3
    bench.step()
    stats = bench.engine.stats()
    assert (stats.batch_items, stats.decode_tokens, stats.prefill_tokens) == (1, 1, 0)
    assert (stats.running, stats.kv_used, stats.kv_total) == (1, 4, 256)


def test_warm_up_leaves_the_cache_empty() -> None:
    bench = Bench()
    bench.engine.warm_up()
    assert bench.decoder.used == 0


def test_a_model_that_cannot_decode_does_not_get_ready() -> None:
    bench = Bench()
    bench.decoder.fault = lambda _: -3
    with pytest.raises(RuntimeError, match="-3"):
        bench.engine.warm_up()


def test_closing_frees_the_library() -> None:
    bench = Bench()
    bench.add("a", PROMPT)
    bench.step()
    bench.engine.close()
    assert bench.decoder.closed
    assert bench.model.closed


_JOBS = st.lists(
    st.tuples(st.lists(st.integers(1, 127), min_size=1, max_size=50), st.integers(1, 40), st.integers(0, 2)),
    min_size=1,
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(_JOBS, st.integers(91, 200), st.sets(st.integers(0, 60), max_size=4), st.data())
def test_whatever_happens_every_answer_is_the_undisturbed_one(
    jobs: list[tuple[list[int], int, int]], n_ctx: int, faults: set[int], data: st.DataObject
) -> None:
    """Few cells, passing faults, jobs arriving and leaving at any time."""
    bench = Bench(n_ctx=n_ctx, n_batch=24)
    steps = itertools.count()
    spared_until = 0

    def fault(_: object) -> int:
        nonlocal spared_until
        step = next(steps)
        if step not in faults or step < spared_until:
            return 0
        spared_until = step + 1 + bench.decoder.n_seq_max  # while each is tried alone
        return -3

    bench.decoder.fault = fault
    aborted = set()
    for index, (prompt, max_new, priority) in enumerate(jobs):
        bench.add(f"j{index}", prompt, max_tokens=max_new, priority=priority)
        for _ in range(data.draw(st.integers(0, 6))):
            if bench.engine.has_work():
                bench.step()
        if data.draw(st.integers(0, 4)) == 0 and bench.engine.abort(f"j{index}"):
            aborted.add(index)
    bench.run()
    for index, (prompt, max_new, _) in enumerate(jobs):
        if index not in aborted:
            assert bench.text(f"j{index}") == answer(prompt, max_new)[0]
            assert len(bench.of(Finished, f"j{index}")) == 1
        else:
            assert not bench.of(Finished, f"j{index}")
    assert bench.decoder.used == 0
    assert bench.engine.capacity().free_kv_tokens == n_ctx
