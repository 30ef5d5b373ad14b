"""POST /v1/images/* and the addresses of pictures, over a scripted engine."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from backends.protocol import Inline, LocalFile, Media, PaintParameters, PictureDelta, Text
from config.schema import LimitsConfig, ServerConfig, TimeoutsConfig
from gateway.engine.errors import BadRequest
from tests.unit.gateway.http.fakes import Site, assert_envelope, failure, open_site

PICTURE = base64.b64encode(b"dots").decode()
URL = f"data:image/png;base64,{PICTURE}"


async def generate(site: Site, **fields: Any) -> Any:
    return await site.client.post("/v1/images/generations", json={"prompt": "a boat"} | fields)


async def edit(site: Site, **fields: Any) -> Any:
    body = {"prompt": "a boat", "images": [{"image_url": URL}]} | fields
    return await site.client.post("/v1/images/edits", json=body)


async def edit_form(site: Site, files: Any, path: str = "edits", **fields: Any) -> Any:
    data = ({} if path == "variations" else {"prompt": "a boat"}) | fields
    return await site.client.post(f"/v1/images/{path}", data=data, files=files)


def asked_of(site: Site) -> PaintParameters:
    parameters = site.engine.jobs[-1][0].parameters
    assert isinstance(parameters, PaintParameters)
    return parameters


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def events(text: str) -> list[dict[str, Any]]:
    """The data of each event, whose name is its type."""
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


# --- generations ------------------------------------------------------------------------------------------


async def test_a_picture(site: Site) -> None:
    response = await generate(site, seed=7, n=2, quality="hd", output_format="webp", output_compression=40)
    answer = response.json()
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "model": "painter",
        "data": [{"b64_json": b64(b"picture 0"), "seed": 7}, {"b64_json": b64(b"picture 1"), "seed": 8}],
        "background": "opaque",
        "output_format": "webp",
        "quality": "high",
        "size": "64x64",
        "usage": {
            "input_tokens": 5,
            "output_tokens": 0,
            "total_tokens": 5,
            "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 0},
        },
    }
    job, _ = site.engine.jobs[0]
    assert (job.model, job.task, job.items, job.stream) == ("painter", "paint", [Text("a boat")], False)
    assert job.parameters == PaintParameters(n=2, quality="high", seed=7, format="webp", compression=40)


async def test_what_asks_for_nothing_changes_nothing(site: Site) -> None:
    neutral = {
        "model": "gpt-image-1",
        "size": "auto",
        "quality": "standard",
        "background": "opaque",
        "moderation": "low",
        "output_compression": 100,
        "negative_prompt": "",
        "partial_images": 0,
        "stream": False,
        "n": 1,
        "user": "me",
        "safety_identifier": "me",
    }
    assert (await generate(site, **neutral)).status_code == 200
    assert asked_of(site) == PaintParameters(background="opaque")


async def test_our_own_fields(site: Site) -> None:
    assert (await generate(site, steps=9, guidance=2.5, size="64x96")).json()["size"] == "64x96"
    assert asked_of(site) == PaintParameters(width=64, height=96, steps=9, guidance=2.5)
    assert (await generate(site, guidance_scale=0)).status_code == 200
    assert asked_of(site).guidance == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"model": "talker"}, "model"),
        ({"n": 0}, "n"),
        ({"n": 5}, "n"),
        ({"n": 11}, "n"),
        ({"size": "64"}, "size"),
        ({"size": "0x64"}, "size"),
        ({"size": "640x640"}, "size"),
        ({"quality": "max"}, "quality"),
        ({"quality": "low", "steps": 4}, "quality"),
        ({"steps": 51}, "steps"),
        ({"steps": 0}, "steps"),
        ({"guidance": 1, "guidance_scale": 1}, "guidance_scale"),
        ({"guidance": -1}, "guidance"),
        ({"negative_prompt": "rain"}, "negative_prompt"),
        ({"background": "transparent"}, "background"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 50}, "output_compression"),
        ({"output_format": "jpeg", "output_compression": 101}, "output_compression"),
        ({"style": "vivid"}, "style"),
        ({"complexity": "low"}, "complexity"),
        ({"moderation": "high"}, "moderation"),
        ({"response_format": "png"}, "response_format"),
        ({"seed": -1}, "seed"),
        ({"partial_images": 1}, "partial_images"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"progress": True}, "progress"),
        ({"stream": True, "n": 2}, "n"),
        ({"stream": True, "response_format": "url"}, "response_format"),
        ({"strength": 0.5}, "strength"),
        ({"frame_count": 3}, "frame_count"),
    ],
)
async def test_what_cannot_be_painted_is_named(site: Site, fields: dict[str, Any], param: str) -> None:
    assert_envelope(await generate(site, **fields), 400, param)
    assert site.engine.jobs == []


async def test_a_size_that_the_model_lacks_names_those_it_has(site: Site) -> None:
    error = assert_envelope(await generate(site, size="1024x1024"), 400, "size")
    assert "64x64, 64x96" in error["message"]


async def test_what_the_worker_refuses_reaches_the_client(site: Site) -> None:
    site.engine.script = failure(BadRequest("4 steps have at most 3 previews.", param="partial_images"))
    for stream in (False, True):
        assert_envelope(await generate(site, stream=stream), 400, "partial_images")


# --- streams ----------------------------------------------------------------------------------------------


async def test_a_stream(site: Site) -> None:
    response = await generate(site, stream=True, partial_images=2, quality="low", size="64x96")
    first, second, last = events(response.text)
    assert first.pop("created_at") == last.pop("created_at") > 1_700_000_000
    assert first == {
        "type": "image_generation.partial_image",
        "b64_json": b64(b"preview"),
        "background": "auto",
        "output_format": "png",
        "quality": "low",
        "size": "64x96",
        "partial_image_index": 0,
    }
    assert second["partial_image_index"] == 1
    assert last["usage"]["input_tokens"] == 5
    assert {name: last[name] for name in ("type", "b64_json", "background", "size", "seed")} == {
        "type": "image_generation.completed",
        "b64_json": b64(b"picture 0"),
        "background": "opaque",
        "size": "64x96",
        "seed": 0,
    }
    assert asked_of(site).previews == 2
    assert site.engine.jobs[0][0].stream


async def test_steps_are_told_where_that_is_asked_for(site: Site) -> None:
    response = await generate(site, stream=True, progress=True)
    *steps, last = events(response.text)
    assert steps == [{"type": "image_generation.progress", "step": step, "steps": 2} for step in (1, 2)]
    assert last["size"] == "64x64"
    response = await edit(site, stream=True, progress=True, partial_images=1)
    kinds = [event["type"] for event in events(response.text)]
    assert kinds == ["image_edit.progress"] * 2 + ["image_edit.partial_image", "image_edit.completed"]


# --- edits and variations ---------------------------------------------------------------------------------


async def test_an_edit_by_form(site: Site) -> None:
    files = {"image": ("a.png", b"pixels"), "mask": ("m.png", b"holes")}
    response = await edit_form(site, files, model="dall-e-2", n="2", strength="0.5", stream="false")
    assert len(response.json()["data"]) == 2
    job, _ = site.engine.jobs[0]
    assert (job.task, job.items) == ("edit", [Text("a boat")])
    asked = asked_of(site)
    assert (asked.n, asked.strength) == (2, 0.5)
    assert [(one.name, one.param) for one in asked.images] == [("a.png", "image")]
    assert asked.mask is not None
    assert asked.mask.param == "mask"
    assert isinstance(asked.mask.blob, LocalFile)
    assert site.engine.recordings == [b"pixels", b"holes"]
    assert list(site.spool.iterdir()) == []


@pytest.mark.parametrize("name", ["image[]", "image"])
async def test_several_pictures(site: Site, name: str) -> None:
    files = [(name, (f"{number}.png", b"pixels %d" % number)) for number in range(3)]
    assert (await edit_form(site, files[:2])).status_code == 200
    assert [one.param for one in asked_of(site).images] == ["image[0]", "image[1]"]
    assert site.engine.recordings == [b"pixels 0", b"pixels 1"]
    error = assert_envelope(await edit_form(site, files), 400, "image")
    assert "at most 2" in error["message"]
    assert list(site.spool.iterdir()) == []


async def test_an_edit_by_json(site: Site) -> None:
    response = await edit(site, mask={"image_url": PICTURE}, size="64x96")
    assert response.status_code == 200, response.text
    asked = asked_of(site)
    assert asked.images == [Media(Inline(b"dots"), param="images[0].image_url")]
    assert asked.mask == Media(Inline(b"dots"), param="mask.image_url")


async def test_a_variation_is_an_edit_without_a_prompt(site: Site) -> None:
    files = {"image": b"pixels"}
    response = await edit_form(site, files, "variations", n="2", size="64x64", user="me")
    assert len(response.json()["data"]) == 2
    job, _ = site.engine.jobs[0]
    assert (job.task, job.items) == ("edit", [Text("")])
    assert asked_of(site).n == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"images": []}, "images"),
        ({"images": [{}]}, "images[0].image_url"),
        ({"images": [{"file_id": "file-1"}]}, "images[0].file_id"),
        ({"images": [{"image_url": "https://example.com/a.png"}]}, "images[0].image_url"),
        ({"images": [{"image_url": URL}] * 3}, "images"),
        ({"mask": {"file_id": "file-1"}}, "mask.file_id"),
        ({"mask": {"image_url": "!"}}, "mask.image_url"),
        ({"input_fidelity": "high"}, "input_fidelity"),
        ({"strength": 0}, "strength"),
        ({"prompt": ""}, "prompt"),
    ],
)
async def test_what_cannot_be_edited_is_named(site: Site, fields: dict[str, Any], param: str) -> None:
    assert_envelope(await edit(site, **fields), 400, param)
    assert site.engine.jobs == []


@pytest.mark.parametrize(
    ("files", "fields", "param"),
    [
        ({"mask": b"x"}, {}, "image"),
        ({"image": b"x", "markup": b"x"}, {}, "markup"),
        ([("image", b"x"), ("mask", b"x"), ("mask", b"x")], {}, "mask"),
        ({"image": b"x"}, {"prompt": ""}, "prompt"),
        ({"image": b"x"}, {"n": "two"}, "n"),
        ({"image": b"x"}, {"frobnicate": "1"}, "frobnicate"),
    ],
)
async def test_what_is_wrong_with_a_form_is_named(site: Site, files: Any, fields: Any, param: str) -> None:
    assert_envelope(await edit_form(site, files, **fields), 400, param)
    assert site.engine.jobs == []
    assert list(site.spool.iterdir()) == []


async def test_what_is_wrong_with_a_variation_is_named(site: Site) -> None:
    two = [("image", b"x"), ("image", b"y")]
    assert_envelope(await edit_form(site, two, "variations"), 400, "image")
    assert_envelope(await edit_form(site, {"image": b"x"}, "variations", prompt="x"), 400, "prompt")
    assert_envelope(await edit_form(site, {"image": b"x"}, "variations", stream="true"), 400, "stream")


# --- addresses --------------------------------------------------------------------------------------------


async def test_an_address_shows_the_picture(site: Site) -> None:
    answer = (await generate(site, response_format="url", n=2, output_format="jpeg")).json()
    urls = [one["url"] for one in answer["data"]]
    assert all(url.startswith("http://127.0.0.1:8000/v1/images/files/") for url in urls)
    assert all(url.endswith(".jpeg") and "b64_json" not in answer["data"][0] for url in urls)
    for number, url in enumerate(urls):
        shown = await site.client.get(url)
        assert shown.content == b"picture %d" % number
        assert shown.headers["content-type"] == "image/jpeg"
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["cache-control"].startswith("private, max-age=3")
        head = await site.client.head(url)
        assert (head.status_code, head.headers["content-length"]) == (200, "9")
    assert len({url.rpartition("/")[2] for url in urls}) == 2


@pytest.mark.parametrize("name", ["x.png", "..", "%2e%2e%2fkeys.json", "a" * 4096, "x%00"])
async def test_an_unknown_name_is_not_found(site: Site, name: str) -> None:
    response = await site.client.get(f"/v1/images/files/{name}")
    assert_envelope(response, 404)


async def test_the_oldest_pictures_go_first(tmp_path: Path) -> None:
    limits = LimitsConfig(picture_files=2)
    async with open_site(tmp_path / "keys.json", limits=limits) as site:
        urls = [(await generate(site, response_format="url")).json()["data"][0]["url"] for _ in range(3)]
        assert [(await site.client.get(url)).status_code for url in urls] == [404, 200, 200]
        error = assert_envelope(await generate(site, response_format="url", n=3), 400, "response_format")
        assert error["code"] == "pictures_too_large"


async def test_an_address_is_good_for_a_while(tmp_path: Path) -> None:
    timeouts = TimeoutsConfig(picture_file_s=0.000001)
    async with open_site(tmp_path / "keys.json", timeouts=timeouts) as site:
        url = (await generate(site, response_format="url")).json()["data"][0]["url"]
        assert_envelope(await site.client.get(url), 404)


async def test_a_full_disk_is_told(site: Site) -> None:
    site.spool.rmdir()
    error = assert_envelope(await generate(site, response_format="url"), 503)
    assert error["code"] == "storage_failed"
    assert str(site.spool) not in error["message"]


async def test_addresses_behind_a_proxy(tmp_path: Path) -> None:
    server = ServerConfig(public_url="https://models.example.org/llm/", allowed_hosts=["models.example.org"])
    async with open_site(tmp_path / "keys.json", server=server) as site:
        url = (await generate(site, response_format="url")).json()["data"][0]["url"]
        assert url.startswith("https://models.example.org/llm/v1/images/files/")
    async with open_site(tmp_path / "keys.json", server=ServerConfig(allowed_hosts=["box"])) as site:
        site.client.headers["host"] = "BOX:81"
        url = (await generate(site, response_format="url")).json()["data"][0]["url"]
        assert url.startswith("http://box:81/v1/images/files/")


async def test_a_picture_without_bytes_is_a_fault(site: Site) -> None:
    site.engine.script = lambda job, stream: _strip(site, job, stream)
    assert_envelope(await generate(site), 500)


def _strip(site: Site, job: Any, stream: Any) -> None:
    from tests.unit.gateway.http.fakes import answer

    push = stream.push
    stream.push = lambda output: None if isinstance(output, PictureDelta) else push(output)
    answer(job, stream)
