"""Cells of each sequence's own (`kv_unified: false`) on the starter model: company changes no answer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.base import JobError
from backends.protocol import GenerationResult, ItemDone, Text, Tokens
from tests.process.test_llama_engine import Llm

PROMPTS = [
    "The capital of France is",
    "A list of animals that live in the sea: whales, dolphins,",
    "One, two, three, four, five, six, seven, eight, nine, ten, eleven,",
    "Water boils at a temperature of",
]


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llm]:
    made = Llm(smollm2_path, n_ctx=4 * 512, n_seq_max=4, kv_unified=False, speculation="off")
    yield made
    made.backend.unload()


@pytest.fixture(scope="module")
def alone(llm: Llm) -> list[list[int]]:
    return [ids(llm.ask(Text(prompt), max_tokens=16, logprobs=0)) for prompt in PROMPTS]


@pytest.fixture(autouse=True)
def _rested(llm: Llm) -> Iterator[None]:
    llm.outputs.clear()
    yield
    assert not llm.engine.has_work()
    assert llm.engine.capacity().free_kv_tokens == 2048
    assert all(llm.engine._context.held(seq_id) == 0 for seq_id in range(4))


def ids(result: GenerationResult) -> list[int]:
    return [logprob.id for logprob in result.logprobs]


def differs(got: list[int], expected: list[int]) -> bool:
    """Beyond what a near tie may do late in an answer."""
    return got[:6] != expected[:6]


def test_several_join_and_one_in_the_middle_ends(llm: Llm, alone: list[list[int]]) -> None:
    for index, prompt in enumerate(PROMPTS):
        llm.add(f"j{index}", Text(prompt), max_tokens=4 if index == 1 else 16, logprobs=0)
    together = 0
    while llm.engine.has_work():
        llm.outputs += llm.engine.step()
        together = max(together, llm.engine.stats().batch_items)
    results = llm.results()
    assert together == 4
    assert ids(results["j1"]) == alone[1][:4]
    assert not any(differs(ids(results[f"j{index}"]), alone[index]) for index in (0, 2, 3))


def test_an_abort_and_a_late_one_in_its_place(llm: Llm, alone: list[list[int]]) -> None:
    for index in (0, 1, 2):
        llm.add(f"j{index}", Text(PROMPTS[index]), max_tokens=16, logprobs=0, ignore_eos=index == 0)
    for _ in range(4):
        llm.outputs += llm.engine.step()
    assert llm.engine.abort("j0")
    llm.outputs += llm.engine.step()
    llm.add("j3", Text(PROMPTS[3]), max_tokens=16, logprobs=0)
    llm.run()
    results = llm.results()
    assert sorted(results) == ["j1", "j2", "j3"]
    assert not any(differs(ids(results[f"j{index}"]), alone[index]) for index in (1, 2, 3))


def test_several_answers_compute_their_prompt_once(llm: Llm) -> None:
    prompt = "Notes on the sea and on the ships that cross it. " * 8
    llm.add("many", Text(prompt), n=3, max_tokens=8, logprobs=0)
    prefilled = 0
    while llm.engine.has_work():
        llm.outputs += llm.engine.step()
        prefilled += llm.engine.stats().prefill_tokens
    done = [output.result for output in llm.outputs if isinstance(output, ItemDone)]
    answers = [ids(result) for result in done if isinstance(result, GenerationResult)]
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert prefilled < 1.2 * len(llm.engine._model.vocabulary.tokenize(prompt, parse_special=False))


def test_a_beginning_that_has_ended_is_taken_over_and_changes_nothing(llm: Llm) -> None:
    """Others run meanwhile, end, and are moved: what is restored must be what was saved."""
    beginning = "A story about a lighthouse, a storm and a small boat that would not sink. " * 7
    first = llm.ask(Text(beginning + "The keeper said"), max_tokens=12, logprobs=0)
    for index, prompt in enumerate(PROMPTS[:3]):
        llm.add(f"j{index}", Text(prompt), max_tokens=3 if index == 0 else 12, ignore_eos=True)
    for _ in range(5):
        llm.outputs += llm.engine.step()
    llm.add("again", Text(beginning + "The keeper said"), max_tokens=12, logprobs=0)
    llm.run()
    again = llm.results()["again"]
    assert again.cached_tokens > 100
    assert not differs(ids(again), ids(first))


def test_every_sequence_has_its_share_of_the_context(llm: Llm) -> None:
    assert llm.backend.describe().context_length == 512
    with pytest.raises(JobError, match="512 tokens") as refused:
        llm.add("long", Tokens([100] * 512))
    assert refused.value.code == "context_length_exceeded"
    for index in range(4):
        llm.add(f"j{index}", Tokens([100 + index] * 500), max_tokens=50, ignore_eos=True)
    preemptions = 0
    while llm.engine.has_work():
        llm.outputs += llm.engine.step()
        preemptions += llm.engine.stats().preemptions
    results = llm.results().values()
    assert [(one.finish_reason, one.completion_tokens) for one in results] == [("length", 12)] * 4
    assert preemptions == 0, "nobody can take anybody's cells"


def test_foretold_tokens_change_nothing(smollm2_path: Path, alone: list[list[int]]) -> None:
    """Drafts of unequal lengths are computed in several pieces."""
    made = Llm(smollm2_path, n_ctx=4 * 512, n_seq_max=4, kv_unified=False, prefix_cache=False)
    for index, prompt in enumerate(PROMPTS):
        made.add(f"j{index}", Text(prompt), max_tokens=16, logprobs=0)
    made.run()
    results = made.results()
    made.backend.unload()
    assert not any(differs(ids(results[f"j{index}"]), alone[index]) for index in range(4))
    assert np.all([len(ids(results[f"j{index}"])) <= 16 for index in range(4)])
