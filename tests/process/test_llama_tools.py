"""Tools in the step loop: each family's template on the starter model, which must call."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.llama_cpp.template import ChatTemplate
from backends.protocol import Chat, ChatMessage, Delta, Tool
from tests.process.test_llama_engine import Llm
from tests.unit.backends.llama_cpp import templates

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS = [Tool("get_weather", "Tells the weather of a city", json.dumps(PARAMETERS)), Tool("stop")]
QUESTION = ChatMessage("user", "What is the weather in Paris, in celsius?")
NAMED = Chat([QUESTION], TOOLS, "required", ["get_weather"])
SOURCES = {
    "hermes": templates.HERMES,
    "llama3": templates.LLAMA3,
    "mistral": templates.MISTRAL,
    "mistral named": templates.MISTRAL_NAMED,
    "functionary": templates.FUNCTIONARY,
    "generic": templates.CHATML,
}


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llm]:
    made = Llm(smollm2_path, n_ctx=4096)
    yield made
    made.backend.unload()


def use(llm: Llm, source: str) -> None:
    """Answer as if this were the model's own template."""
    vocabulary = llm.preparer._vocabulary  # type: ignore[attr-defined]
    llm.preparer._template = ChatTemplate(source, vocabulary.control_texts(), "", "")  # type: ignore[attr-defined]


def streamed(llm: Llm, chat: Chat) -> list[Delta]:
    llm.outputs = []
    llm.add("one", chat, stream=True, max_tokens=120)
    llm.run()
    return [output for output in llm.outputs if isinstance(output, Delta)]


@pytest.mark.parametrize("source", SOURCES)
def test_a_named_tool_is_called_once_with_valid_arguments(llm: Llm, source: str) -> None:
    use(llm, SOURCES[source])
    result = llm.ask(NAMED, max_tokens=120)
    assert result.finish_reason == "tool_calls"
    assert result.text == ""
    (call,) = result.tool_calls
    assert call.name == "get_weather"
    assert set(json.loads(call.arguments)) == {"city", "unit"}
    deltas = [delta for output in streamed(llm, NAMED) for delta in output.calls]
    assert "".join(delta.arguments for delta in deltas) == call.arguments
    assert [delta.name for delta in deltas if delta.name] == ["get_weather"]
    assert len(deltas) > 5


def test_a_demanded_call_cannot_be_dodged_by_never_ending_to_think(llm: Llm) -> None:
    use(llm, templates.DEEPSEEK)
    end = llm.preparer._vocabulary.eos  # type: ignore[attr-defined]
    result = llm.ask(NAMED, max_tokens=20, logit_bias={end: 50.0})
    assert result.finish_reason == "length"
    assert result.reasoning_tokens == result.completion_tokens == 20
    assert result.reasoning
    assert result.text == ""
