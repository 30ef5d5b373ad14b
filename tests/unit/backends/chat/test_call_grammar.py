"""The grammars of calls, followed by the engine that will follow them, byte by byte."""

import json

import pytest
from llguidance import LLMatcher, LLTokenizer

from backends.chat.answer import AnswerFormat
from backends.chat.call_grammar import AnswerGrammar, CallableTool, forced_calls, offered_calls
from backends.chat.parsers import parser_for
from backends.chat.writing import HERMES, CallWriting, recognise
from backends.protocol import ToolCall
from tests.unit.backends.chat.reading import told

OPTIONS = {"whitespace_flexible": False, "key_separator": ": ?", "item_separator": ", ?"}
"""White space of all schemas: where calls and other JSON may stand in one place, it must be the same."""
CITY = json.dumps(
    {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/city"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"city": {"enum": ["Rome", "Oslo"]}},
        "x-guidance": OPTIONS,
    }
)
ANY = json.dumps({"type": "object", "x-guidance": OPTIONS})
TOOLS = [CallableTool("get", CITY), CallableTool("get_all", ANY)]
CALLS = [("get", '{"city": "Rome"}'), ("get_all", '{"a": ["}", 1]}')]
NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "x-guidance": OPTIONS}
OTHER = {"name": "other", "lark_grammar": f"start: %json {json.dumps(NAMED)}"}
SAMPLES = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {}}',
    "mistral list": '[TOOL_CALLS][{"name": "f", "arguments": {}}]',
    "mistral id": "[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{}",
    "mistral": "[TOOL_CALLS]f[ARGS]{}",
    "deepseek fenced": "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}",
    "deepseek": "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}",
    "functionary": "<function=f>{}</function>",
    "functionary addressed": ">>>f\n{}",
    "llama3": '{"name": "f", "parameters": {}}',
    "llama3 tagged": '<|python_tag|>{"name": "f", "parameters": {}}',
    "json": '{"name": "f", "arguments": {}}',
    "json list": '[{"name": "f", "arguments": {}}]',
    "json tagged": '<tool_calls>\n{"name": "f", "arguments": {}}',
    "json functools": 'functools[{"name": "f", "arguments": {}}]',
}
THINKS = {"think_open": "<think>", "think_close": "</think>"}
tokenizer = LLTokenizer("byte")


def writing(sample: str) -> CallWriting:
    found = recognise(SAMPLES[sample], 0, "f")
    assert found is not None
    return found


def answer_format(writing: CallWriting, **fields: object) -> AnswerFormat:
    return AnswerFormat(writing.family, [tool.name for tool in TOOLS], **fields)  # type: ignore[arg-type]


def followed(grammar: AnswerGrammar, text: str, *others: object) -> bool:
    """Whether `text` is a whole answer."""
    grammars = [{"name": "answer", "lark_grammar": grammar.lark}, *others]
    matcher = LLMatcher(tokenizer, json.dumps({"grammars": grammars}), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer.tokenize_str(text)
    count = matcher.validate_tokens(tokens)
    matcher.consume_tokens(tokens[:count])
    return count == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_is_forced_is_what_the_family_writes_and_its_parser_reads(sample: str) -> None:
    style = writing(sample)
    grammar = forced_calls(TOOLS, style, answer_format(style), {}, several=True)
    assert grammar.triggers == []
    for calls in (CALLS[:1], CALLS[1:], CALLS, CALLS * 2):
        text = style.write(calls)
        assert followed(grammar, text)
        read = told(answer_format(style), [text])
        assert [(c.name, c.arguments) for c in read if isinstance(c, ToolCall)] == calls


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("wrong", [("get", '{"city": "Bonn"}'), ("get", "{}"), ("other", "{}"), ("get", "[")])
def test_wrong_names_and_arguments_cannot_be_written(sample: str, wrong: tuple[str, str]) -> None:
    style = writing(sample)
    grammar = forced_calls(TOOLS, style, answer_format(style), {}, several=True)
    assert not followed(grammar, style.write([wrong]))
    assert not followed(grammar, "Well, " + style.write(CALLS))


@pytest.mark.parametrize("sample", SAMPLES)
def test_one_call_is_one_call(sample: str) -> None:
    style = writing(sample)
    for grammar in (
        forced_calls(TOOLS, style, answer_format(style), {}, several=False),
        forced_calls(TOOLS, style, answer_format(style), {}, several=False, other=True),
    ):
        others = [OTHER] if "@other" in grammar.lark else []
        assert followed(grammar, style.write(CALLS[:1]), *others)
        assert not followed(grammar, style.write(CALLS), *others)


def test_calls_have_an_end() -> None:
    grammar = forced_calls(TOOLS, HERMES, answer_format(HERMES), {}, several=True)
    assert followed(grammar, HERMES.write(CALLS[:1] * 16))
    assert not followed(grammar, HERMES.write(CALLS[:1] * 17))


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_call_that_the_model_begins_becomes_a_whole_one(sample: str) -> None:
    style = writing(sample)
    text = style.write(CALLS)
    grammar = offered_calls(TOOLS, style, {}, several=True)
    begun = min(text.find(trigger) for trigger in grammar.triggers if trigger in text)
    assert followed(grammar, text[begun:])
    assert not followed(grammar, style.write([("get", "{}")])[begun:])


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if "{" in writing(sample).call])
def test_a_begun_call_may_have_the_models_own_white_space(sample: str) -> None:
    style = writing(sample)
    grammar = offered_calls(TOOLS, style, {}, several=True)
    dense = style.write(CALLS[:1]).replace("\n", "").replace('"name": "', '"name":"')
    assert followed(grammar, dense)
    parsed = told(answer_format(style), dense)
    assert isinstance(parsed[0], ToolCall)


