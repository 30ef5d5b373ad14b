"""Pictures as the official OpenAI package asks for them, of a gateway process over the fake engine."""

import base64
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.drawn import encoded, opened
from tests.gateway_process import GatewayProcess, wait_for

MODEL = "gpt-image-1"
KEEP_S = 3.0
SLOW = "@tokens:200 @slow:50"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    model = {
        "name": "painter",
        "aliases": [MODEL],
        "backend": "fake",
        "tasks": ["paint", "edit"],
        "source": ".",
        "preload": True,
        "parameters": {"tokens": 4, "max_sequences": 2},
    }
    config = {
        "models": [model],
        "paths": {"spool_dir": str(folder / "spool")},
        "timeouts": {"picture_file_s": KEEP_S},
    }
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()
    assert list((folder / "spool").iterdir()) == []


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def png(size: tuple[int, int], colour: Any, mode: str = "RGB", form: str = "PNG") -> bytes:
    return encoded(Image.new(mode, size, colour), form)


def holes(size: tuple[int, int]) -> bytes:
    """A mask that is transparent in its left half."""
    mask = Image.new("RGBA", size, "black")
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return encoded(mask)


# --- whole answers ---------------------------------------------------------------------------------------


def test_pictures_of_a_text(client: OpenAI) -> None:
    def paint(**fields: Any) -> Any:
        return client.images.generate(model=MODEL, prompt="a boat at sea", **fields)

    answer = paint(n=3, size="96x64", quality="low", extra_body={"seed": 7})
    assert (answer.size, answer.quality, answer.output_format) == ("96x64", "low", "png")
    assert answer.background == "opaque"
    assert (answer.usage.input_tokens, answer.usage.total_tokens) == (4, 4)
    assert answer.usage.input_tokens_details.text_tokens == 4
    pictures = [opened(one.b64_json) for one in answer.data]
    assert [(picture.format, picture.size) for picture in pictures] == [("PNG", (96, 64))] * 3
    assert len({picture.getpixel((48, 32)) for picture in pictures}) == 3
    assert [one.seed for one in answer.data] == [7, 8, 9]
    again = paint(size="96x64", quality="low", extra_body={"seed": 9})
    assert again.data[0].b64_json == answer.data[2].b64_json
    assert paint().data[0].b64_json != paint().data[0].b64_json


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_formats(client: OpenAI, form: Literal["png", "jpeg", "webp"]) -> None:
    answer = client.images.generate(model=MODEL, prompt="x", output_format=form)
    assert answer.data
    assert opened(answer.data[0].b64_json).format == form.upper()
    assert answer.output_format == form


def test_a_transparent_background(client: OpenAI) -> None:
    answer = client.images.generate(
        model=MODEL, prompt="x", background="transparent", output_format="webp", output_compression=50
    )
    assert answer.data
    assert answer.background == "transparent"
    assert opened(answer.data[0].b64_json).convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_a_large_picture_comes_in_pieces(client: OpenAI) -> None:
    answer = client.images.generate(model=MODEL, prompt="x", size="1024x1024", n=2)
    assert answer.data
    assert [opened(one.b64_json).size for one in answer.data] == [(1024, 1024)] * 2


def test_an_address(client: OpenAI, gateway: GatewayProcess, tmp_path: Path) -> None:
    answer = client.images.generate(
        model=MODEL, prompt="x", response_format="url", n=2, extra_body={"seed": 1}
    )
    assert answer.data
    urls = [one.url or "" for one in answer.data]
    assert all(url.startswith(f"{gateway.base_url}/v1/images/files/") for url in urls)
    shown, head = httpx.get(urls[0]), httpx.head(urls[0])
    assert shown.headers["content-type"] == "image/png"
    assert (head.content, head.headers["content-length"]) == (b"", str(len(shown.content)))
    same = client.images.generate(model=MODEL, prompt="x", extra_body={"seed": 1})
    assert same.data
    assert shown.content == base64.b64decode(same.data[0].b64_json or "")
    wait_for(lambda: httpx.get(urls[1]).status_code == 404, KEEP_S + 5)


def test_it_is_told_what_it_paints(gateway: GatewayProcess) -> None:
    can = gateway.get("/v1/models/painter").json()["capabilities"]
    assert can["sizes"][0] == "64x64"
    assert {"seed", "mask", "partial_images"} <= set(can["parameters"])


def test_what_was_painted_is_counted(client: OpenAI, gateway: GatewayProcess) -> None:
    def counted() -> tuple[float, float]:
        return gateway.metric("denoise_steps_total"), gateway.metric("pictures_total")

    steps, pictures = counted()
    client.images.generate(model=MODEL, prompt="x", n=2, extra_body={"steps": 5})
    assert counted() == (steps + 10, pictures + 2)


# --- edits -----------------------------------------------------------------------------------------------


def test_an_edit_keeps_the_pictures_size(client: OpenAI) -> None:
    photo = png((40, 30), "red", form="JPEG")
    answer = client.images.edit(
        model=MODEL, image=("p.jpg", photo), prompt="blue", extra_body={"strength": 0.5}
    )
    assert answer.data
    assert (answer.size, opened(answer.data[0].b64_json).size) == ("40x30", (40, 30))


def test_a_mask_keeps_the_rest(client: OpenAI) -> None:
    red = png((40, 30), "red")
    answer = client.images.edit(
        model=MODEL, image=[("a.png", red), ("b.png", red)], mask=("m.png", holes((40, 30))), prompt="blue"
    )
    assert answer.data
    painted = opened(answer.data[0].b64_json)
    assert painted.getpixel((30, 15)) == (255, 0, 0)
    assert painted.getpixel((5, 15)) != (255, 0, 0)


