"""Constraints on the real starter model's vocabulary: what comes out, what is refused, and how soon."""

import contextlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from backends.base import JobError
from backends.llama_cpp.grammar import GrammarCompiler
from backends.llama_cpp.guide import Guide, GuideError, GuideMaker
from backends.llama_cpp.model import Vocabulary, open_model
from backends.protocol import Constraint
from tests.unit.backends.constraint.test_schema_property import SCHEMAS

PLACE = "response_format.json_schema.schema"


@pytest.fixture(scope="module")
def vocabulary(smollm2_path: Path) -> Iterator[Vocabulary]:
    model = open_model(smollm2_path, vocab_only=True)
    yield model.vocabulary
    model.close()


@pytest.fixture(scope="module")
def compiler(vocabulary: Vocabulary) -> GrammarCompiler:
    return GrammarCompiler(vocabulary)


@pytest.fixture(scope="module")
def maker(vocabulary: Vocabulary) -> GuideMaker:
    return GuideMaker(vocabulary)


def _grammar(compiler: GrammarCompiler, constraint: Constraint) -> str:
    return compiler.whole(compiler.constraint(constraint), constraint.param)


def _of_schema(schema: Any) -> Constraint:
    return Constraint("json_schema", schema if isinstance(schema, str) else json.dumps(schema), PLACE)


def _write(vocabulary: Vocabulary, guide: Guide, seed: int, most: int = 400) -> str | None:
    """A random answer, forced tokens taken as they come; None if it has not ended after so many tokens."""
    chance = random.Random(seed)
    ends = vocabulary.end_tokens()
    written: list[int] = []
    while len(written) < most:
        forced = guide.forced()
        for token in forced:
            guide.accept(token)
        written += forced
        if guide.stopped:
            break
        row = np.zeros(vocabulary.size, dtype=np.float32)
        guide.mask(row)
        allowed = np.flatnonzero(row == 0).tolist()
        if ends & set(allowed) and chance.random() < 0.5:
            break
        plain = [token for token in allowed if token not in ends]
        short = [
            token for token in plain if vocabulary.piece(token).strip() in (b'"', b"}", b"]", b'"}', b",")
        ]
        token = chance.choice(short if short and chance.random() < 0.5 else plain)
        guide.accept(token)
        written.append(token)
    else:
        return None
    return b"".join(map(vocabulary.piece, written)).decode()


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_answers_are_valid(
    vocabulary: Vocabulary, compiler: GrammarCompiler, maker: GuideMaker, name: str
) -> None:
    grammar = _grammar(compiler, _of_schema(SCHEMAS[name]))
    validator = Draft202012Validator(SCHEMAS[name], format_checker=Draft202012Validator.FORMAT_CHECKER)
    answers = [_write(vocabulary, maker.guide(grammar), seed) for seed in range(6)]
    finished = [answer for answer in answers if answer is not None]
    assert len(finished) >= 2
    for answer in finished:
        assert not [error.message for error in validator.iter_errors(json.loads(answer))], answer


def test_keys_are_forced(vocabulary: Vocabulary, compiler: GrammarCompiler, maker: GuideMaker) -> None:
    properties = {"temperature_celsius": {"type": "integer"}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    guide = maker.guide(_grammar(compiler, _of_schema(schema)))
    text = b"".join(map(vocabulary.piece, guide.forced())).decode()
    assert '{"temperature_celsius":'.startswith(text)
    assert len(text) > 10


def test_any_object(vocabulary: Vocabulary, compiler: GrammarCompiler, maker: GuideMaker) -> None:
    grammar = _grammar(compiler, Constraint("json_object"))
    answers = [_write(vocabulary, maker.guide(grammar), seed) for seed in range(20)]
    assert all(isinstance(json.loads(answer), dict) for answer in answers if answer is not None)
    assert any(answers)


def test_a_repeated_constraint_costs_nothing(compiler: GrammarCompiler) -> None:
    constraint = _of_schema(
        {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(300)}}
    )
    first = _timed(lambda: _grammar(compiler, constraint))
    again = _timed(lambda: _grammar(compiler, constraint))
    assert again < first / 10


def test_a_repeated_refusal_costs_nothing(compiler: GrammarCompiler) -> None:
    constraint = _of_schema({"type": "string", "pattern": "(?=a)"})
    messages = []
    for _ in range(2):
        with pytest.raises(JobError) as caught:
            compiler.constraint(constraint)
        messages.append((caught.value.message, caught.value.param, caught.value.code))
    assert messages[0] == messages[1]
    assert messages[0][1] == f"{PLACE}.pattern"


def _timed(call: Any) -> float:
    started_at = time.thread_time()
    call()
    return time.thread_time() - started_at


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"patternProperties": {"^a": {}, "a$": {}}}}}, ".properties.a"),
        ({"anyOf": [{}, {"items": {"multipleOf": 123456789.123}}]}, ".anyOf.1.items"),
        (
            {"$defs": {"d": {"minProperties": 1, "properties": {"a": {}, "b": {}}}}, "$ref": "#/$defs/d"},
            ".$defs.d",
        ),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, ""),
        ({"type": "integer", "minimum": 5, "maximum": 4}, ""),
        (
            {"items": {"type": "integer", "multipleOf": 0.7, "maximum": 13, "minimum": 8}},
            ".items.multipleOf",
        ),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, ""),
    ],
)
def test_what_only_the_engine_refuses_is_named_too(compiler: GrammarCompiler, schema: Any, path: str) -> None:
    with pytest.raises(JobError) as caught:
        compiler.constraint(_of_schema(schema))
    assert caught.value.param == PLACE + path


