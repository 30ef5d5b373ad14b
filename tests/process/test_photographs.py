"""Real photographs through every route that takes a picture: BLIP, CLIP and SDXL of random weights.

What random weights say of a photograph means nothing. That each one is read, whatever camera, scanner or
program wrote it, is the point.
"""

import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.drawn import opened
from tests.gateway_process import GatewayProcess
from tests.photographs import photographs, scans

PHOTOGRAPHS = photographs()
LABELS = ["a cat", "a cup of coffee", "a rocket"]
QUICK = {"steps": "2", "guidance": "0"}
WIDEST = 80 / 48
"""Of the shapes that the small painter paints."""


@pytest.fixture
def client(pictures_gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=pictures_gateway.base_url, timeout=120) as client:
        yield client


# --- the ways in ------------------------------------------------------------------------------------------


def _url(data: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def caption(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/vision/caption", json={"model": "blip", "image": _url(data)})


def caption_form(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/vision/caption", data={"model": "blip"}, files={"file": data})


def older_caption(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/api/v1/vision/caption", json={"image": _url(data)})


def chat(client: httpx.Client, data: bytes) -> httpx.Response:
    content = [{"type": "image_url", "image_url": {"url": _url(data)}}]
    body = {"model": "blip", "messages": [{"role": "user", "content": content}]}
    return client.post("/v1/chat/completions", json=body)


def classify(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/vision/classify", json={"model": "clip", "image": _url(data), "labels": LABELS})


def classify_form(client: httpx.Client, data: bytes) -> httpx.Response:
    form = {"model": "clip", "labels": LABELS}
    return client.post("/v1/vision/classify", data=form, files={"file": data})


def embed(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "clip", "input": {"image": _url(data)}})


def edit(client: httpx.Client, data: bytes) -> httpx.Response:
    form = {"model": "diffusion", "prompt": "a boat", "seed": "1", **QUICK}
    return client.post("/v1/images/edits", data=form, files={"image": data})


def vary(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/images/variations", data={"model": "diffusion", **QUICK}, files={"image": data})


Way = Callable[[httpx.Client, bytes], httpx.Response]
WAYS: list[Way] = [caption, caption_form, older_caption, chat, classify, classify_form, embed, edit, vary]


def by_all(client: httpx.Client, way: Way) -> dict[str, Any]:
    """Every photograph by this way, eight at once."""

    def ask(name: str) -> Any:
        response = way(client, PHOTOGRAPHS[name])
        assert response.status_code == 200, (name, response.text)
        return response.json()

    with ThreadPoolExecutor(8) as threads:
        return dict(zip(PHOTOGRAPHS, threads.map(ask, PHOTOGRAPHS), strict=True))


# --- what comes back --------------------------------------------------------------------------------------


def test_there_are_photographs_of_many_kinds() -> None:
    modes = {_mode(data) for data in PHOTOGRAPHS.values()}
    assert len(PHOTOGRAPHS) > 25
    assert {"L", "RGB", "RGBA"} <= modes


def _mode(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return image.mode


def test_captions(client: httpx.Client) -> None:
    captions = [by_all(client, way) for way in (caption, caption_form, older_caption)]
    for name in PHOTOGRAPHS:
        said = [answers[name]["data"][0]["caption"] for answers in captions]
        assert said == [said[0]] * 3
    assert len({answer["data"][0]["caption"] for answer in captions[0].values()}) > 1


def test_a_chat_says_the_same(client: httpx.Client) -> None:
    captions, chats = by_all(client, caption), by_all(client, chat)
    for name, answer in chats.items():
        assert answer["choices"][0]["message"]["content"] == captions[name]["data"][0]["caption"]


def test_labels(client: httpx.Client) -> None:
    answers, forms = by_all(client, classify), by_all(client, classify_form)
    for name, answer in answers.items():
        scores = {one["label"]: one["score"] for one in answer["data"][0]["labels"]}
        again = {one["label"]: one["score"] for one in forms[name]["data"][0]["labels"]}
        assert scores.keys() == set(LABELS)
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert scores == pytest.approx(again, abs=1e-4)


def test_vectors(client: httpx.Client) -> None:
    answers = by_all(client, embed)
    vectors = np.array([answer["data"][0]["embedding"] for answer in answers.values()])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-4)
    # One chessboard is there in grey and in colour.
    alike = np.abs(vectors[:, None] - vectors).max(axis=-1) < 2e-5
    assert alike.sum() == len(vectors) + 2
    grey, colour = (answers[f"chessboard_{mode}.png"]["data"][0]["embedding"] for mode in ("GRAY", "RGB"))
    assert grey == pytest.approx(colour, abs=1e-5)


@pytest.mark.parametrize("way", [edit, vary])
def test_pictures_like_them(client: httpx.Client, way: Way) -> None:
    for name, answer in by_all(client, way).items():
        with (
            opened(answer["data"][0]["b64_json"]) as made,
            Image.open(io.BytesIO(PHOTOGRAPHS[name])) as original,
        ):
            assert made.format == "PNG"
            shape = original.width / original.height
            nearest = min(max(shape, 1 / WIDEST), WIDEST)
            assert 1 / 1.15 < made.width / made.height / nearest < 1.15, name


@pytest.mark.parametrize("way", WAYS)
def test_other_formats_are_refused(client: httpx.Client, way: Way) -> None:
    for data in scans().values():
        response = way(client, data)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_image")
