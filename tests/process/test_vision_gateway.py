"""BLIP and CLIP behind a gateway process: every route, many clients, and the files that strangers send."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import OpenAI
from PIL import Image

from tests.gateway_process import GatewayProcess


def encoded(form: str, image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def huge_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def long_gif() -> bytes:
    """10,000 frames of one pixel."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 10_000 + b";"


PICTURES = [
    encoded("PNG", Image.new("RGB", (50, 40), (shade * 12, 90, 255 - shade * 12))) for shade in range(20)
]
HOSTILE = {
    "a PNG of 50,000 squared": (huge_png(), "image_too_large"),
    "a GIF of 10,000 frames": (long_gif(), "image_too_large"),
    "a JPEG cut short": (encoded("JPEG", Image.effect_noise((200, 200), 90))[:-3000], "invalid_image"),
    "an SVG": (
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://169.254.169.254/'/></svg>",
        "invalid_image",
    ),
}


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def client(pictures_gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=pictures_gateway.base_url, timeout=60) as client:
        yield client


def test_captions_of_many_clients_are_those_of_one(client: httpx.Client) -> None:
    def ask(number: int) -> str:
        body = {"model": "blip", "image": data_url(PICTURES[number]), "prompt": "a photo"}
        caption: str = client.post("/v1/vision/caption", json=body).json()["data"][0]["caption"]
        return caption

    alone = [ask(number) for number in range(len(PICTURES))]
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, range(len(PICTURES)))) == alone
    body = {"model": "blip", "images": list(map(data_url, PICTURES)), "prompt": "a photo"}
    together = client.post("/v1/vision/caption", json=body).json()
    assert [one["caption"] for one in together["data"]] == alone
    assert all(caption.startswith("a photo") for caption in alone)
    assert together["usage"]["prompt_tokens"] == 2 * len(PICTURES)


def test_chat_and_the_form_say_the_same(pictures_gateway: GatewayProcess, client: httpx.Client) -> None:
    form = client.post("/api/v1/vision/caption", files={"file": PICTURES[3]}).json()["data"][0]["caption"]
    messages: Any = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(PICTURES[3])}}]}
    ]
    with OpenAI(base_url=f"{pictures_gateway.base_url}/v1", api_key="none", max_retries=0) as sdk:
        answer = sdk.chat.completions.create(model="blip", messages=messages)
        assert answer.choices[0].message.content == form
        stream = sdk.chat.completions.create(model="blip", messages=messages, stream=True)
        texts = [choice.delta.content or "" for chunk in stream for choice in chunk.choices]
    assert "".join(texts) == form


def test_labels_and_vectors(client: httpx.Client) -> None:
    labels = ["a cat", "dog", "boat"]
    for _ in range(2):
        body = {"model": "clip", "images": list(map(data_url, PICTURES[:3])), "labels": labels}
        answer = client.post("/v1/vision/classify", json=body).json()
        for one in answer["data"]:
            scores = [label["score"] for label in one["labels"]]
            assert sorted(label["label"] for label in one["labels"]) == sorted(labels)
            assert scores == sorted(scores, reverse=True)
            assert sum(scores) == pytest.approx(1, abs=1e-5)
    inputs = ["a cat", data_url(PICTURES[0]), {"image": data_url(PICTURES[1])}]
    answer = client.post("/v1/embeddings", json={"model": "clip", "input": inputs}).json()
    assert [len(one["embedding"]) for one in answer["data"]] == [16, 16, 16]
    assert answer["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_on_every_way_in(client: httpx.Client, name: str) -> None:
    data, code = HOSTILE[name]
    content = [{"type": "image_url", "image_url": {"url": data_url(data)}}]
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/vision/caption", {"data": {"model": "blip"}, "files": {"file": data}}, "file"),
        ("/v1/vision/caption", {"json": {"model": "blip", "images": [data_url(data)]}}, "images[0]"),
        (
            "/v1/vision/classify",
            {"json": {"model": "clip", "image": data_url(data), "labels": ["a"]}},
            "image",
        ),
        (
            "/v1/embeddings",
            {"json": {"model": "clip", "input": ["a", {"image": data_url(data)}]}},
            "input[1].image",
        ),
        (
            "/v1/chat/completions",
            {"json": {"model": "blip", "messages": [{"role": "user", "content": content}]}},
            "messages[0].content[0].image_url.url",
        ),
    ]
    for path, sent, param in asked:
        response = client.post(path, **sent)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, param, code)
        assert "/" not in error["message"]
    fine = client.post("/v1/vision/caption", json={"model": "blip", "image": data_url(PICTURES[0])})
    assert fine.status_code == 200


def test_what_the_models_can_is_told(client: httpx.Client) -> None:
    told = client.get("/v1/models/blip").json()["capabilities"]
    assert (told["tasks"], told["parameters"], told["limits"]) == (
        ["caption"],
        ["max_tokens", "prompt"],
        {"images": 64},
    )
    told = client.get("/v1/models/clip").json()
    assert (told["tasks"], told["dimensions"]) == (["classify", "embed"], 16)
