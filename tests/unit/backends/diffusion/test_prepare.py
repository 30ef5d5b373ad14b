"""From jobs to what the engine paints, and what is refused."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backends.base import JobError
from backends.diffusion import DiffusionBackend
from backends.diffusion.item import PaintItem
from backends.protocol import Inline, Job, JobTask, Media, PaintParameters, Text, Tokens
from config.schema import ModelSpec
from tests.unit.backends.diffusion.conftest import change


def encoded(image: Image.Image, form: str = "PNG") -> Media:
    file = io.BytesIO()
    image.save(file, form)
    return Media(Inline(file.getvalue()))


def with_hole(size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Transparent in its left half."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image


PICTURE = encoded(Image.new("RGB", (90, 90), (200, 10, 10)))
MASK = encoded(with_hole())
"""Not of the picture's size."""


def prepared(
    folder: Path, task: JobTask = "paint", texts: tuple[str, ...] = ("a cat",), /, **asked: Any
) -> list[PaintItem]:
    settings = asked.pop("settings", {})
    spec = ModelSpec(
        name="m", backend="diffusion", tasks=["paint", "edit"], source=str(folder), parameters=settings
    )
    job = Job("job", "m", task, PaintParameters(**asked), [Text(text) for text in texts])
    return DiffusionBackend(spec, folder).preparer().prepare(job)


def test_defaults_are_the_model_s(folder: Path) -> None:
    (item,) = prepared(folder)
    assert (item.width, item.height, item.steps, item.guidance) == (512, 512, 1, 0.0)
    assert (item.strength, item.previews, item.picture, item.mask) == (1.0, 0, b"", b"")
    assert item.prompt_tokens == 4


def test_a_seed_is_drawn_where_none_is_given(folder: Path) -> None:
    assert prepared(folder, seed=7)[0].seed == 7
    assert len({prepared(folder)[0].seed for _ in range(3)}) > 1


def test_quality_is_steps_unless_they_are_given(folder: Path) -> None:
    assert prepared(folder, quality="high")[0].steps == 4
    assert prepared(folder, quality="high", steps=9)[0].steps == 9


def test_long_prompts_are_refused_and_never_cut(folder: Path) -> None:
    assert prepared(folder, "paint", ("abcdefghij",))[0].prompt_tokens == 10
    with pytest.raises(JobError, match="has 11 tokens; this model reads 10") as caught:
        prepared(folder, "paint", ("abcdefghijk",))
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
    with pytest.raises(JobError) as caught:
        prepared(folder, negative_prompt="a" * 11, guidance=5.0)
    assert caught.value.param == "negative_prompt"


def test_control_tokens_in_a_prompt_are_text(folder: Path) -> None:
    with pytest.raises(JobError, match=r"has 1[0-9] tokens"):
        prepared(folder, "paint", ("<|endoftext|>",))


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("n", {"n": 11}),
        ("n", {"n": 0}),
        ("steps", {"steps": 0}),
        ("steps", {"steps": 101}),
        ("guidance", {"guidance": -1.0}),
        ("guidance", {"guidance": 101.0}),
        ("negative_prompt", {"negative_prompt": "dog"}),
        ("negative_prompt", {"negative_prompt": "dog", "guidance": 1.0}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**63}),
        ("size", {"width": 1024, "height": 1024}),
        ("size", {"width": 512, "height": 0}),
        ("background", {"background": "transparent"}),
        ("output_compression", {"compression": 50}),
        ("output_compression", {"compression": 101, "format": "jpeg"}),
        ("partial_images", {"previews": 1}),
        ("partial_images", {"previews": 9, "steps": 20}),
        ("image", {"strength": 0.5}),
        ("image", {"images": [PICTURE]}),
    ],
)
def test_what_cannot_be_honoured_is_named(folder: Path, param: str, asked: dict[str, Any]) -> None:
    with pytest.raises(JobError) as caught:
        prepared(folder, **asked)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("image", {}),
        ("image", {"images": [PICTURE, PICTURE]}),
        ("image", {"images": [Media(Inline(b"nothing"))]}),
        ("mask", {"images": [PICTURE], "mask": PICTURE}),
        ("mask", {"images": [PICTURE], "mask": MASK}),
        ("mask", {"images": [PICTURE], "mask": Media(Inline(b"\x89PNG"))}),
        ("strength", {"images": [PICTURE], "strength": 0.001}),
        ("strength", {"images": [PICTURE], "strength": 1.5}),
        ("partial_images", {"images": [PICTURE], "strength": 0.5, "steps": 4, "previews": 2}),
    ],
)
def test_edits_that_cannot_be_done(folder: Path, param: str, asked: dict[str, Any]) -> None:
    with pytest.raises(JobError) as caught:
        prepared(folder, "edit", **asked)
    assert caught.value.param == param


def test_strength_may_need_more_steps_than_there_are(folder: Path) -> None:
    settings = {"max_steps": 4}
    assert prepared(folder, "edit", images=[PICTURE], strength=0.25, settings=settings)[0].steps == 4
    with pytest.raises(JobError, match="takes 5 steps") as caught:
        prepared(folder, "edit", images=[PICTURE], strength=0.2, settings=settings)
    assert caught.value.param == "strength"


def test_sizes_that_can_be_had_are_named(folder: Path) -> None:
    with pytest.raises(JobError, match="1024x1024; it paints: 512x512, 576x448"):
        prepared(folder, width=1024, height=1024)


def test_an_edit_takes_the_shape_of_its_picture(folder: Path) -> None:
    wide = encoded(Image.new("RGB", (160, 90), "red"))
    (item,) = prepared(folder, "edit", ("",), images=[wide], mask=encoded(with_hole((160, 90))))
    assert (item.width, item.height) == (672, 384)
    assert item.picture[:3] == b"\xff\0\0"
    assert len(item.picture) == 3 * 672 * 384
    mask = Image.frombytes("L", (672, 384), item.mask)
    assert (mask.getpixel((10, 10)), mask.getpixel((660, 10))) == (255, 0)
    assert (item.strength, item.steps) == (1.0, 1)


def test_an_edit_without_a_mask_keeps_something_of_its_picture(folder: Path) -> None:
    (item,) = prepared(folder, "edit", ("",), images=[PICTURE], width=448, height=576)
    assert (item.width, item.height, item.strength, item.steps) == (448, 576, 0.8, 2)


def test_a_picture_of_many_pixels_is_refused_by_its_header(folder: Path) -> None:
    with pytest.raises(JobError) as caught:
        prepared(folder, "edit", images=[PICTURE], settings={"max_pixels": 8000})
    assert (caught.value.param, caught.value.code) == ("image", "image_too_large")


def test_several_prompts_and_what_is_none(folder: Path) -> None:
    items = prepared(folder, "paint", ("a", "b"), seed=1)
    assert [item.prompt for item in items] == ["a", "b"]
    spec = ModelSpec(name="m", backend="diffusion", tasks=["paint"], source=str(folder))
    with pytest.raises(JobError, match="only a text"):
        DiffusionBackend(spec, folder).preparer().prepare(
            Job("job", "m", "paint", PaintParameters(), [Tokens([1])])
        )


def test_more_edits_than_a_frame_holds_are_refused(folder: Path) -> None:
    with pytest.raises(JobError, match="too much"):
        prepared(folder, "edit", ("a",) * 20, images=[PICTURE])


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    change(folder, "tokenizer/vocab.json")
    (folder / "tokenizer/merges.txt").unlink()
    with pytest.raises(ValueError, match=r"neither tokenizer\.json nor vocab\.json"):
        prepared(folder)
