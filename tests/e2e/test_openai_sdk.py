"""The official OpenAI package against the starter models."""

import math

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conftest import CHAT, EMBEDDING, PICTURES, SPEECH

CAPITAL = "What is the capital of France? Answer in one sentence."


def test_a_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": CAPITAL}],
        temperature=0,
        max_completion_tokens=40,
    )
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert "Paris" in (choice.message.content or "")
    assert choice.finish_reason in ("stop", "length")
    assert (answer.object, answer.model) == ("chat.completion", CHAT)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 40
    assert answer._request_id


def test_a_streamed_chat_is_the_same_text(client: OpenAI) -> None:
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": CAPITAL}], "temperature": 0}
    whole = client.chat.completions.create(**asked, max_tokens=24)  # type: ignore[call-overload]
    chunks = list(
        client.chat.completions.create(
            **asked, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )  # type: ignore[call-overload]
    )
    *said, end = chunks
    assert said[0].choices[0].delta.role == "assistant"
    assert all(chunk.usage is None for chunk in said)
    assert [chunk.choices[0].finish_reason for chunk in said if chunk.choices[0].finish_reason] == [
        whole.choices[0].finish_reason
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert text == whole.choices[0].message.content
    assert end.choices == []
    assert end.usage.completion_tokens == whole.usage.completion_tokens


def test_the_sdks_own_stream_helper_understands_the_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=CHAT, messages=[{"role": "user", "content": CAPITAL}], temperature=0, stop="Paris"
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content


async def test_the_async_client(async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": "Hello"}], max_tokens=8, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(parts)
    embedded = await async_client.embeddings.create(model=EMBEDDING, input="Hello")
    assert len(embedded.data[0].embedding) == 384


def test_the_same_seed_says_the_same(client: OpenAI) -> None:
    def say(seed: int) -> str | None:
        answer = client.chat.completions.create(
            model=CHAT,
            messages=[{"role": "user", "content": "Tell me a story."}],
            seed=seed,
            temperature=1.5,
            max_tokens=24,
        )
        return answer.choices[0].message.content

    say(1)  # from here on the prompt is known: it is not computed in another way the second time
    assert say(1) == say(1)
    assert say(1) != say(2)


def test_a_stop_string_ends_the_text_before_it(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": CAPITAL}],
        temperature=0,
        max_tokens=40,
        stop=["Paris"],
    )
    assert "Paris" not in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


def test_logit_bias_forbids_a_token(client: OpenAI) -> None:
    def first(bias: dict[str, int]) -> str:
        answer = client.completions.create(
            model=CHAT, prompt="The capital of France is", temperature=0, max_tokens=1, logit_bias=bias
        )
        return answer.choices[0].text

    forced = first({"100": 100})
    assert forced == first({"100": 100})
    assert forced != first({"100": -100})


def test_completions_of_several_prompts(client: OpenAI) -> None:
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct",
        prompt=["One, two, three,", "Monday, Tuesday,"],
        max_tokens=5,
        temperature=0,
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.text and choice.finish_reason == "length" for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10


def test_streamed_completions(client: OpenAI) -> None:
    chunks = list(client.completions.create(model=CHAT, prompt="One, two,", max_tokens=4, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_embeddings_come_as_base64_and_as_floats(client: OpenAI) -> None:
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stock prices fell."]
    coded = client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = client.embeddings.create(model=EMBEDDING, input=texts, encoding_format="float")
    vectors = [item.embedding for item in coded.data]
    assert [len(vector) for vector in vectors] == [384] * 3
    for one, other in zip(vectors, plain.data, strict=True):
        assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(one, other.embedding, strict=True))

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-4)
    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2]) + 0.2
    assert coded.usage.prompt_tokens == coded.usage.total_tokens > 0


def test_the_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [CHAT, EMBEDDING, *SPEECH, *PICTURES]
    model = client.models.retrieve("gpt-4o-mini")
    assert (model.id, model.object) == (CHAT, "model")
    assert isinstance(model.created, int)


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model"),
        ({"model": EMBEDDING}, openai.BadRequestError, "model"),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"n": 129}, openai.BadRequestError, "n"),
        ({"top_logprobs": 3}, openai.BadRequestError, "top_logprobs"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
            openai.BadRequestError,
            "tools[0].type",
        ),
        ({"extra_body": {"frobnicate": 1}}, openai.BadRequestError, "frobnicate"),
        ({"messages": [{"role": "user", "content": "word " * 20_000}]}, openai.BadRequestError, "messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own_kinds(
    client: OpenAI, fields: dict[str, object], kind: type[openai.APIStatusError], param: str, stream: bool
) -> None:
    asked = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "stream": stream} | fields
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**asked)  # type: ignore[call-overload]
    error = caught.value
    assert error.param == param
    assert error.request_id
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}


def test_a_prompt_over_the_context_says_both_numbers(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "word " * 20_000}], max_tokens=1
        )
    assert caught.value.code == "context_length_exceeded"
    numbers = [
        int(word)
        for word in caught.value.message.replace(",", " ").replace(".", " ").split()
        if word.isdigit()
    ]
    assert any(number >= 20_000 for number in numbers)
    assert any(number <= 8192 for number in numbers)


def test_a_model_tells_what_it_can_do(client: OpenAI) -> None:
    chat = client.models.retrieve("gpt-4o-mini").model_dump()
    assert chat["id"] == CHAT
    told = chat["capabilities"]
    assert {"temperature", "seed", "stop"} <= set(told["parameters"])
    assert (told["context_length"], told["vocabulary_size"]) == (8192, 49152)
    assert told["details"]["architecture"] == "llama"
    embedding = client.models.retrieve(EMBEDDING).model_dump()
    assert embedding["capabilities"]["dimensions"] == 384
