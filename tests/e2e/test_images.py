"""Text to image as a user asks for it: the official package, a real gateway, a small random SDXL pipeline.

What it paints is noise, but it comes the way that real pictures come.
"""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.diffusion_checkpoint import write_sdxl
from tests.drawn import encoded, opened
from tests.gateway_process import GatewayProcess, wait_for

# Of diffusers, which does not know NumPy's newest manners.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MODEL = "gpt-image-1"
PROMPT = "a red boat at sea"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("painter")
    model = {
        "name": "sdxl",
        "aliases": [MODEL],
        "backend": "diffusion",
        "tasks": ["paint", "edit"],
        "source": str(write_sdxl(folder / "model")),
        "preload": True,
        "parameters": {"steps": 4, "guidance": 3, "n_threads": 1, "sizes": ["64x64", "96x64", "640x640"]},
    }
    config = {"models": [model], "paths": {"spool_dir": str(folder / "spool")}}
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()
    assert list((folder / "spool").iterdir()) == []


@pytest.fixture
def sdk(painter: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{painter.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def picture(colour: Any, mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> bytes:
    return encoded(Image.new(mode, size, colour))


def test_the_same_seed_paints_the_same_picture(sdk: OpenAI) -> None:
    def paint(seed: int, n: int) -> list[Any]:
        answer = sdk.images.generate(model=MODEL, prompt=PROMPT, n=n, size="96x64", extra_body={"seed": seed})
        assert answer.size == "96x64"
        assert answer.usage
        assert answer.usage.input_tokens > 5
        return answer.data or []

    three = paint(7, 3)
    assert [one.seed for one in three] == [7, 8, 9]
    assert [opened(one.b64_json).size for one in three] == [(96, 64)] * 3
    first, again = opened(three[2].b64_json), opened(paint(9, 1)[0].b64_json)
    differences = [abs(a - b) for a, b in zip(first.tobytes(), again.tobytes(), strict=True)]
    assert max(differences) <= 2  # rounding in other company
    assert three[0].b64_json != three[1].b64_json


def test_a_stream_shows_what_becomes_of_it(sdk: OpenAI) -> None:
    fields = {"seed": 1, "progress": True, "negative_prompt": "rain"}
    stream = sdk.images.generate(
        model=MODEL, prompt=PROMPT, stream=True, partial_images=2, output_format="webp", extra_body=fields
    )
    events: list[Any] = list(stream)
    shown = [event for event in events if event.type != "image_generation.progress"]
    assert [event.step for event in events if event.type == "image_generation.progress"] == [1, 2, 3, 4]
    assert [event.type.partition(".")[2] for event in shown] == ["partial_image"] * 2 + ["completed"]
    assert [opened(event.b64_json).format for event in shown] == ["WEBP"] * 3
    assert len({event.b64_json for event in shown}) == 3


def test_edits_and_variations(sdk: OpenAI) -> None:
    red = picture("red")
    hole = Image.new("RGBA", (64, 64), "black")
    hole.paste((0, 0, 0, 0), (0, 0, 32, 64))
    answer = sdk.images.edit(model=MODEL, image=red, mask=encoded(hole), prompt="the sky", n=2)
    painted = [opened(one.b64_json) for one in answer.data or []]
    assert len(painted) == 2
    for one in painted:  # what the mask keeps is kept
        assert one.getpixel((60, 32)) == (255, 0, 0)
        assert one.getpixel((4, 32)) != (255, 0, 0)
    whole = sdk.images.edit(
        model=MODEL, image=red, prompt="the sky", size="96x64", extra_body={"strength": 0.5}
    )
    assert whole.size == "96x64"
    with pytest.warns(DeprecationWarning, match="deprecated"):
        varied = sdk.images.create_variation(model=MODEL, image=red, n=2)
    assert len(varied.data or []) == 2


def test_an_address_opens_in_any_client(sdk: OpenAI) -> None:
    answer = sdk.images.generate(prompt=PROMPT, response_format="url", output_format="jpeg")
    (one,) = answer.data or []
    shown = httpx.get(one.url or "")
    assert shown.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.content)).size == (64, 64)


def test_a_client_that_leaves_frees_the_model(sdk: OpenAI, painter: GatewayProcess) -> None:
    stream = sdk.images.generate(
        model=MODEL, prompt=PROMPT, size="640x640", stream=True, extra_body={"steps": 100, "progress": True}
    )
    next(iter(stream))
    stream.close()
    assert wait_for(lambda: painter.running("sdxl") == 0, 10) < 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "1024x1024"}, "size"),
        ({"prompt": "boats " * 80}, "prompt"),
        ({"background": "transparent"}, "background"),
        ({"stream": True, "partial_images": 2, "extra_body": {"steps": 2}}, "partial_images"),
        ({"extra_body": {"negative_prompt": "rain", "guidance": 1}}, "negative_prompt"),
        ({"extra_body": {"steps": 101}}, "steps"),
    ],
)
def test_what_cannot_be_painted_is_named(sdk: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.generate(**({"model": MODEL, "prompt": PROMPT} | fields))
    assert caught.value.param == param


def test_a_mask_of_another_size_or_without_holes(sdk: OpenAI) -> None:
    for mask in (picture((0, 0, 0, 0), "RGBA", (32, 64)), picture("white")):
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.images.edit(model=MODEL, image=picture("red"), mask=mask, prompt="the sky")
        assert caught.value.param == "mask"
