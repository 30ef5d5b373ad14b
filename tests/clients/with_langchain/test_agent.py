"""A LangChain agent: the model calls a tool, gets its answer, and answers."""

from collections.abc import Callable

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

CALLS: list[str] = []


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    CALLS.append(city)
    return f"Rain, 8 degrees in {city}."


@wrap_model_call
def call_then_answer(
    request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
) -> ModelResponse:
    return handler(forced(request))


def forced(request: ModelRequest) -> ModelRequest:
    """One call at first; none once the tool has answered."""
    if any(isinstance(message, ToolMessage) for message in request.messages):
        return request.override(tool_choice="none")
    once = {"parallel_tool_calls": False, "strict": True}
    return request.override(tool_choice="any", model_settings=once)


@pytest.fixture
def agent(base_url: str, chat_model: str) -> object:
    CALLS.clear()
    model = ChatOpenAI(
        model=chat_model, base_url=base_url, api_key="none", temperature=0, max_tokens=100, max_retries=0
    )
    return create_agent(model, tools=[weather], middleware=[call_then_answer])


def check(messages: list[object]) -> None:
    human, call, result, answer = messages
    assert isinstance(human, HumanMessage)
    assert isinstance(call, AIMessage)
    assert call.tool_calls[0]["name"] == "weather"
    assert set(call.tool_calls[0]["args"]) == {"city"}
    assert isinstance(result, ToolMessage)
    assert result.tool_call_id == call.tool_calls[0]["id"]
    assert CALLS
    assert all(isinstance(city, str) for city in CALLS)
    assert isinstance(answer, AIMessage)
    assert not answer.tool_calls
    assert answer.text


QUESTION = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}


def test_a_tool_is_called_and_answered(agent) -> None:
    check(agent.invoke(QUESTION)["messages"])


async def test_asynchronously_too(base_url: str, chat_model: str) -> None:
    @wrap_model_call
    async def call_then_answer(request, handler):
        return await handler(forced(request))

    CALLS.clear()
    model = ChatOpenAI(model=chat_model, base_url=base_url, api_key="none", temperature=0, max_tokens=100)
    agent = create_agent(model, tools=[weather], middleware=[call_then_answer])
    check((await agent.ainvoke(QUESTION))["messages"])


def test_streamed_messages_come_in_pieces(agent) -> None:
    pieces = [message for message, _ in agent.stream(QUESTION, stream_mode="messages")]
    calls = [chunk for piece in pieces for chunk in getattr(piece, "tool_call_chunks", [])]
    assert next(chunk["name"] for chunk in calls if chunk["name"]) == "weather"
    assert CALLS
