"""The OpenAI package's own parsing: pydantic models in, instances of them out, whole and streamed."""

from enum import StrEnum
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

from tests.e2e.conftest import CHAT

ADA = "Ada is a 36 year old engineer from London who likes chess and poetry."


class Job(StrEnum):
    ENGINEER = "engineer"
    TEACHER = "teacher"


class Address(BaseModel):
    city: str = Field(max_length=40)
    country: str | None = Field(max_length=40)


class Person(BaseModel):
    name: str = Field(max_length=40)
    age: int = Field(ge=0, le=150)
    job: Job
    address: Address
    hobbies: list[Literal["chess", "poetry", "running"]] = Field(min_length=1, max_length=3)


def test_a_response_format_comes_back_parsed(client: OpenAI) -> None:
    completion = client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": ADA}],
        response_format=Person,
        temperature=0,
        max_tokens=300,
    )
    person = completion.choices[0].message.parsed
    assert isinstance(person, Person)
    assert person.name.startswith("Ada")
    assert person.job is Job.ENGINEER


async def test_several_answers_are_parsed_each(async_client: AsyncOpenAI) -> None:
    completion = await async_client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": ADA}],
        response_format=Address,
        n=2,
        max_tokens=200,
    )
    assert [type(choice.message.parsed) for choice in completion.choices] == [Address, Address]


def test_a_tool_comes_back_parsed(client: OpenAI) -> None:
    completion = client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": ADA}],
        tools=[openai.pydantic_function_tool(Person, name="remember", description="Remember a person")],
        tool_choice={"type": "function", "function": {"name": "remember"}},
        temperature=0,
        max_tokens=300,
    )
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.function.name == "remember"
    assert isinstance(call.function.parsed_arguments, Person)


def test_a_stream_is_parsed_as_it_grows(client: OpenAI) -> None:
    grown = []
    with client.chat.completions.stream(
        model=CHAT,
        messages=[{"role": "user", "content": ADA}],
        response_format=Address,
        temperature=0,
        max_tokens=200,
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                grown.append(event.parsed)
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Address)
    assert grown[-1] == parsed.model_dump()
    assert len(grown) > 3


def test_a_streamed_tool_is_parsed_at_its_end(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=CHAT,
        messages=[{"role": "user", "content": ADA}],
        tools=[openai.pydantic_function_tool(Address, name="locate")],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=200,
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert [event.name for event in done] == ["locate"]
    assert isinstance(done[0].parsed_arguments, Address)


def test_an_answer_cut_short_is_told(client: OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=CHAT, messages=[{"role": "user", "content": ADA}], response_format=Person, max_tokens=5
        )