_HOSTILE: dict[str, Constraint] = {
    "nested quantifiers": _of_schema({"type": "string", "pattern": "^(a+)+$"}),
    "nested quantifiers, as a whole answer": Constraint("regex", "(a+)+$", "regex"),
    "a billion items": _of_schema({"maxItems": 1_000_000_000}),
    "a million items by nesting": _of_schema(
        {"maxItems": 1000, "items": {"maxItems": 1000, "items": {"minItems": 1000, "type": "array"}}}
    ),
    "a remote reference": _of_schema({"$ref": "http://169.254.169.254/"}),
    "a reference to itself": _of_schema({"$ref": "#"}),
    "a megabyte": _of_schema({"description": "x" * 1_000_000}),
    "deep": _of_schema('{"items":' * 7000 + "{}" + "}" * 7000),
    "deep behind references": _of_schema(
        {
            "$defs": {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(900)},
            "$ref": "#/$defs/d0",
        }
    ),
    "wide": _of_schema({"properties": {f"p{n}": {} for n in range(3000)}}),
    "wide, all required": _of_schema(
        {"properties": {f"p{n}": {} for n in range(2000)}, "required": [f"p{n}" for n in range(2000)]}
    ),
    "intersections that multiply": _of_schema(
        {"allOf": [{"anyOf": [{"properties": {f"a{i}{j}": {}}} for j in range(4)]} for i in range(12)]}
    ),
    "patterns that must all match": _of_schema(
        {"allOf": [{"pattern": f"a.{{{n}}}b.{{{n + 7}}}c"} for n in range(20)], "type": "string"}
    ),
    "a few patterns that must all match": _of_schema(
        {"allOf": [{"pattern": f"(a|b)*a(a|b){{{100 + n}}}c"} for n in range(6)], "type": "string"}
    ),
    "patterns that must all match, doubled by references": _of_schema(
        {
            "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
            | {"d40": {"pattern": "a"}},
            "$ref": "#/$defs/d0",
        }
    ),
    "doubled by references": _of_schema(
        {
            "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
            | {"d40": {"properties": {"a": {"enum": ["b"]}}}},
            "$ref": "#/$defs/d0",
        }
    ),
    "choices doubled by references": _of_schema(
        {
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
            | {"d40": {"properties": {"a": {"enum": ["b"]}}}},
            "$ref": "#/$defs/d0",
        }
    ),
    "choices that may overlap": _of_schema(
        {
            "oneOf": [
                {"type": "object", "properties": {"a": {"const": n}}, "required": ["a"]} for n in range(700)
            ]
        }
    ),
    "an automaton with exponentially many states": Constraint("regex", "(a|b)*a(a|b){900}", "regex"),
    "repetitions that multiply": Constraint("regex", "((a{1000}){1000}){1000}", "regex"),
    "every letter a thousand times": Constraint("regex", r"(\p{L}{0,90}\p{N}{0,9}){0,90}", "regex"),
    "many words": Constraint("regex", "|".join(f"w{n * 7919 % 100003}" for n in range(9000)), "regex"),
    "rules that call each other": Constraint(
        "gbnf",
        "root ::= r0\n"
        + "\n".join(f'r{n} ::= r{n + 1} r{n + 1} | "a"' for n in range(200))
        + '\nr200 ::= "a"',
    ),
    "an ambiguous grammar": Constraint("gbnf", 'root ::= root root | root root root | "a" | ""'),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_constraints_end_soon(
    vocabulary: Vocabulary, compiler: GrammarCompiler, maker: GuideMaker, name: str
) -> None:
    """As a refusal, or compiled within two seconds; and then no step takes longer than the loop can bear."""
    seconds, grammar = _compiled(compiler, _HOSTILE[name])
    assert seconds < 2.0
    if grammar:
        assert _timed(lambda: maker.guide(grammar)) < 0.5
        assert _slowest_step(vocabulary, maker.guide(grammar)) < 0.2


def _compiled(compiler: GrammarCompiler, constraint: Constraint) -> tuple[float, str]:
    """Seconds, and the grammar, or nothing if it was refused."""
    started_at = time.thread_time()
    grammar = ""
    with contextlib.suppress(JobError):
        grammar = _grammar(compiler, constraint)
    return time.thread_time() - started_at, grammar


def _slowest_step(vocabulary: Vocabulary, guide: Guide) -> float:
    slowest = 0.0
    row = np.zeros(vocabulary.size, dtype=np.float32)

    def step() -> None:
        row[:] = 0
        with contextlib.suppress(GuideError):  # giving up on the answer is fine too
            guide.mask(row)
            guide.accept(min(set(np.flatnonzero(row == 0).tolist()) - vocabulary.end_tokens(), default=0))

    for _ in range(30):
        slowest = max(slowest, _timed(step))
    return slowest
