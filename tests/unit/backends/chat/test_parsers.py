"""What each family's parser makes of an answer."""

import json

import pytest

from backends.chat.answer import CallFormat, CallPiece, PlainParser, TextPiece
from backends.chat.parsers import parser_for
from backends.protocol import ToolCall
from tests.unit.backends.chat.reading import TOOLS, answer_format, pieces_of, told

HARD = '{"s": "}</tool_call>\\\\ \\" [TOOL_CALLS]", "n": [1, {"a": null}], "é": -1.5e3}'


def call(name: str, arguments: str, number: int = 0) -> ToolCall:
    return ToolCall(f"call_00000000{number}", name, arguments)


def mistral_call(name: str, arguments: str, number: int = 0) -> ToolCall:
    return ToolCall(f"00000000{number}", name, arguments)


WHOLE: list[tuple[CallFormat, str, list[object]]] = [
    ("hermes", f'<tool_call>\n{{"name": "get", "arguments": {HARD}}}\n</tool_call>', [call("get", HARD)]),
    (
        "hermes",
        'Wait.\n<tool_call>{"name":"get","arguments":{}}</tool_call>\n\n'
        '<tool_call>{"arguments": {"a": 1}, "name": "add-two"}</tool_call>\nDone. ',
        ["Wait.", call("get", "{}"), call("add-two", '{"a": 1}', 1), "Done. "],
    ),
    ("hermes", '{"name": "get", "arguments": {"a":1}}', [call("get", '{"a":1}')]),
    ("hermes", '<tool_call>{"name": "get", "arguments": {}} and more', [call("get", "{}"), "and more"]),
    (
        "llama3",
        f'{{"type": "function", "name": "get_weather", "parameters": {HARD}}}',
        [call("get_weather", HARD)],
    ),
    (
        "llama3",
        '<|python_tag|>{"name": "get", "parameters": {"a":1}}; {"name": "get", "parameters": {}}',
        [call("get", '{"a":1}'), call("get", "{}", 1)],
    ),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "get", "arguments": {"a":1}, "id": "abcdefghi"}, '
        '{"name": "get_weather", "arguments": {}}]',
        [mistral_call("get", '{"a":1}'), mistral_call("get_weather", "{}", 1)],
    ),
    (
        "mistral",
        f"Well[TOOL_CALLS]get[ARGS]{HARD}[TOOL_CALLS]add-two[CALL_ID]123456789[ARGS]{{}}",
        ["Well", mistral_call("get", HARD), mistral_call("add-two", "{}", 1)],
    ),
    (
        "deepseek",
        "So: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n"
        f"{HARD}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n{{}}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ["So:", call("get", HARD), call("get", "{}", 1)],
    ),
    (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
        '<｜tool▁call▁begin｜>add-two<｜tool▁sep｜>{"a":1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        [call("get", "{}"), call("add-two", '{"a":1}', 1)],
    ),
    (
        "functionary",
        f"Ah. <function=get>{HARD}</function><function=add-two>{{}}</function>",
        ["Ah.", call("get", HARD), call("add-two", "{}", 1)],
    ),
    (
        "functionary",
        '>>>all\nLook: >>> 1 + 1\n>>>get\n{"a": 1}>>>add-two\n{}',
        ["Look: >>> 1 + 1", call("get", '{"a": 1}'), call("add-two", "{}", 1)],
    ),
    ("json", f'\n{{"name": "get", "arguments": {HARD}}}', [call("get", HARD)]),
    (
        "json",
        '```json\n[{"function": {"name": "get", "arguments": {}}}, '
        '{"name": "add-two", "parameters": {}}]\n```',
        [call("get", "{}"), call("add-two", "{}", 1)],
    ),
    ("json", 'functools[{"name": "get", "arguments": {}}]', [call("get", "{}")]),
    ("json", 'Now<|tool_call|>[{"name": "get", "arguments": {}}]', ["Now", call("get", "{}")]),
]


@pytest.mark.parametrize(("calls", "text", "expected"), WHOLE)
def test_calls_are_found_and_arguments_are_as_written(
    calls: CallFormat, text: str, expected: list[object]
) -> None:
    assert told(answer_format(calls), [text]) == expected
    assert told(answer_format(calls), text) == expected


FALSE_STARTS: list[tuple[CallFormat, str]] = [
    ("hermes", 'a <tool_call>{"name": "unknown", "arguments": {}}</tool_call> b'),
    ("hermes", "a <tool_call> b </tool_call>"),
    ("hermes", 'a <tool_call>{"name": 3}'),
    ("hermes", 'a <tool_call>{"name": "get", "other": 1}'),
    ("hermes", '{"city": "get", "name": "get"}'),
    ("hermes", "a <tool"),
    ("llama3", '{"name": "unknown", "parameters": {}}'),
    ("llama3", 'It is {"name": "get", "parameters": {}}'),
    ("llama3", '<|python_tag|>get.call(a="b")'),
    ("mistral", "[TOOL_CALLS]unknown[ARGS]{}"),
    ("mistral", "[TOOL_CALLS][]"),
    ("mistral", "[TOOL_CALLS]get[CALL_ID]12[ARGS]{}"),
    ("mistral", '[{"name": "get", "arguments": {}}]'),
    ("deepseek", "<｜tool▁calls▁begin｜> <｜tool▁call▁begin｜>unknown<｜tool▁sep｜>{}"),
    ("deepseek", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}"),
    ("functionary", "<function=unknown>{}</function> >>>unknown\n{}"),
    ("functionary", ">>>get\nnothing"),
    ("json", '[1, {"name": "get", "arguments": {}}]'),
    ("json", 'see: {"name": "get", "arguments": {}}'),
    ("json", '{"function": {"function": {"name": "get"}}}'),
]


