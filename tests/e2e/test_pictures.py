"""The starter models that look at pictures, as a user asks them: the official package and plain HTTP.

What they are shown is drawn here: scenes that training never saw.
"""

import base64
import io
import random
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.gateway_process import GatewayProcess
from training.drawing import draw
from training.world import Scene, Thing, caption, some_scene

COUNT = 12


def _scenes(things: int) -> list[Scene]:
    chance = random.Random(f"shown {things}")
    return [some_scene(chance, held_out=True, things=things) for _ in range(COUNT)]


SCENES = [*_scenes(1), *_scenes(2)]
STAR = Scene(Thing("red", "star", "large"), "white")
RINGS = Scene(Thing("blue", "ring", "large"), "grey", "above", Thing("yellow", "ring", "small"))


def picture(scene: Scene, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    draw(scene, random.Random(caption(scene)), 256).save(file, form)
    return file.getvalue()


def data_url(scene: Scene) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture(scene)).decode()}"


def shown(*scenes: Scene) -> Any:
    parts = [{"type": "image_url", "image_url": {"url": data_url(scene)}} for scene in scenes]
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.base_url, timeout=300) as client:
        yield client


# --- captions ---------------------------------------------------------------------------------------------


def test_captions_say_what_is_drawn(http: httpx.Client) -> None:
    body = {"model": "shapes-captioner", "images": [data_url(scene) for scene in SCENES]}
    answer = http.post("/v1/vision/caption", json=body).json()
    said = [one["caption"] for one in answer["data"]]
    right = sum(text == caption(scene) for text, scene in zip(said, SCENES, strict=True))
    assert right >= len(SCENES) - 2, said
    assert (answer["object"], answer["model"]) == ("list", "shapes-captioner")
    assert answer["usage"]["completion_tokens"] > 8 * len(SCENES)


def test_every_way_in_says_the_same(http: httpx.Client) -> None:
    wanted = caption(STAR)
    for form in ("PNG", "JPEG", "WEBP", "GIF"):
        answer = http.post("/v1/vision/caption", data={"model": "blip"}, files={"file": picture(STAR, form)})
        assert answer.json()["data"] == [{"index": 0, "caption": wanted}], form
    for asked in ({"json": {"image": data_url(STAR)}}, {"files": {"file": picture(STAR)}}):
        answer = http.post("/api/v1/vision/caption", **asked)
        assert answer.json()["data"][0]["caption"] == wanted


def test_a_caption_goes_on_from_a_prompt(http: httpx.Client) -> None:
    for prompt in ("a large red", "a large red star on a"):
        body = {"model": "blip", "image": data_url(STAR), "prompt": prompt}
        assert http.post("/v1/vision/caption", json=body).json()["data"][0]["caption"] == caption(STAR)
    body = {"model": "blip", "image": data_url(STAR), "max_tokens": 4}
    assert http.post("/v1/vision/caption", json=body).json()["data"][0]["caption"] == "a large red star"


def test_a_chat_is_answered_with_captions(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="blip", messages=shown(STAR, RINGS))
    assert answer.choices[0].message.content == f"{caption(STAR)}\n{caption(RINGS)}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.completion_tokens > 16


def test_a_chat_is_answered_as_a_stream(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="blip", messages=shown(RINGS), stream=True, stream_options={"include_usage": True}
        )
    )
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == caption(RINGS)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None


def test_a_text_model_takes_no_picture(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=shown(STAR))
    assert (caught.value.param or "").startswith("messages[0].content")


# --- labels and vectors -----------------------------------------------------------------------------------


def test_labels_are_weighed(http: httpx.Client) -> None:
    labels = ["a red star", "a blue ring", "a green cross"]
    asked = {"model": "clip", "labels": labels}
    whole = http.post("/v1/vision/classify", json=asked | {"image": data_url(STAR)}).json()
    form = http.post("/v1/vision/classify", data=asked, files={"file": picture(STAR)}).json()
    for answer in (whole, form):
        best, *others = answer["data"][0]["labels"]
        assert best["label"] == labels[0]
        assert best["score"] > 0.5
        assert best["score"] + sum(one["score"] for one in others) == pytest.approx(1, abs=1e-5)


def test_captions_as_labels(http: httpx.Client) -> None:
    ones = SCENES[:COUNT]
    labels = list(dict.fromkeys(caption(scene) for scene in ones))
    body = {"model": "shapes-clip", "images": [data_url(scene) for scene in ones], "labels": labels}
    answer = http.post("/v1/vision/classify", json=body).json()
    best = [one["labels"][0]["label"] for one in answer["data"]]
    assert sum(label == caption(scene) for label, scene in zip(best, ones, strict=True)) >= COUNT - 2, best


def test_pictures_and_texts_lie_in_one_space(client: OpenAI) -> None:
    texts = [caption(STAR), caption(RINGS)]
    mixed: Any = [*texts, data_url(STAR), {"image": data_url(RINGS)}]
    answer = client.embeddings.create(model="clip", input=mixed)
    star, rings, star_seen, rings_seen = (one.embedding for one in answer.data)
    assert _likeness(star, star_seen) > _likeness(rings, star_seen)
    assert _likeness(rings, rings_seen) > _likeness(star, rings_seen)
    assert len(star) == len(star_seen) == 64
    assert _likeness(star_seen, star_seen) == pytest.approx(1, abs=1e-4)


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# --- what is no drawing -----------------------------------------------------------------------------------


def test_what_is_no_picture_is_named(http: httpx.Client) -> None:
    for data in (b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture(STAR)[:300]):
        answer = http.post("/v1/vision/caption", data={"model": "blip"}, files={"file": data})
        assert answer.status_code == 400
        assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == ("file", "invalid_image")


def test_of_a_photograph_it_still_says_something(http: httpx.Client) -> None:
    noise = Image.effect_noise((301, 97), 80).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "JPEG")
    answer = http.post("/v1/vision/caption", data={"model": "blip"}, files={"file": file.getvalue()})
    assert answer.json()["data"][0]["caption"]
