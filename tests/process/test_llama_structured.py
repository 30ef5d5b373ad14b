"""Structured output of the real starter model: prepared, batched with others, and valid."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from backends.base import JobError
from backends.protocol import Constraint, Failed, GenerationResult, Text
from tests.process.test_llama_engine import Llm

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "born": {"type": "string", "format": "date"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "hobbies": {"type": "array", "items": {"enum": ["chess", "tennis", "reading"]}, "maxItems": 3},
    },
    "required": ["name", "born", "age", "hobbies"],
    "additionalProperties": False,
}
ASKED = "Describe a person as JSON with a name, a birthday, an age and hobbies."
DATE = Constraint("regex", r"\d{4}-\d{2}-\d{2}", "regex")
LIST = Constraint("gbnf", 'root ::= item{3}\nitem ::= "- " [a-z ]{1,20} "\\n"', "grammar")


def _schema(schema: Any) -> Constraint:
    return Constraint("json_schema", json.dumps(schema), "response_format.json_schema.schema")


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llm]:
    made = Llm(smollm2_path, n_ctx=4096)
    yield made
    made.backend.unload()


def _check_person(result: GenerationResult) -> None:
    validator = Draft202012Validator(PERSON, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert result.finish_reason == "stop"
    assert not [error.message for error in validator.iter_errors(json.loads(result.text))], result.text


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_an_answer_matches_its_schema(llm: Llm, temperature: float) -> None:
    _check_person(llm.ask(ASKED, constraint=_schema(PERSON), temperature=temperature, seed=1, max_tokens=200))


def test_forced_tokens_cost_no_step_of_their_own(llm: Llm) -> None:
    llm.add("one", ASKED, constraint=_schema(PERSON), max_tokens=200)
    steps = 0
    while llm.engine.has_work():
        llm.outputs += llm.engine.step()
        steps += 1
    result = llm.results()["one"]
    _check_person(result)
    assert steps < 0.8 * result.completion_tokens


def test_many_constraints_share_a_batch(llm: Llm) -> None:
    asked: dict[str, Constraint | None] = {
        "schema": _schema(PERSON),
        "date": DATE,
        "list": LIST,
        "object": Constraint("json_object"),
        "free": None,
        "choice": Constraint("regex", "yes|no", "regex"),
    }
    for name, constraint in asked.items():
        llm.add(name, ASKED, constraint=constraint, max_tokens=150)
    llm.run()
    results = llm.results()
    assert results.keys() == asked.keys()
    _check_person(results["schema"])
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", results["date"].text)
    assert re.fullmatch(r"(- [a-z ]{1,20}\n){3}", results["list"].text)
    assert results["choice"].text in ("yes", "no")
    if results["object"].finish_reason == "stop":
        assert isinstance(json.loads(results["object"].text), dict)


def test_completions_are_bound_too(llm: Llm) -> None:
    result = llm.ask(Text("The date of the French revolution is "), constraint=DATE)
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", result.text)


def test_several_answers_are_each_bound(llm: Llm) -> None:
    llm.add("one", ASKED, constraint=_schema(PERSON), n=3, temperature=1.5, seed=5, max_tokens=200)
    llm.run()
    results = [output.result for output in llm.outputs if hasattr(output, "result")]
    llm.outputs = []
    assert len(results) == 3
    for result in results:
        _check_person(result)


def test_a_stop_string_still_stops(llm: Llm) -> None:
    result = llm.ask(ASKED, constraint=_schema(PERSON), stop=['"born"'], max_tokens=200)
    assert result.text.startswith('{"name": "')
    assert "born" not in result.text


def test_too_few_tokens_end_with_their_length(llm: Llm) -> None:
    result = llm.ask(ASKED, constraint=_schema(PERSON), max_tokens=7)
    assert result.finish_reason == "length"
    assert result.completion_tokens == 7
    assert result.text.startswith('{"name"')


def test_log_probabilities_are_of_what_stands_there(llm: Llm) -> None:
    result = llm.ask(ASKED, constraint=_schema(PERSON), logprobs=2, max_tokens=200)
    _check_person(result)
    assert b"".join(entry.token for entry in result.logprobs).decode() == result.text
    assert len(result.logprobs) == result.completion_tokens


def test_what_cannot_be_followed_never_gets_to_the_engine(llm: Llm) -> None:
    with pytest.raises(JobError) as caught:
        llm.add("one", ASKED, constraint=_schema({"type": "object", "properties": {"a": {"not": {}}}}))
    assert caught.value.param == "response_format.json_schema.schema.properties.a.not"
    with pytest.raises(JobError) as caught:
        llm.add("one", ASKED, constraint=DATE, ignore_eos=True)
    assert caught.value.param == "ignore_eos"


def test_an_answer_that_the_engine_gives_up_on_fails_alone(llm: Llm) -> None:
    """Counting letters of every script in two nested ways is more than it keeps track of."""
    too_much = Constraint("regex", r"(\p{L}{0,90}\p{N}{0,9}){0,90}!", "regex")
    llm.add("fine", ASKED, constraint=_schema(PERSON), max_tokens=200)
    llm.add("hopeless", ASKED, constraint=too_much, max_tokens=400)
    llm.run()
    failed = [output for output in llm.outputs if isinstance(output, Failed)]
    assert [(failure.job_id, failure.kind) for failure in failed] == [("hopeless", "invalid_request")]
    _check_person(llm.results()["fine"])