def test_an_edit_as_json(gateway: GatewayProcess) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png((40, 30), 'red')).decode()}"
    body = {"prompt": "blue", "images": [{"image_url": url}], "size": "64x96"}
    answer = httpx.post(f"{gateway.base_url}/v1/images/edits", json=body, timeout=30).json()
    assert (answer["model"], answer["size"]) == ("painter", "64x96")


def test_variations(client: OpenAI) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        answer = client.images.create_variation(model=MODEL, image=("a.png", png((32, 32), "red")), n=2)
    assert answer.data
    assert [opened(one.b64_json).size for one in answer.data] == [(32, 32)] * 2
    assert answer.usage
    assert answer.usage.input_tokens == 0


# --- streams ---------------------------------------------------------------------------------------------


def test_previews_come_while_it_paints(client: OpenAI) -> None:
    came: list[tuple[float, Any]] = []
    stream = client.images.generate(
        model=MODEL, prompt="@tokens:9 @slow:250", stream=True, partial_images=2, size="64x96"
    )
    for event in stream:
        came.append((time.monotonic(), event))
    events = [event for _, event in came]
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert [opened(event.b64_json).size for event in events] == [(64, 96)] * 3
    assert events[2].usage.input_tokens == 2
    assert came[2][0] - came[0][0] > 0.2


def test_an_edit_streams(client: OpenAI) -> None:
    stream = client.images.edit(
        model=MODEL, image=png((32, 32), "red"), prompt="x", stream=True, partial_images=1
    )
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_steps_are_told_if_asked_for(client: OpenAI) -> None:
    stream = client.images.generate(model=MODEL, prompt="x", stream=True, extra_body={"progress": True})
    told: list[Any] = list(stream)
    assert [(event.step, event.steps) for event in told[:-1]] == [(step, 4) for step in (1, 2, 3, 4)]
    assert told[-1].type == "image_generation.completed"


def test_a_failure_on_the_way_is_told_in_the_stream(client: OpenAI) -> None:
    stream = client.images.generate(
        model=MODEL, prompt="@error:3", stream=True, extra_body={"progress": True}
    )
    seen: list[Any] = []
    with pytest.raises(openai.APIError, match="failed as scripted"):
        seen += stream
    with pytest.raises(openai.InternalServerError, match="failed as scripted"):
        client.images.generate(model=MODEL, prompt="@error:0", stream=True)


# --- departures ------------------------------------------------------------------------------------------


def is_idle(gateway: GatewayProcess) -> bool:
    return gateway.running("painter") == gateway.metric("num_requests_waiting", model="painter") == 0


def test_a_client_that_leaves_in_the_middle_of_a_stream(client: OpenAI, gateway: GatewayProcess) -> None:
    stream = client.images.generate(model=MODEL, prompt=SLOW, stream=True, extra_body={"progress": True})
    next(iter(stream))
    assert gateway.running("painter") == 1
    stream.close()
    wait_for(lambda: is_idle(gateway), 4)


def test_clients_that_leave_while_painted_and_queued(client: OpenAI, gateway: GatewayProcess) -> None:
    """Two are painted, the others wait."""
    ends: list[type[Exception]] = []

    def ask() -> None:
        try:
            client.with_options(timeout=4.0).images.generate(model=MODEL, prompt=SLOW)
        except openai.APITimeoutError as error:
            ends.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: gateway.metric("num_requests_running", model="painter") >= 2, 5)
    for thread in threads:
        thread.join()
    assert ends == [openai.APITimeoutError] * 6
    wait_for(lambda: is_idle(gateway), 4)
    steps = gateway.metric("denoise_steps_total")
    assert client.images.generate(model=MODEL, prompt="@tokens:1").data
    assert gateway.metric("denoise_steps_total") == steps + 1


# --- refusals --------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
HOSTILE = {
    "empty": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "huge": HUGE + chunk(b"IDAT", zlib.compress(b"x")) + chunk(b"IEND", b""),
    "cut": png((400, 300), "red", form="JPEG")[:300],
    "noise": bytes(range(256)) * 50,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("where", ["image", "mask"])
def test_hostile_pictures(client: OpenAI, gateway: GatewayProcess, data: bytes, where: str) -> None:
    files = {"image": ("a.png", png((40, 30), "red"))} | {where: ("a.png", data)}
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(model=MODEL, prompt="x", **files)  # type: ignore[call-overload]
    assert caught.value.param == where
    assert caught.value.code in ("invalid_image", "image_too_large")
    assert "/" not in caught.value.message.partition("message")[2]
    assert gateway.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    "mask",
    [holes((41, 30)), png((40, 30), "white")],
    ids=["of another size", "nowhere transparent"],
)
def test_masks_that_do_not_fit(client: OpenAI, mask: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(model=MODEL, prompt="x", image=png((40, 30), "red"), mask=mask)
    assert caught.value.param == "mask"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "100x100"}, "size"),
        ({"style": "vivid"}, "style"),
        ({"n": 2, "stream": True}, "n"),
        ({"stream": True, "partial_images": 3, "extra_body": {"steps": 3}}, "partial_images"),
        ({"extra_body": {"frobnicate": 1}}, "frobnicate"),
    ],
)
def test_what_cannot_be_had_is_named(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model=MODEL, prompt="x", **fields)
    assert caught.value.param == param
