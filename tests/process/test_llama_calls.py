"""Whatever a model writes under a grammar of calls is read back as calls: random models, real vocabulary."""

import json
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from backends.chat.answer import AnswerFormat, CallPiece, ReasoningPiece, TextPiece
from backends.chat.parsers import parser_for
from backends.llama_cpp.answer_grammar import AnswerGrammars, Bounds
from backends.llama_cpp.grammar import GrammarCompiler
from backends.llama_cpp.guide import Guide, GuideMaker
from backends.llama_cpp.model import Vocabulary, open_model
from backends.llama_cpp.template import ChatTemplate
from backends.protocol import Chat, ChatMessage, Constraint, Tool
from tests.unit.backends.llama_cpp import templates

SCHEMAS = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 12},
            "unit": {"enum": ["C", "F", None]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "get": {"properties": {"key": {"const": '}"</tool_call>'}}, "additionalProperties": False},
    "stop": {},
}
TOOLS = [Tool(name, "", json.dumps(schema) if schema else "") for name, schema in SCHEMAS.items()]
SOURCES = {
    "hermes": templates.HERMES,
    "llama3": templates.LLAMA3,
    "mistral": templates.MISTRAL,
    "mistral named": templates.MISTRAL_NAMED,
    "deepseek": templates.DEEPSEEK,
    "functionary": templates.FUNCTIONARY,
    "generic": templates.CHATML,
}
ANSWER = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "n": {"type": "integer", "maximum": 9}},
    "required": ["name"],
    "additionalProperties": False,
}
OTHER = Constraint("json_schema", json.dumps(ANSWER))
MOST_TOKENS = 200
CLOSING = (b'"', b"}", b"]", b'"}', b"}}", b">")


class Random:
    """A model that knows nothing, and likes to come to an end."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.grammars = AnswerGrammars(GrammarCompiler(vocabulary), {})
        self.maker = GuideMaker(vocabulary)
        self.ends = vocabulary.end_tokens()
        self.closing = [t for t in range(vocabulary.size) if vocabulary.piece(t).strip() in CLOSING]

    def write(self, bounds: Bounds, format: AnswerFormat, begun: str, seed: int) -> str | None:
        """An answer that begins with `begun`; None if it has not ended after so many tokens."""
        guide = self.maker.guide(bounds.grammar, bounds.triggers, format)
        chance = random.Random(seed)
        tokens = [int(token) for token in self.vocabulary.tokenize(begun, parse_special=False)]
        for token in tokens:
            guide.accept(token)
        assert guide.active
        while len(tokens) < MOST_TOKENS:
            token = self._next(guide, chance)
            if token in self.ends:
                return b"".join(map(self.vocabulary.piece, tokens)).decode()
            guide.accept(token)
            tokens.append(token)
        return None

    def _next(self, guide: Guide, chance: random.Random) -> int:
        forced = guide.forced()
        if forced:
            return forced[0]
        row = np.zeros(self.vocabulary.size, dtype=np.float32)
        guide.mask(row)
        # What ends something is rare among so many tokens: where it may come, it comes every second time.
        for favoured in (self.ends, self.closing):
            possible = [token for token in favoured if row[token] > -np.inf]
            if possible and chance.random() < 0.5:
                return chance.choice(possible)
        return int(chance.choice(np.flatnonzero(row > -np.inf)))


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[Random]:
    opened = open_model(smollm2_path, vocab_only=True)
    yield Random(opened.vocabulary)
    opened.close()


def bounds_of(
    model: Random, source: str, constraint: Constraint | None = None, **fields: object
) -> tuple[Bounds, AnswerFormat]:
    chat = Chat([ChatMessage("user", "hello")], TOOLS, **fields)  # type: ignore[arg-type]
    rendered = ChatTemplate(source, [], "", "").render(chat)
    return model.grammars.bounds(chat, rendered, constraint), rendered.format


def calls_in(text: str, format: AnswerFormat) -> tuple[list[tuple[str, str]], str, str]:
    """Names and arguments, the text beside them, and the reasoning."""
    numbers = count()
    parser = parser_for(format, lambda: f"call{next(numbers):08}")
    calls: dict[int, tuple[str, str]] = {}
    said = thought = ""
    for piece in [piece for character in text for piece in parser.feed(character)] + parser.finish():
        if isinstance(piece, CallPiece):
            name, arguments = calls.get(piece.index, ("", ""))
            calls[piece.index] = (name + piece.name, arguments + piece.arguments)
        elif isinstance(piece, TextPiece):
            said += piece.text
        elif isinstance(piece, ReasoningPiece):
            thought += piece.text
    return list(calls.values()), said, thought


def check(calls: list[tuple[str, str]]) -> None:
    for name, arguments in calls:
        schema = SCHEMAS[name] or {"type": "object", "maxProperties": 0}
        value = json.loads(arguments)
        assert isinstance(value, dict)
        Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("source", SOURCES)
def test_a_demanded_call_is_a_valid_call(model: Random, source: str) -> None:
    bounds, format = bounds_of(model, SOURCES[source], tool_choice="required")
    begun = "hm</think>" if format.in_reasoning else ""
    written = [model.write(bounds, format, begun, seed) for seed in range(8)]
    whole = [text for text in written if text is not None]
    assert len(whole) >= 2
    for text in whole:
        calls, said, _ = calls_in(text, format)
        assert calls, text
        assert said == ""
        check(calls)


@pytest.mark.parametrize("source", SOURCES)
def test_a_call_that_the_model_begins_is_a_valid_call(model: Random, source: str) -> None:
    bounds, format = bounds_of(model, SOURCES[source])
    thought = "hm</think>\n\n" if format.in_reasoning else ""
    written = [
        model.write(bounds, format, f"{thought}Let me see. {bounds.triggers[0]}", seed) for seed in range(8)
    ]
    whole = [text for text in written if text is not None]
    assert len(whole) >= 2
    for text in whole:
        # Calls of these have no marker, and stand at the beginning.
        begins = source in ("llama3", "functionary")
        calls, _, _ = calls_in(text.replace("Let me see. ", "", int(begins)), format)
        assert calls, text
        check(calls)


@pytest.mark.parametrize("source", SOURCES)
def test_an_answer_is_calls_or_what_the_request_demands(model: Random, source: str) -> None:
    bounds, format = bounds_of(model, SOURCES[source], OTHER)
    begun = "hm</think>" if format.in_reasoning else ""
    kinds = set()
    for seed in range(8):
        text = model.write(bounds, format, begun, seed)
        if text is None:
            continue
        calls, said, _ = calls_in(text, format)
        check(calls)
        kinds.add(bool(calls))
        if not calls:
            Draft202012Validator(ANSWER).validate(json.loads(said))
    assert kinds


def test_one_call_where_only_one_may_be(model: Random) -> None:
    bounds, format = bounds_of(model, templates.CHATML, tool_choice="required", allowed_tools=["get"])
    for seed in range(6):
        text = model.write(bounds, format, "", seed)
        assert text is not None
        calls, _, _ = calls_in(text, format)
        assert [name for name, _ in calls] == ["get"]


def test_a_model_may_think_before_it_must_call(model: Random) -> None:
    bounds, format = bounds_of(model, templates.HERMES, tool_choice="required")
    assert format.think_close
    text = model.write(bounds, format, "<think>\nFirst <tool_call> then.</think>\n\n", 1)
    assert text is not None
    calls, said, thought = calls_in(text, format)
    assert (said, thought) == ("", "First <tool_call> then.")
    check(calls)
    assert calls
