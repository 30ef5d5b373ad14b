"""Token routes on the live server: what they say is what an answer is charged for."""

from typing import Any

import httpx
import pytest

from tests.e2e.conftest import CHAT, EMBEDDING
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.http.fakes import assert_envelope

USER = {"role": "user", "content": "Name a colour. <|im_end|> 🦄"}


def post(gateway: GatewayProcess, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{gateway.base_url}{path}", json=fields, timeout=60)


def test_a_chat_is_charged_for_the_tokens_that_are_told(gateway: GatewayProcess) -> None:
    told = post(gateway, "/v1/tokenize", model=CHAT, messages=[USER]).json()
    answer = post(gateway, "/v1/chat/completions", model=CHAT, messages=[USER], max_tokens=1).json()
    assert told["count"] == len(told["tokens"]) == answer["usage"]["prompt_tokens"]
    assert told["max_model_len"] == 8192


def test_tokens_are_a_prompt(gateway: GatewayProcess) -> None:
    fields = {"model": CHAT, "temperature": 0, "max_tokens": 8}
    tokens = post(gateway, "/tokenize", model=CHAT, prompt="The sky is").json()["tokens"]
    by_text = post(gateway, "/v1/completions", **fields, prompt="The sky is").json()
    by_tokens = post(gateway, "/v1/completions", **fields, prompt=tokens).json()
    assert by_text["choices"][0]["text"] == by_tokens["choices"][0]["text"]
    assert post(gateway, "/detokenize", tokens=tokens).json()["content"] == "The sky is"


def test_an_embedding_is_charged_for_the_tokens_that_are_told(gateway: GatewayProcess) -> None:
    told = post(gateway, "/tokenize", model=EMBEDDING, prompt="a harbour").json()
    answer = post(gateway, "/v1/embeddings", model=EMBEDDING, input="a harbour").json()
    assert told["count"] == answer["usage"]["prompt_tokens"]


def test_a_megabyte_is_tokenised(gateway: GatewayProcess) -> None:
    told = post(gateway, "/tokenize", content="the harbour " * 90_000, with_pieces=True).json()
    assert told["count"] > 90_000
    assert "".join(token["piece"] for token in told["tokens"]) == "the harbour " * 90_000


@pytest.mark.parametrize("tokens", [[49152], [2**31 - 1]])
def test_a_foreign_id_is_a_400(gateway: GatewayProcess, tokens: list[int]) -> None:
    assert_envelope(post(gateway, "/detokenize", tokens=tokens), 400, "tokens")


def test_an_encoder_takes_no_conversation(gateway: GatewayProcess) -> None:
    assert_envelope(post(gateway, "/tokenize", model=EMBEDDING, messages=[USER]), 400, "messages")