@pytest.mark.parametrize(("calls", "text"), FALSE_STARTS)
def test_what_is_no_call_of_a_known_tool_stays_text(calls: CallFormat, text: str) -> None:
    assert told(answer_format(calls), [text]) == [text]
    assert told(answer_format(calls), text) == [text]


def test_a_false_start_does_not_hide_a_call_right_after_it() -> None:
    text = 'a <tool_call> <tool_call>{"name": "get", "arguments": {}}</tool_call>'
    assert told(answer_format("hermes"), text) == ["a <tool_call>", call("get", "{}")]


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('"{\\"a\\": \\"\\\\u00e9 \\ud83d\\ude00\\"}"', '{"a": "\\u00e9 😀"}'),
        ('""', "{}"),
        ("null", "{}"),
        ('"\\ud800"', "?"),
    ],
)
def test_arguments_in_a_string_are_unpacked(written: str, arguments: str) -> None:
    text = f'<tool_call>{{"name": "get", "arguments": {written}}}</tool_call>'
    assert told(answer_format("hermes"), [text]) == [call("get", arguments)]
    assert told(answer_format("hermes"), text) == [call("get", arguments)]


def test_a_call_without_arguments_takes_none() -> None:
    assert told(answer_format("llama3"), '{"name": "get"}') == [call("get", "{}")]


def test_arguments_are_told_as_they_come_and_the_name_before_them() -> None:
    parser = parser_for(answer_format("hermes"), lambda: "call_1")
    assert parser.feed('I see. <tool_call>{"name": "get", "arguments"') == [TextPiece("I see.")]
    assert parser.feed(': {"pla') == [CallPiece(0, id="call_1", name="get"), CallPiece(0, '{"pla')]
    assert parser.feed("ce") == [CallPiece(0, "ce")]
    assert parser.feed('": "\\') == [CallPiece(0, '": "')]
    assert parser.feed('"}"}') == [CallPiece(0, '\\"}"}')]


def test_a_call_that_is_cut_short_stays_as_it_was_told() -> None:
    cut = '<tool_call>{"name": "get", "arguments": {"a": "b\\'
    assert told(answer_format("hermes"), cut) == [call("get", '{"a": "b\\')]


def test_a_call_that_was_not_announced_when_the_text_ended_is_text() -> None:
    cut = '<tool_call>{"name": "get", "argum'
    assert told(answer_format("hermes"), cut) == [cut]


def test_a_call_that_breaks_after_its_arguments_is_kept_and_the_rest_is_text() -> None:
    text = '<tool_call>{"name": "get", "arguments": {}, oops'
    assert told(answer_format("hermes"), text) == [call("get", "{}"), "oops"]


def test_text_is_held_back_only_where_a_marker_may_begin() -> None:
    parser = parser_for(answer_format("hermes"), lambda: "")
    assert parser.feed("a < b") == [TextPiece("a < b")]
    assert parser.feed(" <tool") == []
    assert parser.feed("s>") == [TextPiece(" <tools>")]
    assert parser.feed("x <") == [TextPiece("x")]
    assert parser.finish() == [TextPiece(" <")]


def test_json_that_is_no_call_is_let_go_at_its_first_foreign_key_or_name() -> None:
    parser = parser_for(answer_format("llama3"), lambda: "")
    assert parser.feed('{"na') == []
    assert parser.feed('tion": ') == [TextPiece("{"), TextPiece('"nation":')]
    parser = parser_for(answer_format("llama3"), lambda: "")
    assert parser.feed('{"name": "Ada') == [TextPiece('{"name":'), TextPiece(' "Ada')]


def test_the_prompts_end_opens_the_first_part() -> None:
    addressed = answer_format("functionary", lead=">>>")
    assert told(addressed, 'get\n{"a":1}>>>all\nHi') == [call("get", '{"a":1}'), "Hi"]
    assert told(addressed, "all\nHello") == ["Hello"]
    assert told(addressed, "Hello") == ["Hello"]


def test_white_space_alone_is_text_unless_a_call_follows() -> None:
    assert told(answer_format("hermes"), " \n ") == [" \n "]
    assert told(answer_format("hermes"), ' \n <tool_call>{"name": "get"} \n ') == [call("get", "{}")]


def test_without_tools_or_tags_nothing_is_parsed() -> None:
    assert isinstance(parser_for(answer_format("none"), str), PlainParser)
    assert told(answer_format("none"), "<tool_call>") == ["<tool_call>"]


def test_names_are_taken_whole() -> None:
    assert TOOLS[0].startswith(TOOLS[1])
    text = "[TOOL_CALLS]get_weather[ARGS]{}[TOOL_CALLS]get[ARGS]{}"
    assert [part.name for part in told(answer_format("mistral"), text) if isinstance(part, ToolCall)] == [
        "get_weather",
        "get",
    ]


def test_deeply_nested_arguments_are_no_trouble() -> None:
    arguments = json.dumps({"a": 0})[:-2] + "[" * 20_000 + "]" * 20_000 + "}"
    text = f'<tool_call>{{"name": "get", "arguments": {arguments}}}</tool_call>'
    pieces = pieces_of(answer_format("hermes"), [text])
    assert "".join(piece.arguments for piece in pieces if isinstance(piece, CallPiece)) == arguments
