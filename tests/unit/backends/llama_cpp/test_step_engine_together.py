"""The step loop with everything at once: whatever happens, each answer is the undisturbed one.

Shared beginnings, several answers to a prompt, drafts, grammars, adapters, echoes, pictures, too few cells,
decodes that fail, jobs that come and go at any time; and nothing may be left behind. simulated.py has the
model, pictures.py what it sees.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.protocol import Delta, Failed, Finished, GenerationResult, TokenLogprob
from tests.unit.backends.llama_cpp.pictures import FIRST, FakeReader, seen, shows
from tests.unit.backends.llama_cpp.simulated import (
    Bench,
    FakeDrafter,
    answer,
    logits_of,
    state_of,
)

BEGINNINGS = [list(range(40, 110)), list(range(40, 75)) + list(range(1, 30)), [9] * 40]


@dataclass
class Request:
    prompts: list[list[int]]
    max_tokens: int
    n: int = 1
    priority: int = 0
    stream: bool = False
    adapter: str = ""
    bound: bool = False
    """By a grammar that knows the answer and forces parts of it."""
    breaks_at: int = 0
    """Its grammar breaks when it is asked for the so-manieth time; 0: never."""
    logprobs: bool = False
    echo: bool = False
    stop: list[str] = field(default_factory=list)

    def add_to(self, bench: Bench, job_id: str) -> None:
        grammar = ""
        if self.bound:
            grammar = f"{' '.join(map(str, self.prompts[0]))}|{self.adapter}|{self.breaks_at}"
        bench.add(
            job_id,
            *self.prompts,
            stream=self.stream,
            priority=self.priority,
            grammar=grammar,
            max_tokens=self.max_tokens,
            n=self.n,
            stop=self.stop,
            echo=self.echo,
            logprobs=1 if self.logprobs else None,
            adapters={self.adapter: 1.0} if self.adapter else {},
        )

    def check(self, bench: Bench, job_id: str) -> None:
        for index, (prompt, _) in enumerate(itertools.product(self.prompts, range(self.n))):
            result = bench.done(job_id, index).result
            text, logprobs = _told(bench, job_id, index) if self.stream else (result.text, result.logprobs)
            self._check_answer(prompt, text, result)
            if self.logprobs:
                self._check_logprobs(prompt, text, logprobs)
            else:
                assert not logprobs
        assert len(bench.of(Finished, job_id)) == 1

    def _check_answer(self, prompt: list[int], text: str, result: GenerationResult) -> None:
        expected, reason = answer(seen(prompt), self.max_tokens, self.adapter)
        ends = [expected.index(stop) for stop in self.stop if stop in expected]
        if ends:
            expected, reason = expected[: ends[0]], "stop"
        assert text == "".join(map(chr, prompt)) * self.echo + expected
        assert result.finish_reason == reason
        assert result.prompt_tokens == len(seen(prompt))

    def _check_logprobs(self, prompt: list[int], text: str, logprobs: list[TokenLogprob]) -> None:
        """Each beside its token, and computed from all tokens before it."""
        history = [] if self.echo else seen(prompt)
        assert len(logprobs) == len(text)
        for character, logprob in zip(text, logprobs, strict=True):
            assert (logprob.token.decode(), logprob.id) == (character, ord(character))
            if history:
                assert logprob.logprob == pytest.approx(expected_logprob(history, self.adapter, logprob.id))
            else:
                assert logprob.logprob is None
            history.append(ord(character))


def expected_logprob(history: list[int], key: str, token: int) -> float:
    logits = logits_of(state_of(history, key)).astype(np.float64)
    return float(logits[token] - np.log(np.exp(logits).sum()))


def _told(bench: Bench, job_id: str, index: int) -> tuple[str, list[TokenLogprob]]:
    deltas = [delta for delta in bench.of(Delta, job_id) if delta.item == index]
    return "".join(delta.text for delta in deltas), [one for delta in deltas for one in delta.logprobs]


_tokens = st.lists(st.integers(1, 127), min_size=1, max_size=20)
_pictures = st.integers(FIRST + 4, FIRST + 9)
_prompts = st.one_of(
    _tokens,
    st.builds(
        lambda begin, first, between, second, tail: [*begin, first, *between, second, *tail],
        st.sampled_from([[], [50, 51, 52], BEGINNINGS[0][:20]]),
        _pictures,
        st.sampled_from([[], [60], [9] * 10]),
        _pictures,
        _tokens,
    ),
    st.builds(
        lambda beginning, length, tail: beginning[:length] + tail,
        st.sampled_from(BEGINNINGS),
        st.integers(8, 64),
        _tokens,
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    request = Request(
        draw(st.lists(_prompts, min_size=1, max_size=2)),
        draw(st.integers(1, 40)),
        n=draw(st.sampled_from([1, 1, 2, 3])),
        priority=draw(st.integers(0, 2)),
        stream=draw(st.booleans()),
        adapter=draw(st.sampled_from(["", "", "", "a"])),
        logprobs=draw(st.booleans()),
        echo=draw(st.sampled_from([False, False, True])),
    )
    if draw(st.integers(0, 3)) == 0:
        text = answer(seen(request.prompts[0]), request.max_tokens, request.adapter)[0]
        request.stop = [text[-2:]] if len(text) > 1 else []
    elif draw(st.integers(0, 2)) == 0 and not shows(request.prompts[0]):
        request.prompts = request.prompts[:1]
        request.bound = True
        request.breaks_at = draw(st.sampled_from([0, 0, 1, 2, 5]))
    if any(map(shows, request.prompts)):
        request.echo = False
    return request


class Faults:
    """Fails the decodes of these numbers, in turn with nothing done, half of it done and no room found.

    After each it spares so many that everybody can be tried alone.
    """

    def __init__(self, numbers: set[int], sequences: int) -> None:
        self._numbers = numbers
        self._sequences = sequences
        self._kinds = itertools.cycle([-3, 2, 1])
        self._decodes = itertools.count()
        self._spared_until = 0

    def __call__(self, added: dict[int, list[int]]) -> int:
        number = next(self._decodes)
        # One that finds no room when it is alone has a right to fail.
        if number not in self._numbers or number < self._spared_until or len(added) == 1:
            return 0
        self._spared_until = number + 1 + 2 * self._sequences
        return next(self._kinds)


def run_all(bench: Bench, jobs: list[Request], draw: Callable[[Any], Any]) -> None:
    aborted = set()
    for index, request in enumerate(jobs):
        request.add_to(bench, f"j{index}")
        for _ in range(draw(st.integers(0, 6))):
            if bench.engine.has_work():
                bench.step()
        if draw(st.integers(0, 5)) == 0 and bench.engine.abort(f"j{index}"):
            bench.check()
            aborted.add(index)
    bench.run()
    for index, request in enumerate(jobs):
        job_id = f"j{index}"
        if index in aborted:
            assert not bench.of(Finished, job_id)
        elif request.breaks_at and bench.of(Failed, job_id):
            assert [failed.code for failed in bench.of(Failed, job_id)] == ["grammar_failed"]
            assert not bench.of(Finished, job_id)
        else:
            assert not bench.of(Failed, job_id)
            request.check(bench, job_id)
    bench.check_rest()


_JOBS = st.lists(requests(), min_size=1, max_size=7)
_READERS = st.builds(FakeReader, mrope=st.booleans(), whole=st.booleans())
_BENCHES = st.tuples(st.sampled_from([0, 2]), st.booleans(), _READERS)
_FAULTS = st.sets(st.integers(0, 60), max_size=4)


@settings(max_examples=80, deadline=None)
@given(_JOBS, st.integers(130, 400), _FAULTS, _BENCHES, st.data())
def test_whatever_happens_every_answer_is_the_undisturbed_one(
    jobs: list[Request], n_ctx: int, faults: set[int], features: tuple[int, bool, FakeReader], data: Any
) -> None:
    kept, drafts, reader = features
    drafter = FakeDrafter(n_ctx) if drafts else None
    bench = Bench(n_ctx=n_ctx, n_batch=24, kept=kept, drafter=drafter, reader=reader)
    bench.decoder.fault = Faults(faults, 4)
    run_all(bench, jobs, data.draw)
    if bench.drafter is not None:
        assert not bench.drafter.known, "who has ended must be forgotten"


@settings(max_examples=40, deadline=None)
@given(_JOBS, _FAULTS, _READERS, st.data())
def test_apart_every_answer_is_the_undisturbed_one(
    jobs: list[Request], faults: set[int], reader: FakeReader, data: st.DataObject
) -> None:
    bench = Bench(n_ctx=4 * 130, n_batch=24, apart=16, reader=reader)
    bench.decoder.fault = Faults(faults, 4)
    run_all(bench, jobs, data.draw)
    if not any(request.adapter for request in jobs) and not faults:
        assert bench.decoder.gaps == 0


@settings(max_examples=80, deadline=None)
@given(_JOBS, _FAULTS, st.booleans(), _READERS, st.data())
def test_with_cells_of_its_own_every_answer_is_the_undisturbed_one(
    jobs: list[Request], faults: set[int], drafts: bool, reader: FakeReader, data: st.DataObject
) -> None:
    """What is shared is copied, and what has ended comes back from its saved state."""
    drafter = FakeDrafter(len(jobs)) if drafts else None
    bench = Bench(n_ctx=4 * 130, n_batch=24, partitioned=True, drafter=drafter, reader=reader)
    bench.decoder.fault = Faults(faults, 4)
    run_all(bench, jobs, data.draw)
