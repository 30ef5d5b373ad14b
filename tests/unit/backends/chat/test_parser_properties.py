"""What a parser gives does not depend on how the text was cut, and nothing of the text is lost."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.chat.answer import CallFormat
from backends.chat.families import mistral_id
from backends.protocol import ToolCall
from tests.unit.backends.chat.reading import TOOLS, answer_format, split, told

EXAMPLES = 40
"""For each family; more find no more in what has been tried."""
Write = Callable[[str, str], str]
MARKERS: dict[CallFormat, list[str]] = {
    "hermes": ["<tool_call>", "</tool_call>"],
    "llama3": ["<|python_tag|>", "; ", '"parameters": '],
    "mistral": ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "123456789", "[", "]"],
    "deepseek": [
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>",
        "function",
        "```json\n",
    ],
    "functionary": ["<function=", ">", "</function>", ">>>", "all\n"],
    "json": ["functools", "<|tool_call|>", "```json", "```", "[", "]"],
}
WRITE: dict[CallFormat, list[Write]] = {
    "hermes": [
        lambda name, arguments: (
            f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>\n'
        ),
        lambda name, arguments: f'<tool_call>{{"arguments":{arguments},"name":"{name}"}}</tool_call>',
    ],
    "llama3": [
        lambda name, arguments: f'<|python_tag|>{{"name": "{name}", "parameters": {arguments}}}; ',
        lambda name, arguments: f'<|python_tag|>{{"parameters": {arguments},"name": "{name}"}}\n',
    ],
    "mistral": [
        lambda name, arguments: f'[TOOL_CALLS][{{"name": "{name}", "arguments": {arguments}}}]',
        lambda name, arguments: f"[TOOL_CALLS]{name}[ARGS]{arguments}",
        lambda name, arguments: f"[TOOL_CALLS]{name}[CALL_ID]a1b2c3d4e[ARGS]{arguments}",
    ],
    "deepseek": [
        lambda name, arguments: (
            f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```"
            "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        lambda name, arguments: f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>",
    ],
    "functionary": [
        lambda name, arguments: f"<function={name}>{arguments}</function>",
        lambda name, arguments: f">>>{name}\n{arguments}",
    ],
    "json": [
        lambda name, arguments: f'<|tool_call|>[{{"name": "{name}", "arguments": {arguments}}}]',
        lambda name, arguments: f'<|tool_call|>{{"function":{{"name":"{name}","arguments":{arguments}}}}}',
    ],
}
FAMILIES = list(MARKERS)
OPENERS: dict[CallFormat, list[str]] = {
    "hermes": ["<tool_call>"],
    "llama3": ["<|python_tag|>"],
    "mistral": ["[TOOL_CALLS]"],
    "deepseek": ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"],
    "functionary": ["<function=", ">>>"],
    "json": ["<|tool_call|>"],
}
MARKS: dict[CallFormat, list[str]] = OPENERS | {
    "hermes": ["<tool_call>", "</tool_call>"],
    "deepseek": ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁end｜>"],
    "functionary": ["<function=", "</function>", ">>>"],
}
OPENING: dict[CallFormat, str] = {
    "hermes": '<tool_call>\n{"name": ',
    "deepseek": "<｜tool▁call▁begin｜>",
    "functionary": "<function=",
    "json": '<|tool_call|>[{"name": ',
}
"""How those calls begin that end with their arguments, but for brackets."""

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
names = st.sampled_from(TOOLS)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


def arguments_for(family: CallFormat) -> st.SearchStrategy[str]:
    strings = texts | st.sampled_from([*MARKERS[family], '"', "\\", '\\"', "{", "}}"])
    values = st.recursive(
        strings | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
        max_leaves=6,
    )
    objects = st.dictionaries(strings, values, max_size=3)
    return st.builds(lambda value, ascii: json.dumps(value, ensure_ascii=ascii), objects, st.booleans())


def calls_for(family: CallFormat) -> st.SearchStrategy[tuple[str, str, str]]:
    """Name, arguments, and the call as this family writes it."""
    return st.builds(
        lambda name, arguments, write: (name, arguments, write(name, arguments)),
        names,
        arguments_for(family),
        st.sampled_from(WRITE[family]),
    )


def rubble_for(family: CallFormat) -> st.SearchStrategy[str]:
    """Anything at all that looks a little like calls."""
    markers = st.sampled_from(MARKERS[family])
    beginnings = st.builds(lambda marker, length: marker[:length], markers, st.integers(1, 12))
    keys = st.sampled_from(['{"name": "', '", "arguments": ', '"get"', '{"function": {', "{}", "}", ",", " "])
    calls = calls_for(family).map(lambda call: call[2])
    cut_calls = st.builds(lambda call, length: call[:length], calls, st.integers(0, 80))
    parts = markers | beginnings | keys | names | calls | cut_calls | texts
    tagged = st.sampled_from(["", "<think>", "</think>", "<think>a</think>\n"])
    return st.builds(
        lambda first, rest: first + "".join(rest), tagged, st.lists(parts | st.just("</think>"), max_size=8)
    )


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_cuts_do_not_matter(family: CallFormat, data: st.DataObject) -> None:
    text = data.draw(rubble_for(family))
    think = data.draw(st.booleans())
    lead = ">>>" if family == "functionary" and data.draw(st.booleans()) else ""
    format = answer_format(family, think=think, in_reasoning=data.draw(st.booleans()), lead=lead)
    whole = told(format, [text])
    assert told(format, split(text, data.draw(cuts))) == whole
    assert told(format, text) == whole


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_calls_come_out_as_they_went_in(family: CallFormat, data: st.DataObject) -> None:
    calls = data.draw(st.lists(calls_for(family), min_size=1, max_size=3))
    # White space around calls belongs to them, and these words to no marker of any family.
    words = st.sampled_from(["", "well", "a < b", "so: it"])
    before, after = data.draw(words), data.draw(words)
    text = f"{before}\n" * bool(before) + "".join(call[2] for call in calls) + f"\n{after}"
    result = told(answer_format(family), split(text, data.draw(cuts)))
    expected = [
        ToolCall(call_id(family, number), name, arguments)
        for number, (name, arguments, _) in enumerate(calls)
    ]
    assert result == [*([before] if before else []), *expected, *([after] if after else [])]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_text_without_calls_comes_out_whole(family: CallFormat, data: st.DataObject) -> None:
    text = data.draw(st.lists(texts | st.sampled_from("<[>`{f"), max_size=6).map("".join))
    assert told(answer_format(family), split(text, data.draw(cuts))) == ([text] if text else [])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_call_cut_short_has_told_the_beginning_of_its_arguments(
    family: CallFormat, data: st.DataObject
) -> None:
    name, arguments, text = data.draw(calls_for(family))
    cut = text[: data.draw(st.integers(0, len(text)))]
    for part in told(answer_format(family), cut):
        assert isinstance(part, str) or (
            isinstance(part, ToolCall) and part.name == name and arguments.startswith(part.arguments)
        )


CLOSING: list[tuple[CallFormat, str]] = [
    ("hermes", "</tool_call>"),
    ("deepseek", "<｜tool▁call▁end｜>"),
    ("deepseek", "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
    ("functionary", "</function>"),
    ("json", "<|/tool_call|>"),
    ("json", "```"),
]


@pytest.mark.parametrize(("family", "closing"), CLOSING)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_closing_mark_cut_short_is_no_text(family: CallFormat, closing: str, data: st.DataObject) -> None:
    name, arguments, text = data.draw(
        calls_for(family).filter(lambda call: call[2].startswith(OPENING[family]))
    )
    text = text[: text.rindex(arguments) + len(arguments)]
    if family in ("hermes", "json"):
        text += "}"
    text += "\n" + closing[: data.draw(st.integers(0, len(closing)))]
    expected = [ToolCall(call_id(family, 0), name, arguments)]
    assert told(answer_format(family), split(text, data.draw(cuts))) == expected
    assert told(answer_format(family), text) == expected


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_next_mark_cut_short_is_no_text(family: CallFormat, data: st.DataObject) -> None:
    name, arguments, text = data.draw(calls_for(family))
    mark = data.draw(st.sampled_from(OPENERS[family]))
    text += "\n" + mark[: data.draw(st.integers(1, len(mark)))]
    result = told(answer_format(family), split(text, data.draw(cuts)))
    assert result == [ToolCall(call_id(family, 0), name, arguments)]


def test_a_call_behind_another_breaks_off_at_its_own_mark() -> None:
    text = "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{}<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>"
    assert told(answer_format("deepseek"), text) == [ToolCall(call_id("deepseek", 0), "get", "{}")]
    assert told(answer_format("deepseek"), f"{text}no")[1:] == ["<｜tool▁call▁begin｜>no"]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_an_ordinary_answer_may_end_like_a_mark(family: CallFormat, data: st.DataObject) -> None:
    mark = data.draw(st.sampled_from(MARKS[family]))
    text = data.draw(st.sampled_from(["well ", ""])) + mark[: data.draw(st.integers(1, len(mark) - 1))]
    assert told(answer_format(family), split(text, data.draw(cuts))) == [text]
    name, arguments, call = data.draw(calls_for(family))
    later = told(answer_format(family), split(f"{call}\nso {text}", data.draw(cuts)))
    assert later == [ToolCall(call_id(family, 0), name, arguments), f"so {text}"]


def call_id(family: CallFormat, number: int) -> str:
    text = f"call_00000000{number}"
    return mistral_id(text) if family == "mistral" else text
