"""Completion results as OpenAI's objects and chunks."""

import json
from typing import Any

from openai.types import Completion

from backends.protocol import Delta, GenerationResult, TokenLogprob, TopLogprob
from compat.openai.answers import Answer
from compat.openai.completion_answers import CompletionChunks, CompletionForm, render_completion

ANSWER = Answer("cmpl-1", 5, "m", "fp_1")


def rendered(form: CompletionForm, *results: GenerationResult) -> Completion:
    return Completion.model_validate_json(render_completion(ANSWER, results, form), strict=True)


def logprobs_of(data: bytes) -> dict[str, Any]:
    """The object of the one choice; OpenAI's types deny the nulls that its documentation has."""
    (choice,) = json.loads(data)["choices"]
    return choice["logprobs"]  # type: ignore[no-any-return]


def tokens(*logprobs: float | None) -> list[TokenLogprob]:
    return [TokenLogprob(b"t%d " % index, logprob) for index, logprob in enumerate(logprobs)]


def test_logprobs_of_an_echoed_prompt() -> None:
    spoken = [
        TokenLogprob(b"Caf", None),
        TokenLogprob(b"\xc3", -1.0, [TopLogprob(b"e", -0.5), TopLogprob(b"\xc3", -1.0)]),
        TokenLogprob(b"\xa9", float("nan"), [TopLogprob(b"\xaa", -0.1)]),
        TokenLogprob(b"!", -2.0, [TopLogprob(b"?", -0.25)]),
    ]
    result = GenerationResult("Café!", "length", 3, 1, logprobs=spoken)
    answer = render_completion(ANSWER, [result], CompletionForm(logprobs=True, echo=True))
    assert logprobs_of(answer) == {
        "tokens": ["Caf", "\ufffd", "\ufffd", "!"],
        "token_logprobs": [None, -1.0, -9999.0, -2.0],
        "top_logprobs": [
            None,
            {"e": -0.5, "\ufffd": -1.0},
            {"\ufffd": -0.1},
            {"?": -0.25, "!": -2.0},
        ],
        "text_offset": [0, 3, 3, 4],
    }


def test_the_likeliest_of_each_prompt_are_chosen() -> None:
    results = [
        GenerationResult(text, "length", 4, 2, logprobs=tokens(*logprobs))
        for text, *logprobs in [
            ("a", -1.0, -1.0), ("b", -0.5), ("c",),
            ("d", -3.0), ("e", -2.0, -2.0, -2.0), ("f", -1.0, -9.0),
        ]
    ]  # fmt: skip
    answer = rendered(CompletionForm(answers=2, candidates=3), *results)
    assert [(choice.index, choice.text, choice.logprobs) for choice in answer.choices] == [
        (0, "b", None),
        (1, "a", None),
        (2, "e", None),
        (3, "d", None),
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (8, 12)


def test_an_echoed_prompt_does_not_speak_for_an_answer() -> None:
    prompt = tokens(None, -50.0)
    results = [
        GenerationResult("a", "length", 2, 1, logprobs=prompt + tokens(-2.0)),
        GenerationResult("b", "length", 2, 1, logprobs=prompt + tokens(-1.0)),
        GenerationResult("c", "stop", 2, 0, logprobs=prompt),
    ]
    (best,) = rendered(CompletionForm(candidates=3, echo=True), *results).choices
    assert best.text == "b"


def test_offsets_go_on_through_a_stream_and_are_each_choices_own() -> None:
    chunks = CompletionChunks(ANSWER, 1, CompletionForm(answers=2, logprobs=True), include_usage=False)

    def offsets(index: int, text: str, *parts: bytes) -> list[int]:
        frame = chunks.delta(Delta("j", index, text, logprobs=[TokenLogprob(part, -1.0) for part in parts]))
        data = frame.removeprefix(b"data: ")
        (choice,) = json.loads(data)["choices"]
        assert (choice["index"], choice["text"]) == (index, text)
        return logprobs_of(data)["text_offset"]  # type: ignore[no-any-return]

    assert offsets(0, "ab ", b"ab", b" ") == [0, 2]
    assert offsets(1, "x", b"x") == [0]
    assert offsets(0, "", b"\xc3") == [3]
    assert offsets(0, "éc", b"\xa9", b"c") == [3, 4]
    assert b'"logprobs":null' in chunks.delta(Delta("j", 0, "d"))
    assert chunks.delta(Delta("j", 0, "")) == b""
