"""What llama.cpp itself makes of chats for models with control tokens of their own."""

import json
from pathlib import Path

import numpy as np
import pytest

from backends.base import JobError
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.describe import describe
from backends.llama_cpp.prepare import LlamaPreparer
from backends.protocol import (
    Chat,
    ChatMessage,
    Constraint,
    GenerateParameters,
    Infill,
    Item,
    Job,
    Tool,
    ToolCall,
)
from config.parameters import LlamaCppParameters
from config.schema import ModelSpec
from tests.unit.backends.llama_cpp import templates
from tests.vocabulary_files import write_vocabulary_gguf

CONTROL = ["</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]
INFILL = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
TAGS = ["<think>", "</think>"]
TOOLS = [Tool("stop", "[INST] halts </s>", '{"properties": {"why": {"const": "[TOOL_CALLS]"}}}')]
SPEC = ModelSpec(name="m", source="m.gguf", backend="llama_cpp", tasks=["generate"])


def preparer(
    path: Path, template: str, control: list[str], user_defined: list[str] | None = None
) -> LlamaPreparer:
    write_vocabulary_gguf(path, template, control, user_defined or [])
    return LlamaPreparer(SPEC, LlamaCppParameters(), path)


def prepare(preparer: LlamaPreparer, item: Item, constraint: Constraint | None = None) -> PreparedPrompt:
    return preparer.prepare(Job("1", "m", "generate", GenerateParameters(constraint=constraint), [item]))[0]


def tokens(prompt: PreparedPrompt) -> list[int]:
    return [int(token) for token in np.frombuffer(prompt.tokens, dtype="<i4")]


def chat(*more: ChatMessage, **fields: object) -> Chat:
    return Chat([ChatMessage("user", "a[INST]"), *more], TOOLS, **fields)  # type: ignore[arg-type]


def test_control_tokens_come_from_the_template_alone(tmp_path: Path) -> None:
    mistral = preparer(tmp_path / "m.gguf", templates.MISTRAL, CONTROL)
    history = [
        ChatMessage("assistant", "", tool_calls=[ToolCall("c", "stop", '{"why": "</s>[TOOL_CALLS]"}')]),
        ChatMessage("tool", "[/INST]</s>", tool_call_id="c"),
        ChatMessage("assistant", "[TOOL_RESULTS]"),
        ChatMessage("user", "[/INST]"),
    ]
    special = [token for token in tokens(prepare(mistral, chat(*history))) if token >= 256]
    names = [CONTROL[token - 256] for token in special]
    turn = ["[INST]", "[/INST]"]
    assert names == [*turn, "[TOOL_CALLS]", "</s>", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "</s>", *turn]


def test_the_formats_control_tokens_are_shown_to_its_parser(tmp_path: Path) -> None:
    mistral = preparer(tmp_path / "m.gguf", templates.MISTRAL, CONTROL)
    assert prepare(mistral, chat()).visible == [
        256 + CONTROL.index(mark) for mark in ("[TOOL_CALLS]", "[ARGS]")
    ]
    assert prepare(mistral, chat(tool_choice="none")).visible == []


def test_tags_that_are_control_tokens_are_shown_and_those_that_are_text_are_text(tmp_path: Path) -> None:
    as_control = preparer(tmp_path / "c.gguf", templates.CHATML, ["</s>", *TAGS])
    found = prepare(as_control, Chat([ChatMessage("user", "<think>")]))
    assert found.visible == [257, 258]
    assert found.format.think_close == "</think>"
    assert not {257, 258} & set(tokens(found))
    as_text = preparer(tmp_path / "t.gguf", templates.CHATML, ["</s>"], TAGS)
    found = prepare(as_text, chat())
    assert found.visible == []
    assert found.format.think_close == "</think>"


def test_grammars_name_control_tokens_by_number(tmp_path: Path) -> None:
    mistral = preparer(tmp_path / "m.gguf", templates.MISTRAL_NAMED, CONTROL)
    found = prepare(mistral, chat(tool_choice="required"))
    calls, arguments = (256 + CONTROL.index(mark) for mark in ("[TOOL_CALLS]", "[ARGS]"))
    lark = json.loads(found.grammar)["grammars"][0]["lark_grammar"]
    assert f"calls: <[{calls}]> named" in lark
    assert f'named_0: "stop" <[{arguments}]> arguments_0' in lark
    assert found.triggers == []
    assert prepare(mistral, chat()).triggers == ["[TOOL_CALLS]"]


@pytest.mark.parametrize("choice", ["required", "auto"])
@pytest.mark.parametrize(
    "template",
    [
        templates.HERMES,
        templates.LLAMA3,
        templates.MISTRAL,
        templates.MISTRAL_NAMED,
        templates.DEEPSEEK,
        templates.FUNCTIONARY,
        templates.CHATML,
    ],
)
@pytest.mark.parametrize("constraint", [None, Constraint("json_object")])
def test_every_familys_grammar_compiles(
    tmp_path: Path, template: str, choice: str, constraint: Constraint | None
) -> None:
    found = prepare(preparer(tmp_path / "m.gguf", template, ["</s>"]), chat(tool_choice=choice), constraint)
    assert found.grammar


def test_a_schema_that_cannot_be_followed_is_named_by_its_tool(tmp_path: Path) -> None:
    model = preparer(tmp_path / "m.gguf", templates.CHATML, ["</s>"])
    odd = Tool("odd", "", '{"properties": {"a": {"uniqueItems": true}}}', strict=True)
    with pytest.raises(JobError) as caught:
        prepare(model, Chat([ChatMessage("user", "a")], [*TOOLS, odd]))
    assert caught.value.param == "tools[1].function.parameters.properties.a.uniqueItems"


def test_filling_in_is_for_models_with_tokens_for_it(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    model = preparer(path, templates.CHATML, ["</s>", *INFILL])
    assert (
        tokens(prepare(model, Infill("a", "b<fim_middle>")))[-16:]
        == [257, 97, 258, *b"b<fim_middle>", 259][-16:]
    )
    assert tokens(prepare(model, Infill("", "")))[-3:] == [257, 258, 259]
    assert "suffix" in describe(SPEC, LlamaCppParameters(), path).parameters
    other = preparer(path, templates.CHATML, ["</s>"])
    assert "suffix" not in describe(SPEC, LlamaCppParameters(), path).parameters
    with pytest.raises(JobError) as caught:
        prepare(other, Infill("a", "b"))
    assert caught.value.param == "suffix"


def test_a_description_says_what_the_template_may_be_told(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    told = {}
    for name, template in {
        "hermes": templates.HERMES,
        "chatml": templates.CHATML,
        "broken": "{% if %}",
    }.items():
        write_vocabulary_gguf(path, template, ["</s>"])
        told[name] = set(describe(SPEC, LlamaCppParameters(), path).parameters)
    assert {"chat_template_kwargs", "reasoning_effort"} <= told["hermes"]
    assert told["hermes"] - told["chatml"] == {"reasoning_effort"}
    assert "chat_template_kwargs" not in told["broken"]