@pytest.mark.parametrize("text", ['I use {"name": "x"}', "<tool>", "all\nHi", "[1, 2]", "function", "get it"])
def test_other_text_triggers_nothing(text: str) -> None:
    for sample in SAMPLES:
        triggers = offered_calls(TOOLS, writing(sample), {}, several=True).triggers
        assert triggers
        assert not any(trigger in text for trigger in triggers)


@pytest.mark.parametrize("sample", SAMPLES)
def test_calls_or_another_answer(sample: str) -> None:
    style = writing(sample)
    grammar = forced_calls(TOOLS, style, answer_format(style), {}, several=True, other=True)
    assert followed(grammar, style.write(CALLS), OTHER)
    assert followed(grammar, '{"name": "get_and_more"}', OTHER)
    assert not followed(grammar, '{"name": 1}', OTHER)


def test_an_open_thought_ends_first_and_the_grammar_begins_there() -> None:
    format = answer_format(HERMES, in_reasoning=True, **THINKS)
    grammar = forced_calls(TOOLS, HERMES, format, {}, several=True)
    assert grammar.triggers == ["</think>"]
    text = "</think>\n\n" + HERMES.write(CALLS)
    assert followed(grammar, text)
    assert followed(grammar, "</think>" + HERMES.write(CALLS))
    assert not followed(grammar, "</think>\n\nWell")
    assert told(format, "hm" + text)[0] == ("reasoning", "hm")


def test_a_model_that_may_think_may_do_so_before_it_must_call() -> None:
    format = answer_format(HERMES, **THINKS)
    grammar = forced_calls(TOOLS, HERMES, format, {}, several=True)
    assert grammar.triggers == []
    assert followed(grammar, HERMES.write(CALLS))
    assert followed(grammar, "<think>\n<tool_call> </thin\n</think>\n\n" + HERMES.write(CALLS))
    assert followed(grammar, "<think></think>" + HERMES.write(CALLS))
    assert not followed(grammar, "<think>a</think> b</think>" + HERMES.write(CALLS))


def test_the_prompts_own_beginning_is_not_written_again() -> None:
    style = writing("functionary addressed")
    format = answer_format(style, lead=">>>")
    grammar = forced_calls(TOOLS, style, format, {}, several=True)
    text = style.write(CALLS).removeprefix(">>>")
    assert followed(grammar, text)
    assert [part.name for part in told(format, text) if isinstance(part, ToolCall)] == ["get", "get_all"]


def test_control_tokens_are_named_by_number() -> None:
    control = {"[TOOL_CALLS]": 5, "[ARGS]": 32, "</think>": 9, "<think>": 8}
    style = writing("mistral")
    grammar = forced_calls(TOOLS[1:], style, answer_format(style, **THINKS), control, several=False)
    assert "calls: <[5]> named" in grammar.lark
    assert 'named_0: "get_all" <[32]> arguments_0' in grammar.lark
    assert "start: (<[8]> thought GAP?)? answer" in grammar.lark
    assert "thought: THOUGHT? <[9]>" in grammar.lark


def test_a_parser_for_the_same_format_exists() -> None:
    for sample in SAMPLES:
        assert parser_for(answer_format(writing(sample)), lambda: "x").finish() == []
