"""Captions and labels over HTTP, of a gateway process over the fake engine."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.gateway_process import GatewayProcess

SEER = {
    "name": "seer",
    "backend": "fake_batch",
    "tasks": ["caption", "classify", "embed"],
    "source": ".",
    "aliases": ["blip", "clip"],
    "preload": True,
}


def data_url(script: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(script).decode()}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    config: dict[str, Any] = {"models": [SEER], "paths": {"spool_dir": str(folder / "spool")}}
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()
    assert list((folder / "spool").iterdir()) == []


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.base_url, timeout=60) as client:
        yield client


def test_captions_of_many_clients(client: httpx.Client) -> None:
    def ask(number: int) -> Any:
        body = {"model": "blip", "image": data_url(b"@say a dog %d" % number), "prompt": "see"}
        return client.post("/v1/vision/caption", json=body).json()

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(40)))
    assert [one["data"][0]["caption"] for one in answers] == [f"see a dog {number}" for number in range(40)]
    assert answers[0]["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


def test_several_pictures_and_a_file(client: httpx.Client) -> None:
    pictures = [data_url(b"@say a dog"), data_url(b"@say a cat and a mouse")]
    body = {"model": "blip", "images": pictures, "max_tokens": 2}
    answer = client.post("/v1/vision/caption", json=body).json()
    assert [one["caption"] for one in answer["data"]] == ["a dog", "a cat"]
    answer = client.post("/api/v1/vision/caption", files={"file": b"@say a boat"}).json()
    assert (answer["model"], answer["data"]) == ("seer", [{"index": 0, "caption": "a boat"}])


def test_labels(client: httpx.Client) -> None:
    body = {"model": "clip", "images": [data_url(b"a cat"), data_url(b"a dog")], "labels": ["dog", "cat"]}
    answer = client.post("/v1/vision/classify", json=body).json()
    assert [[label["label"] for label in one["labels"]] for one in answer["data"]] == [
        ["cat", "dog"],
        ["dog", "cat"],
    ]
    assert answer["data"][0]["labels"][0]["score"] == pytest.approx(0.9)


def test_a_large_picture_comes_as_a_file(client: httpx.Client) -> None:
    picture = b"@say a whale\n" + bytes(20_000_000)
    assert (
        client.post("/v1/vision/caption", json={"model": "blip", "image": "A" * 9_000_000}).status_code == 413
    )
    answer = client.post("/v1/vision/caption", data={"model": "blip"}, files={"file": picture})
    assert answer.json()["data"][0]["caption"].startswith("a whale")


def test_what_the_worker_refuses_names_where_it_stands(client: httpx.Client) -> None:
    answer = client.post("/v1/vision/caption", data={"model": "blip"}, files={"file": b""})
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == ("file", "invalid_image")


def test_many_pictures_of_a_request_travel_in_one_frame(client: httpx.Client) -> None:
    pictures = [data_url(b"@say %d\n" % number + bytes(900_000)) for number in range(6)]
    answer = client.post("/v1/vision/caption", json={"model": "blip", "images": pictures})
    assert [one["caption"] for one in answer.json()["data"]] == [str(number) for number in range(6)]


# --- by the official package -----------------------------------------------------------------------------


@pytest.fixture
def sdk(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def shown(script: bytes) -> Any:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": data_url(script)}},
    ]
    return [{"role": "user", "content": parts}]


def test_chat_with_a_captioner(sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(model="blip", messages=shown(b"@say a dog on a boat"), max_tokens=3)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("a dog on", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_chat_with_a_captioner_streams(sdk: OpenAI) -> None:
    stream = sdk.chat.completions.create(model="blip", messages=shown(b"@say a dog"), stream=True)
    texts = [choice.delta.content for chunk in stream for choice in chunk.choices]
    assert [text for text in texts if text] == ["a dog"]


def test_a_picture_that_is_none_is_the_clients_fault(sdk: OpenAI) -> None:
    messages = shown(b"x")
    messages[0]["content"][1]["image_url"]["url"] = "https://example.com/a.png"
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.chat.completions.create(model="blip", messages=messages, stream=stream)
        assert caught.value.param == "messages[0].content[1].image_url.url"


def test_vectors_of_pictures_and_texts(sdk: OpenAI) -> None:
    mixed: Any = ["a text", data_url(b"dots"), {"image": data_url(b"dots")}]
    answer = sdk.embeddings.create(model="clip", input=mixed)
    text, picture, same = (one.embedding for one in answer.data)
    assert picture == same != text
