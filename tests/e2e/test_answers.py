"""Several answers, log-probabilities, echo and typed answers of the starter model, by the OpenAI package."""

import math
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import CHAT
from tests.gateway_process import GatewayProcess

QUESTION: Any = [{"role": "user", "content": "Name a fruit."}]


class Fruit(BaseModel):
    name: Literal["apple", "pear", "plum"]
    ripe: bool


def test_several_answers_in_one_stream(client: OpenAI) -> None:
    texts = ["", "", ""]
    usage = None
    for chunk in client.chat.completions.create(
        model=CHAT,
        messages=QUESTION,
        n=3,
        seed=1,
        temperature=1,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert all(texts)
    assert usage is not None
    assert usage.completion_tokens > 12
    again = client.chat.completions.create(
        model=CHAT, messages=QUESTION, n=3, seed=1, temperature=1, max_tokens=12
    )
    assert len({choice.message.content for choice in again.choices}) > 1
    assert again.usage is not None
    assert again.usage.prompt_tokens == usage.prompt_tokens
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1


def test_log_probabilities_of_a_greedy_answer_are_the_best(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, logprobs=True, top_logprobs=3, temperature=0, max_tokens=8
    )
    (choice,) = answer.choices
    assert choice.logprobs is not None
    assert choice.logprobs.content
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    for one in choice.logprobs.content:
        assert one.top_logprobs[0].token == one.token
        assert 0 < sum(math.exp(top.logprob) for top in one.top_logprobs) <= 1.0001


def test_an_echoed_prompt_has_log_probabilities(client: OpenAI) -> None:
    prompt = "The capital of France is"
    answer = client.completions.create(
        model=CHAT, prompt=prompt, echo=True, logprobs=2, temperature=0, max_tokens=4
    )
    (choice,) = answer.choices
    assert choice.text.startswith(f"{prompt} Paris")
    assert choice.logprobs is not None
    tokens, offsets = choice.logprobs.tokens, choice.logprobs.text_offset
    assert tokens is not None
    assert offsets is not None
    assert "".join(tokens) == choice.text
    assert [choice.text[offset:].startswith(token) for token, offset in zip(tokens, offsets, strict=True)]
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in choice.logprobs.token_logprobs[1:])


def test_the_best_of_several_is_the_likeliest(client: OpenAI) -> None:
    fields: Any = {"model": CHAT, "prompt": "A fruit:", "max_tokens": 6, "seed": 3, "temperature": 1.2}
    every = client.completions.create(**fields, n=4, logprobs=0).choices
    best = client.completions.create(**fields, best_of=4, logprobs=0)

    def mean(choice: Any) -> float:
        values = choice.logprobs.token_logprobs
        return sum(values) / len(values)

    assert best.choices[0].text == max(every, key=mean).text
    assert best.usage is not None
    assert best.usage.completion_tokens > 6


def test_a_typed_answer_is_parsed(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=CHAT, messages=QUESTION, response_format=Fruit, temperature=0, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, Fruit)


@pytest.mark.parametrize("extra", [{"regex": "(apple|pear)s?"}, {"grammar": 'root ::= "apple" | "pear"'}])
def test_an_answer_matches_a_regular_expression_or_a_grammar(client: OpenAI, extra: dict[str, str]) -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, max_tokens=20, extra_body=extra, temperature=0
    )
    assert answer.choices[0].message.content in ("apple", "pear", "apples", "pears")
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "array", "uniqueItems": True}, "response_format.json_schema.schema.uniqueItems"),
        ({"$ref": "https://example.com/a.json"}, "response_format.json_schema.schema.$ref"),
        ({"type": "string", "maxLength": 10**9}, "response_format.json_schema.schema.maxLength"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_its_path(
    client: OpenAI, schema: dict[str, Any], param: str
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CHAT, messages=QUESTION, response_format=form)
    assert refused.value.param == param


def test_what_only_other_models_do_is_refused(client: OpenAI) -> None:
    for extra in ({"reproducible": True}, {"lora": [{"name": "poet"}]}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model=CHAT, messages=QUESTION, extra_body=extra)
        assert refused.value.param is not None
        assert refused.value.param.startswith(next(iter(extra)))
    with pytest.raises(openai.BadRequestError) as suffix:
        client.completions.create(model=CHAT, prompt="a", suffix="b")
    assert suffix.value.param == "suffix"


def test_prefix_hits_are_counted(gateway: GatewayProcess, client: OpenAI) -> None:
    def hits() -> float:
        lines = httpx.get(f"{gateway.base_url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if "prefix_cache_hits_total{" in line)

    long: Any = [{"role": "user", "content": "Count with me. " * 20}]
    client.chat.completions.create(model=CHAT, messages=long, max_tokens=1)
    before = hits()
    client.chat.completions.create(model=CHAT, messages=long, max_tokens=1)
    assert hits() > before + 50
