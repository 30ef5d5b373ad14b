"""Reasoning between think tags, and the answer after it."""

from backends.chat.answer import ReasoningPiece, TextPiece
from backends.chat.parsers import parser_for
from backends.protocol import ToolCall
from tests.unit.backends.chat.reading import answer_format, told

OPENED = answer_format("none", think=True)
INSIDE = answer_format("none", think=True, in_reasoning=True)


def test_reasoning_and_answer_lose_the_space_between() -> None:
    assert told(OPENED, "<think>\nHm.\n\nSo.\n</think>\n\n  Yes.") == [("reasoning", "Hm.\n\nSo."), "  Yes."]


def test_the_prompt_may_have_opened_the_tag() -> None:
    assert told(INSIDE, "Hm.</think>Yes.") == [("reasoning", "Hm."), "Yes."]
    assert told(INSIDE, "\n<think>Hm.</think>Yes.") == [("reasoning", "Hm."), "Yes."]


def test_an_answer_without_reasoning_is_untouched() -> None:
    assert told(OPENED, "\n <thin> it </think>") == ["\n <thin> it </think>"]


def test_tags_further_on_are_text() -> None:
    text = "a <think>b</think>"
    assert told(OPENED, text) == [text]
    assert told(OPENED, "<think>a</think>" + text) == [("reasoning", "a"), text]


def test_empty_reasoning_is_nothing() -> None:
    assert told(OPENED, "<think>\n\n</think>\n\nYes.") == ["Yes."]


def test_reasoning_that_never_ends_is_all_told() -> None:
    assert told(INSIDE, "Hm </thin") == [("reasoning", "Hm </thin")]
    assert told(OPENED, " <thi") == [" <thi"]


def test_calls_come_after_reasoning_and_never_inside() -> None:
    inside = '<tool_call>{"name": "get"}</tool_call>'
    text = f"<think>{inside}</think>\n\n{inside}"
    expected = [("reasoning", inside), ToolCall("call_000000000", "get", "{}")]
    assert told(answer_format("hermes", think=True), text) == expected


def test_a_parser_knows_whether_it_is_inside() -> None:
    parser = parser_for(OPENED, str)
    assert not parser.in_reasoning
    parser.feed("<think>")
    assert parser.in_reasoning
    assert parser.feed("Hm. ") == [ReasoningPiece("Hm.")]
    assert parser.in_reasoning
    assert parser.feed("</think>a") == [TextPiece("a")]
    assert not parser.in_reasoning
    assert parser_for(INSIDE, str).in_reasoning
