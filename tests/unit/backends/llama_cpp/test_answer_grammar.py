"""Which grammar an answer gets: who demands what, and whose schemas count."""

from collections.abc import Mapping

import pytest

from backends.base import JobError
from backends.llama_cpp.answer_grammar import AnswerGrammars, Bounds
from backends.llama_cpp.template import ChatTemplate
from backends.protocol import Chat, ChatMessage, Constraint, Tool
from tests.unit.backends.llama_cpp import templates

ODD = '{"type": "object", "odd": 1}'
JSON = Constraint("json_object")


class FakeCompiler:
    """Refuses schemas and grammars that hold a word, and remembers what was asked of it."""

    def __init__(self, refuses: str = "odd") -> None:
        self.refuses = refuses
        self.schemas: list[tuple[str, str]] = []
        self.wholes: list[tuple[str, Mapping[str, str]]] = []

    def constraint(self, constraint: Constraint) -> str:
        return f"start: {constraint.kind}"

    def schema(self, source: str, place: str) -> str:
        self.schemas.append((source, place))
        if self.refuses in source:
            raise JobError("odd", param=f"{place}.odd")
        return source

    def whole(self, lark: str, place: str, others: Mapping[str, str] | None = None) -> str:
        if self.refuses in lark:
            raise JobError("too large", param=place)
        self.wholes.append((place, others or {}))
        return lark


def bounds(
    compiler: FakeCompiler,
    tools: list[Tool],
    constraint: Constraint | None = None,
    source: str = templates.CHATML,
    **chat: object,
) -> Bounds:
    asked = Chat([ChatMessage("user", "x")], tools, **chat)  # type: ignore[arg-type]
    rendered = ChatTemplate(source, [], "", "").render(asked)
    return AnswerGrammars(compiler, {}).bounds(asked, rendered, constraint)


def test_a_plain_chat_is_free() -> None:
    compiler = FakeCompiler()
    assert bounds(compiler, []) == Bounds()
    assert bounds(compiler, [Tool("f")], tool_choice="none") == Bounds()
    assert compiler.wholes == []


def test_a_demanded_call_is_bound_from_the_start_to_the_allowed_tools() -> None:
    compiler = FakeCompiler()
    found = bounds(compiler, [Tool("f"), Tool("g")], tool_choice="required", allowed_tools=["g"])
    assert found.triggers == []
    assert '"g\\"' in found.grammar
    assert '"f\\"' not in found.grammar
    assert compiler.wholes == [("tools", {})]
    assert [place for _, place in compiler.schemas] == ["tools[1].function.parameters"]


def test_an_offered_call_is_bound_from_its_marker_on() -> None:
    found = bounds(FakeCompiler(), [Tool("f")])
    assert found.triggers == ["<tool_call>"]
    assert "@other" not in found.grammar


def test_one_call_at_a_time() -> None:
    assert "{0,15}" in bounds(FakeCompiler(), [Tool("f")]).grammar
    assert "{0,15}" not in bounds(FakeCompiler(), [Tool("f")], parallel_tool_calls=False).grammar
    assert "{0,15}" not in bounds(FakeCompiler(), [Tool("f")], source=templates.LLAMA3).grammar
    named = bounds(FakeCompiler(), [Tool("f"), Tool("g")], tool_choice="required", allowed_tools=["g"])
    assert "{0,15}" not in named.grammar
    assert "{0,15}" in bounds(FakeCompiler(), [Tool("f")], tool_choice="required").grammar


def test_calls_or_what_the_answer_must_be_otherwise() -> None:
    compiler = FakeCompiler()
    found = bounds(compiler, [Tool("f")], JSON)
    assert "start: calls | @other" in found.grammar
    assert compiler.wholes == [("response_format", {"other": "start: json_object"})]
    assert "@other" not in bounds(compiler, [Tool("f")], JSON, tool_choice="required").grammar


def test_reasoning_goes_before_what_the_answer_must_be() -> None:
    assert bounds(FakeCompiler(), [], JSON).grammar == "start: @other"
    assert "thought" in bounds(FakeCompiler(), [], JSON, source=templates.HERMES).grammar
    opened = bounds(FakeCompiler(), [], JSON, source=templates.HERMES, reasoning_effort="high")
    assert opened.triggers == ["</think>"]


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        ("", '{"type": "object", "properties": {}, "additionalProperties": false}'),
        ("{}", '{"type": "object", "properties": {}, "additionalProperties": false}'),
        (' {"properties": {}}', '{"type": "object", "properties": {}}'),
        ('{"$ref": "#/$defs/a"}', '{"$ref": "#/$defs/a"}'),
        ('{"type": "object"}', '{"type": "object"}'),
        ("[", "["),
    ],
)
def test_arguments_are_an_object_whatever_the_schema_leaves_out(parameters: str, schema: str) -> None:
    compiler = FakeCompiler()
    bounds(compiler, [Tool("f", "", parameters)], tool_choice="required")
    assert compiler.schemas == [(schema, "tools[0].function.parameters")]


@pytest.mark.parametrize(
    ("tool", "choice"), [(Tool("f", "", ODD), "required"), (Tool("f", "", ODD, strict=True), "auto")]
)
def test_a_schema_that_binds_and_cannot_be_followed_is_refused(tool: Tool, choice: str) -> None:
    with pytest.raises(JobError) as caught:
        bounds(FakeCompiler(), [Tool("g"), tool], tool_choice=choice)
    assert caught.value.param == "tools[1].function.parameters.odd"


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(JobError) as caught:
        bounds(FakeCompiler(), [Tool("f", "", '{"type": "string"}')], tool_choice="required")
    assert caught.value.param == "tools[0].function.parameters.type"


def test_a_schema_that_does_not_bind_leaves_the_arguments_free() -> None:
    compiler = FakeCompiler()
    found = bounds(compiler, [Tool("f", "", ODD)])
    assert 'arguments_0: %json {"type": "object"}' in found.grammar


def test_offered_tools_that_are_too_much_for_a_grammar_are_offered_all_the_same() -> None:
    assert bounds(FakeCompiler(refuses="start"), [Tool("f")]) == Bounds()
    with pytest.raises(JobError):
        bounds(FakeCompiler(refuses="start"), [Tool("f", strict=True)])
    with pytest.raises(JobError):
        bounds(FakeCompiler(refuses="start"), [Tool("f")], tool_choice="required")
