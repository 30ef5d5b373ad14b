"""Text completion requests as jobs."""

import json
from typing import Any

import pytest

from backends.protocol import Constraint, Description, GenerateParameters, Infill, Item, Text
from compat.errors import InvalidRequest
from compat.openai.completion_answers import CompletionForm
from compat.openai.completions import (
    completion_form,
    completion_items,
    completion_parameters,
    decode_completion,
)
from tests.unit.compat.openai.asking import EVERYTHING, NOTHING


def job(
    description: Description = EVERYTHING, **fields: Any
) -> tuple[list[Item], GenerateParameters, CompletionForm]:
    request = decode_completion(json.dumps({"model": "m", "prompt": "x"} | fields).encode())
    return (
        completion_items(request, 10),
        completion_parameters(request, description),
        completion_form(request),
    )


def refused(fields: dict[str, Any], description: Description = EVERYTHING) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        job(description, **fields)
    return caught.value


def test_a_plain_completion() -> None:
    assert job() == ([Text("x")], GenerateParameters(max_tokens=16), CompletionForm())
    neutral = {"n": 1, "best_of": 1, "echo": False, "suffix": "", "logprobs": None}
    assert job(NOTHING, **neutral) == ([Text("x")], GenerateParameters(), CompletionForm())


def test_several_answers_and_their_logprobs() -> None:
    _, asked, form = job(n=3, logprobs=4, echo=True)
    assert (asked.n, asked.logprobs, asked.echo) == (3, 4, True)
    assert form == CompletionForm(3, 3, logprobs=True, echo=True)


def test_the_best_are_chosen_by_logprobs_that_nobody_asked_for() -> None:
    _, asked, form = job(n=2, best_of=5)
    assert (asked.n, asked.logprobs) == (5, 0)
    assert form == CompletionForm(2, 5)
    assert job(n=2, best_of=2)[1].logprobs is None
    assert job(best_of=2, logprobs=3)[1].logprobs == 3


def test_a_suffix_makes_it_infill() -> None:
    items, _, _ = job(prompt=["a", ""], suffix="z")
    assert items == [Infill("a", "z"), Infill("", "z")]


def test_what_binds_and_colours_the_answer() -> None:
    _, asked, _ = job(regex="a", lora=[{"id": 0}], reproducible=True)
    assert asked.constraint == Constraint("regex", "a", "regex")
    assert (asked.adapters, asked.reproducible) == ({"formal": 1.0}, True)


@pytest.mark.parametrize(
    ("name", "value"), [("n", 2), ("best_of", 2), ("echo", True), ("suffix", "b"), ("logprobs", 0)]
)
def test_what_the_model_does_not_honour_is_refused_by_name(name: str, value: Any) -> None:
    error = refused({name: value}, NOTHING)
    assert (error.param, error.code) == (name, "unsupported_parameter")
    job(**{name: value})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 9}, "n"),
        ({"best_of": 7}, "best_of"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt": ["a", "b", "c"], "n": 4}, "n"),
        ({"prompt": ["a", "b", "c"], "best_of": 4}, "best_of"),
        ({"logprobs": 5}, "logprobs"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"prompt": [1, 2], "suffix": "b"}, "suffix"),
        ({"echo": True, "suffix": "b"}, "echo"),
        ({"prompt": ""}, "prompt"),
        ({"tools": []}, "tools"),
    ],
)
def test_values_that_cannot_be_are_refused_by_their_path(fields: dict[str, Any], param: str) -> None:
    assert refused(fields).param == param
