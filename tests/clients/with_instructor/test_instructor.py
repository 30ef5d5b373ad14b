"""instructor: pydantic models out of a chat model, by every way that it asks an OpenAI server for them."""

from enum import StrEnum
from typing import Literal

import instructor
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, ConfigDict, Field

ASK = [{"role": "user", "content": "Ada is a 36 year old engineer from London who likes chess and poetry."}]


class Job(StrEnum):
    ENGINEER = "engineer"
    TEACHER = "teacher"
    OTHER = "other"


class Closed(BaseModel):
    """Else names that are not mentioned are valid too, and a small model goes on finding some."""

    model_config = ConfigDict(extra="forbid")


class Address(Closed):
    city: str = Field(max_length=40)
    country: str | None = Field(default=None, max_length=40)


class Person(Closed):
    """A person."""

    name: str = Field(max_length=40)
    age: int = Field(ge=0, le=150)
    job: Job
    mood: Literal["good", "bad"]
    address: Address
    hobbies: list[Literal["chess", "poetry", "running"]] = Field(min_length=1, max_length=3)


class Note(Closed):
    subject: str = Field(max_length=40)
    words: list[Literal["chess", "poetry", "running"]] = Field(min_length=1, max_length=3)


JSON_OBJECT = pytest.param(
    instructor.Mode.JSON,
    marks=pytest.mark.xfail(
        reason="json_object promises JSON, not its keys, and so small a model forgets some"
    ),
)
MODES = [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, JSON_OBJECT]


@pytest.fixture
def openai_client(base_url: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key="none", max_retries=0)


def settings(chat_model: str) -> dict[str, object]:
    return {"model": chat_model, "messages": ASK, "temperature": 0, "max_tokens": 300, "max_retries": 0}


@pytest.mark.parametrize("mode", MODES)
def test_a_model_comes_out_whole(openai_client: OpenAI, chat_model: str, mode: instructor.Mode) -> None:
    client = instructor.from_openai(openai_client, mode=mode)
    person = client.chat.completions.create(response_model=Person, **settings(chat_model))
    assert isinstance(person, Person)
    assert isinstance(person.address, Address)


async def test_asynchronously_too(base_url: str, chat_model: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as openai_client:
        client = instructor.from_openai(openai_client)
        person = await client.chat.completions.create(response_model=Person, **settings(chat_model))
    assert isinstance(person, Person)


def test_partial_models_grow(openai_client: OpenAI, chat_model: str) -> None:
    client = instructor.from_openai(openai_client)
    partial = list(client.chat.completions.create_partial(response_model=Note, **settings(chat_model)))
    assert len(partial) > 3
    assert Note.model_validate(partial[-1].model_dump())


def test_the_raw_answer_is_there_with_its_usage(openai_client: OpenAI, chat_model: str) -> None:
    client = instructor.from_openai(openai_client)
    person, completion = client.chat.completions.create_with_completion(
        response_model=Person, **settings(chat_model)
    )
    assert isinstance(person, Person)
    assert completion.choices[0].message.tool_calls[0].function.name == "Person"
    assert completion.usage.completion_tokens > 0
