"""Chats with pictures and sound through a gateway process, with the official SDK and what strangers send."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI

from tests.gateway_process import GatewayProcess
from tests.media_gguf import Kind, write_language_model, write_projector
from tests.process.test_llama_media import pixels, png, samples, wav
from tests.process.test_vision_gateway import HOSTILE, data_url


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("media")
    kinds: dict[str, Kind | None] = {"sees": "qwen2vl", "hears": "ultravox", "reads": None}
    models: list[dict[str, Any]] = []
    for name, kind in kinds.items():
        source = write_language_model(folder / f"{name}.gguf", kind or "llava")
        parameters: dict[str, Any] = {"n_threads": 1, "n_ctx": 1024}
        if kind is not None:
            projector = write_projector(folder / f"mmproj-{name}.gguf", kind)
            parameters |= {"mmproj": {"source": str(projector)}, "max_media": 4, "max_audio_s": 20}
        models.append(
            {
                "name": name,
                "backend": "llama_cpp",
                "tasks": ["generate"],
                "source": str(source),
                "preload": True,
                "parameters": parameters,
            }
        )
    config: dict[str, Any] = {"models": models, "paths": {"spool_dir": str(folder / "spool")}}
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()


@pytest.fixture
def sdk(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def picture(number: int, **size: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(png(pixels(number, **size)))}}


def sound(number: int, seconds: float = 1) -> dict[str, Any]:
    data = base64.b64encode(wav(samples(number, seconds))).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def ask(sdk: OpenAI, model: str, *parts: dict[str, Any], **more: Any) -> Any:
    content: Any = [{"type": "text", "text": "see "}, *parts, {"type": "text", "text": " what?"}]
    settings: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "logprobs": True} | more
    return sdk.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], **settings
    )


def tokens(answer: Any) -> list[Any]:
    return [one.bytes for one in answer.choices[0].logprobs.content]


@pytest.mark.parametrize(("model", "part"), [("sees", picture), ("hears", sound)])
def test_many_clients_get_what_one_alone_gets(sdk: OpenAI, model: str, part: Any) -> None:
    alone = [ask(sdk, model, part(number)) for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda number: ask(sdk, model, part(number)), range(6)))
    assert list(map(tokens, together)) == list(map(tokens, alone))
    assert len({str(tokens(answer)) for answer in alone}) > 1
    more = ask(sdk, model, part(0), part(1)).usage.prompt_tokens - alone[0].usage.prompt_tokens
    assert more > 60, "what is shown counts"
    details = together[0].usage.prompt_tokens_details
    assert details.cached_tokens > 60
    assert (details.audio_tokens > 60) == (model == "hears")


def test_streams_carry_the_same(sdk: OpenAI) -> None:
    whole = ask(sdk, "sees", picture(1))
    chunks = list(ask(sdk, "sees", picture(1), stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_little_detail_is_a_smaller_picture(sdk: OpenAI) -> None:
    large = picture(1, width=1400, height=60)
    small = {"type": "image_url", "image_url": large["image_url"] | {"detail": "low"}}
    few = ask(sdk, "sees", small).usage.prompt_tokens
    with pytest.raises(BadRequestError) as caught:
        ask(sdk, "sees", large)
    assert few < 1024
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("model", "parts", "param"),
    [
        ("reads", [picture(1)], "messages[0].content[1]"),
        ("sees", [sound(1)], "messages[0].content[1]"),
        ("hears", [sound(1), picture(1)], "messages[0].content[2]"),
        ("sees", [picture(1)] * 5, "messages[0].content[5]"),
        ("hears", [sound(1, 21)], "messages[0].content[1].input_audio.data"),
        ("sees", [picture(1, width=404, height=4)], "messages[0].content[1].image_url.url"),
    ],
)
def test_what_cannot_be_taken_is_named(
    sdk: OpenAI, model: str, parts: list[dict[str, Any]], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        ask(sdk, model, *parts)
    assert caught.value.param == param


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_reach_no_projector(gateway: GatewayProcess, sdk: OpenAI, name: str) -> None:
    data, code = HOSTILE[name]
    with pytest.raises(BadRequestError) as caught:
        ask(sdk, "sees", {"type": "image_url", "image_url": {"url": data_url(data)}})
    assert (caught.value.code, caught.value.param) == (code, "messages[0].content[1].image_url.url")
    audio = {"data": base64.b64encode(data).decode(), "format": "mp3"}
    with pytest.raises(BadRequestError) as caught:
        ask(sdk, "hears", {"type": "input_audio", "input_audio": audio})
    assert (caught.value.code, caught.value.param) == (
        "invalid_audio",
        "messages[0].content[1].input_audio.data",
    )
    assert ask(sdk, "sees", picture(1)).choices


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 90), (2000, 21), (7, 13), (29, 29)])
def test_pictures_of_every_shape_are_seen(sdk: OpenAI, width: int, height: int) -> None:
    assert ask(sdk, "sees", picture(1, width=width, height=height)).usage.prompt_tokens > 20


def test_short_sounds_are_heard(sdk: OpenAI) -> None:
    assert ask(sdk, "hears", sound(1, 1 / 16000)).usage.prompt_tokens > 20


def test_what_the_models_can_is_told(gateway: GatewayProcess) -> None:
    for model, taken in (("sees", {"image"}), ("hears", {"audio"}), ("reads", set())):
        told = httpx.get(f"{gateway.base_url}/v1/models/{model}").json()["capabilities"]
        assert {"image", "audio"} & set(told["parameters"]) == taken
