"""Shared beginnings of prompts on the starter model: computed once, and never another's tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.protocol import Chat, ChatMessage, GenerationResult, Item, ItemDone
from tests.process.test_llama_engine import Llm

RULES = " ".join(f"Rule {number}: answer in the manner of page {number * 7}." for number in range(24))
QUESTIONS = ["What is the sea?", "What is a clock?", "Who baked the bread?", "Where is the moon?"]


def asked(question: str, rules: str = RULES) -> Chat:
    return Chat([ChatMessage("system", rules), ChatMessage("user", question)])


class Counting(Llm):
    """Also counts what was computed of prompts."""

    prefill_tokens = 0

    def run(self) -> None:
        while self.engine.has_work():
            self.outputs += self.engine.step()
            self.prefill_tokens += self.engine.stats().prefill_tokens

    def together(self, items: list[Item], **parameters: object) -> list[GenerationResult]:
        self.prefill_tokens = 0
        for number, item in enumerate(items):
            self.add(str(number), item, **{"max_tokens": 8, "ignore_eos": True, **parameters})
        self.run()
        done = {o.job_id: o.result for o in self.outputs if isinstance(o, ItemDone)}
        self.outputs = []
        return [done[str(number)] for number in range(len(items))]  # type: ignore[misc]


@pytest.fixture(scope="module")
def cold(smollm2_path: Path) -> Iterator[Counting]:
    """Computes everything."""
    made = Counting(smollm2_path, n_ctx=4096, prefix_cache=False)
    yield made
    made.backend.unload()


@pytest.fixture
def warm(smollm2_path: Path) -> Iterator[Counting]:
    made = Counting(smollm2_path, n_ctx=4096)
    yield made
    made.backend.unload()


def test_a_prompt_takes_over_what_an_ended_one_left(cold: Counting, warm: Counting) -> None:
    first, second = map(asked, QUESTIONS[:2])
    (expected,) = cold.together([second])
    assert expected.cached_tokens == 0
    warm.together([first])
    (got,) = warm.together([second])
    assert got.text == expected.text
    assert expected.prompt_tokens - 24 < got.cached_tokens < expected.prompt_tokens
    assert warm.prefill_tokens == got.prompt_tokens - got.cached_tokens


def test_a_conversation_goes_on_where_it_stood(cold: Counting, warm: Counting) -> None:
    (answer,) = warm.together([asked(QUESTIONS[0])])
    turns = [
        *asked(QUESTIONS[0]).messages,
        ChatMessage("assistant", answer.text),
        ChatMessage("user", "Why?"),
    ]
    (got,) = warm.together([Chat(turns)])
    assert got.cached_tokens >= answer.prompt_tokens
    assert got.text == cold.together([Chat(turns)])[0].text


def test_prompts_that_come_together_compute_their_beginning_once(cold: Counting, warm: Counting) -> None:
    items: list[Item] = [asked(question) for question in QUESTIONS]
    expected = [cold.together([item])[0] for item in items]
    got = warm.together(items)
    assert [result.text for result in got] == [result.text for result in expected]
    longest = max(result.prompt_tokens for result in got)
    assert warm.prefill_tokens < longest + 100


def test_another_beginning_is_never_taken(cold: Counting, warm: Counting) -> None:
    other = RULES.replace("Rule 12", "Rule 99")
    warm.together([asked(QUESTIONS[0])])
    (got,) = warm.together([asked(QUESTIONS[0], other)])
    (expected,) = cold.together([asked(QUESTIONS[0], other)])
    assert got.text == expected.text
    assert 0 < got.cached_tokens < got.prompt_tokens * 0.7


def test_several_answers_compute_their_prompt_once(warm: Counting) -> None:
    warm.add("n", asked(QUESTIONS[0]), n=4, temperature=1.0, seed=3, max_tokens=6)
    warm.run()
    results = [o.result for o in warm.outputs if isinstance(o, ItemDone)]
    assert len(results) == 4
    assert len({result.text for result in results if isinstance(result, GenerationResult)}) > 1
    prompt = results[0].prompt_tokens  # type: ignore[union-attr]
    assert warm.prefill_tokens < prompt + 4


def test_what_had_to_leave_the_cache_comes_back_from_memory(cold: Counting, smollm2_path: Path) -> None:
    crowded = Counting(smollm2_path, n_ctx=768)
    first = asked(QUESTIONS[0])
    crowded.together([first])
    crowded.together([asked(QUESTIONS[1], RULES.replace("Rule", "Law"))])
    (again,) = crowded.together([first])
    assert again.cached_tokens == again.prompt_tokens - 1
    assert again.text == cold.together([first])[0].text
    crowded.backend.unload()


def test_what_was_saved_outlives_the_worker(cold: Counting, smollm2_path: Path, tmp_path: Path) -> None:
    first = asked(QUESTIONS[0])
    for cached in (False, True):
        worker = Counting(smollm2_path, n_ctx=2048, prefix_disk=str(tmp_path / "states"))
        (got,) = worker.together([first])
        assert (got.cached_tokens > 0) is cached
        assert got.text == cold.together([first])[0].text
        worker.backend.unload()
