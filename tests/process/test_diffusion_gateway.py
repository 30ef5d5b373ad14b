"""A painter behind a gateway process, by the official SDK: many clients, edits, previews, leaving early."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from openai import BadRequestError, OpenAI

from tests.drawn import HOLE, MASK, PICTURE, encoded, opened
from tests.gateway_process import GatewayProcess

Pixels = npt.NDArray[np.int16]
SAME = 2


@pytest.fixture
def sdk(pictures_gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{pictures_gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def pixels(b64: str | None) -> Pixels:
    with opened(b64) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def paint(sdk: OpenAI, seed: int, prompt: str = "a cat", **more: Any) -> Pixels:
    answer = sdk.images.generate(model="diffusion", prompt=prompt, extra_body={"seed": seed, **more})
    return pixels((answer.data or [])[0].b64_json)


def test_what_the_model_says_of_itself(sdk: OpenAI) -> None:
    told: Any = sdk.models.retrieve("diffusion").model_dump()["capabilities"]
    assert told["tasks"] == ["paint", "edit"]
    assert told["sizes"][:2] == ["64x64", "72x56"]
    assert {"seed", "negative_prompt", "strength", "partial_images"} <= set(told["parameters"])


def test_pictures_of_many_clients_are_those_of_one(sdk: OpenAI) -> None:
    alone = [paint(sdk, seed, steps=seed) for seed in range(1, 5)]
    with ThreadPoolExecutor(12) as threads:
        together = list(threads.map(lambda seed: paint(sdk, 1 + seed % 4, steps=1 + seed % 4), range(12)))
    for number, made in enumerate(together):
        assert np.abs(made - alone[number % 4]).max() <= SAME
    many = sdk.images.generate(
        model="diffusion", prompt="a cat", n=2, extra_body={"seed": 1, "steps": 1}, size="64x64"
    )
    first, second = (pixels(one.b64_json) for one in many.data or [])
    assert np.abs(first - alone[0]).max() <= SAME < np.abs(second - alone[0]).max()


def test_edits_and_variations(pictures_gateway: GatewayProcess, sdk: OpenAI) -> None:
    def edit(**more: Any) -> Pixels:
        answer = sdk.images.edit(
            model="diffusion",
            image=("a.png", encoded(PICTURE)),
            prompt="a dog",
            extra_body={"seed": 4},
            **more,
        )
        return pixels((answer.data or [])[0].b64_json)

    masked, whole = edit(mask=("m.png", encoded(MASK))), edit()
    original = np.asarray(PICTURE).astype(np.int16)
    assert (masked[~HOLE] == original[~HOLE]).all()
    assert np.abs(masked[HOLE] - original[HOLE]).max() > SAME
    assert np.abs(whole[~HOLE] - original[~HOLE]).max() > SAME
    varied = httpx.post(  # the SDK warns of its own method for it
        f"{pictures_gateway.base_url}/v1/images/variations",
        data={"model": "diffusion", "size": "64x64"},
        files={"image": encoded(PICTURE)},
        timeout=60,
    )
    assert pixels(varied.json()["data"][0]["b64_json"]).shape == (64, 64, 3)


def test_previews_on_the_way(sdk: OpenAI) -> None:
    events = list(
        sdk.images.generate(
            model="diffusion",
            prompt="a cat",
            stream=True,
            partial_images=2,
            extra_body={"seed": 1, "steps": 6, "progress": True},
        )
    )
    kinds = [event.type for event in events]
    assert kinds.count("image_generation.partial_image") == 2
    assert kinds[-1] == "image_generation.completed"
    shown = [pixels(event.b64_json) for event in events if getattr(event, "b64_json", None)]
    assert len(shown) == 3
    assert np.abs(shown[-1] - paint(sdk, 1, steps=6)).max() <= SAME


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("size", {"size": "1024x1024"}),
        ("prompt", {"prompt": "x" * 100}),
        ("steps", {"steps": 1001}),
        ("background", {"background": "transparent"}),
        ("partial_images", {"stream": True, "partial_images": 3}),
        ("negative_prompt", {"negative_prompt": "a dog", "guidance": 0}),
    ],
)
def test_what_cannot_be_honoured_is_a_400(sdk: OpenAI, param: str, asked: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        sdk.post(
            "/images/generations",
            body={"model": "diffusion", "prompt": "a cat"} | asked,
            cast_to=httpx.Response,
        )
    assert caught.value.param == param


def test_hostile_pictures_are_a_400(sdk: OpenAI) -> None:
    for data in (b"GIF89a" + bytes(50), encoded(PICTURE)[:300], b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        with pytest.raises(BadRequestError) as caught:
            sdk.images.edit(model="diffusion", image=("a.png", data), prompt="a dog")
        assert (caught.value.param, caught.value.code) == ("image", "invalid_image")


def test_a_client_that_leaves_frees_its_place(pictures_gateway: GatewayProcess, sdk: OpenAI) -> None:
    before = _metric(pictures_gateway, "llm_cortex_denoise_steps_total")
    body = {"model": "diffusion", "prompt": "a cat", "stream": True, "progress": True, "steps": 1000}
    with httpx.stream(
        "POST", f"{pictures_gateway.base_url}/v1/images/generations", json=body, timeout=60
    ) as answer:
        next(line for line in answer.iter_lines() if line.startswith("data: "))
    deadline = time.monotonic() + 30
    while _metric(pictures_gateway, "llm_cortex_num_requests_running") > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 1 <= _metric(pictures_gateway, "llm_cortex_denoise_steps_total") - before < 1000
    assert paint(sdk, 1).shape == (64, 64, 3)


def _metric(gateway: GatewayProcess, name: str) -> float:
    for line in httpx.get(f"{gateway.base_url}/metrics").text.splitlines():
        if line.startswith(f"{name}{{") and '"diffusion"' in line:
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name}")
