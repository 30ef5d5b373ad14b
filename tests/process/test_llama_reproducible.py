"""Reproducible mode on the starter model: the same tokens as llama-cpp-python's own Llama gives alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import Llama

from backends.base import JobError
from backends.protocol import Chat, ChatMessage, GenerateParameters, ItemDone, Job, Text, Tokens
from tests.process.test_llama_engine import Llm

SUBJECTS = [
    *("the sea", "a clock", "bread", "the moon", "an old bridge", "snow", "a violin", "copper", "a garden"),
    *("rain", "a harbour", "glass", "a horse", "salt", "the wind", "a library", "iron", "a river", "honey"),
    "a lighthouse",
]
NEW_TOKENS = 12


def prompt(number: int) -> str:
    """Of lengths from a few tokens to more than llama.cpp computes at once."""
    subject = SUBJECTS[number]
    repeats = 121 if number == len(SUBJECTS) - 1 else 1 + number // 2
    return f"Notes on {subject}. " * repeats + f"In one word, {subject} is"


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llm]:
    made = Llm(smollm2_path, n_ctx=20 * 1024, n_seq_max=20, reproducible=True)
    yield made
    made.backend.unload()


@pytest.fixture(autouse=True)
def _fresh(llm: Llm) -> None:
    llm.outputs.clear()


@pytest.fixture(scope="module")
def expected(smollm2_path: Path) -> list[list[int]]:
    """What Llama gives for each prompt, one after the other."""
    llama = Llama(str(smollm2_path), n_ctx=1024, n_threads=1, verbose=False, flash_attn=False)
    answers = []
    for number in range(len(SUBJECTS)):
        llama.reset()
        tokens = llama.tokenize(prompt(number).encode(), add_bos=False, special=False)
        answer = []
        for token in llama.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token == llama.token_eos():
                break
            answer.append(token)
            if len(answer) == NEW_TOKENS:
                break
        answers.append(answer)
    llama.close()
    return answers


def tokens_of(llm: Llm, job_id: str) -> list[int]:
    """Of a finished job, and of no other."""
    for output in llm.outputs:
        if isinstance(output, ItemDone) and output.job_id == job_id:
            return [logprob.id for logprob in output.result.logprobs]  # type: ignore[union-attr]
    raise AssertionError(f"{job_id} has not ended")


def add(llm: Llm, number: int, **parameters: object) -> None:
    settings = {"max_tokens": NEW_TOKENS, "logprobs": 0, "reproducible": True, **parameters}
    llm.add(str(number), Text(prompt(number)), **settings)


def test_twenty_prompts_together_give_what_llama_gives_alone(llm: Llm, expected: list[list[int]]) -> None:
    assert max(len(llm.preparer.prepare(job(number))[0].tokens) // 4 for number in range(20)) > 512
    for number in range(20):
        add(llm, number)
    llm.run()
    got = [tokens_of(llm, str(number)) for number in range(20)]
    assert got == expected


def job(number: int) -> Job:
    return Job("j", "m", "generate", GenerateParameters(), [Text(prompt(number))])


def test_one_that_ends_in_the_middle_changes_nothing(llm: Llm, expected: list[list[int]]) -> None:
    for number, length in [(0, 12), (1, 5), (2, 12), (3, 12)]:
        add(llm, number, max_tokens=length)
    ids: list[list[int]] = []
    decode = llm.engine._context.decode

    def recorded(batch: Any) -> int:
        ids.append(sorted({batch.seq_id[row][0] for row in range(batch.n_tokens)}))
        return decode(batch)

    llm.engine._context.decode = recorded  # type: ignore[method-assign]
    llm.run()
    llm.engine._context.decode = decode  # type: ignore[method-assign]
    assert [tokens_of(llm, str(number)) for number in range(4)] == [
        expected[0],
        expected[1][:5],
        expected[2],
        expected[3],
    ]
    # Those that stay close up, so that llama.cpp goes on computing them in one piece.
    assert [0, 1, 2, 3] in ids
    assert all(step == list(range(len(step))) for step in ids if len(step) > 1)
    assert [0, 1, 2] in ids[ids.index([0, 1, 2, 3]) :]


def test_a_seed_gives_the_same_answer_alone_and_in_company(llm: Llm) -> None:
    settings = {"temperature": 1.0, "seed": 5}
    add(llm, 4, **settings)
    llm.run()
    alone = tokens_of(llm, "4")
    llm.outputs.clear()
    for number in (6, 4, 7):
        add(llm, number, **settings)
    llm.run()
    assert tokens_of(llm, "4") == alone


def test_every_sequence_has_its_share_of_the_context(llm: Llm) -> None:
    assert llm.backend.describe().context_length == 1024
    with pytest.raises(JobError, match="1024 tokens"):
        llm.add("long", Tokens([100] * 1024))
    assert "reproducible" in llm.backend.describe().parameters


def test_it_is_refused_where_company_counts(smollm2_path: Path) -> None:
    other = Llm(smollm2_path, n_ctx=512)
    assert "reproducible" not in other.backend.describe().parameters
    with pytest.raises(JobError) as refused:
        other.add("a", Chat([ChatMessage("user", "Hello")]), reproducible=True)
    assert refused.value.param == "reproducible"
    other.backend.unload()
