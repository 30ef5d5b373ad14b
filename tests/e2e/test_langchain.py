"""langchain-openai against the starter models."""

from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field, SecretStr

from tests.e2e.conftest import CHAT
from tests.gateway_process import GatewayProcess

KEY = SecretStr("none")


def chat_model(gateway: GatewayProcess, **settings: object) -> ChatOpenAI:
    return ChatOpenAI(
        model=CHAT,
        base_url=f"{gateway.base_url}/v1",
        api_key=KEY,
        max_retries=0,
        **settings,  # type: ignore[arg-type]
    )


def test_invoke_reports_usage(gateway: GatewayProcess) -> None:
    answer = chat_model(gateway, temperature=0, max_tokens=24).invoke(
        [SystemMessage("Be brief."), HumanMessage("What is the capital of France? Answer in one sentence.")]
    )
    assert "Paris" in answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] <= 24
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def test_stream_with_usage(gateway: GatewayProcess) -> None:
    chunks = list(chat_model(gateway, max_tokens=8, stream_usage=True).stream("Hello"))
    assert "".join(chunk.text for chunk in chunks)
    assert sum((chunk.usage_metadata or {"output_tokens": 0})["output_tokens"] for chunk in chunks) <= 8


async def test_async_stream_and_batch(gateway: GatewayProcess) -> None:
    model = chat_model(gateway, max_tokens=8)
    assert "".join([chunk.text async for chunk in model.astream("Hello")])
    answers = await model.abatch(["One", "Two", "Three"])
    assert len(answers) == 3


def test_completions(gateway: GatewayProcess) -> None:
    model = OpenAI(model=CHAT, base_url=f"{gateway.base_url}/v1", api_key=KEY, max_tokens=5, max_retries=0)
    assert model.invoke("One, two, three,")


def test_embeddings_as_cl100k_tokens_and_as_text(gateway: GatewayProcess) -> None:
    """By default it sends cl100k token ids, which the model's `token_input` turns back into text."""

    def embedder(as_tokens: bool) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            model="text-embedding-3-small",
            base_url=f"{gateway.base_url}/v1",
            api_key=KEY,
            check_embedding_ctx_length=as_tokens,
            max_retries=0,
        )

    text = "A cat sits on the mat."
    plain = embedder(False).embed_query(text)
    assert len(plain) == 384
    vectors = embedder(False).embed_documents([text, ""])
    assert [len(vector) for vector in vectors] == [384, 384]
    assert sum(a * b for a, b in zip(plain, vectors[0], strict=True)) > 0.999


class City(BaseModel):
    """A city and its country."""

    name: str = Field(max_length=40)
    country: str = Field(max_length=40)


@tool
def weather(city: Annotated[str, Field(max_length=40)]) -> str:
    """Tell the weather in a city."""
    return f"Rain in {city}."


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(gateway: GatewayProcess, method: Any) -> None:
    model = chat_model(gateway, temperature=0, max_tokens=150).with_structured_output(
        City, method=method, strict=True, include_raw=True
    )
    answer = model.invoke("Paris is the capital of France.")
    assert isinstance(answer, dict)
    assert answer["parsing_error"] is None
    assert isinstance(answer["parsed"], City)


def test_a_tool_is_called_answered_and_told_about(gateway: GatewayProcess) -> None:
    model = chat_model(gateway, temperature=0, max_tokens=100)
    question = HumanMessage("What is the weather in Oslo?")
    forced = model.bind_tools([weather], tool_choice="weather", strict=True)
    call = forced.invoke([question])
    assert [(one["name"], set(one["args"])) for one in call.tool_calls] == [("weather", {"city"})]
    result = weather.invoke(call.tool_calls[0])
    answer = model.bind_tools([weather], tool_choice="none").invoke([question, call, result])
    assert answer.text
    assert not answer.tool_calls


def test_a_streamed_call_adds_up(gateway: GatewayProcess) -> None:
    model = chat_model(gateway, temperature=0, max_tokens=100).bind_tools(
        [weather], tool_choice="any", strict=True, parallel_tool_calls=False
    )
    chunks = list(model.stream("What is the weather in Oslo?"))
    call = chunks[0]
    for chunk in chunks[1:]:
        call = call + chunk  # type: ignore[assignment]  # chunks add up to a chunk
    assert [one["name"] for one in call.tool_calls] == ["weather"]
    assert sum(bool(getattr(chunk, "tool_call_chunks", [])) for chunk in chunks) > 2
