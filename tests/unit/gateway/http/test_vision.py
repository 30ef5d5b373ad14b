"""POST /v1/vision/caption, /v1/vision/classify and /api/v1/vision/caption over a scripted engine."""

import base64
from pathlib import Path
from typing import Any

import pytest

from backends.protocol import CaptionParameters, ClassifyParameters, Media
from gateway.engine.errors import BadRequest
from tests.unit.gateway.http.fakes import Site, assert_envelope, failure

PICTURE = base64.b64encode(b"dots").decode()
URL = f"data:image/png;base64,{PICTURE}"
LABELS = ["cat", "dog"]


async def caption(site: Site, **fields: Any) -> Any:
    return await site.client.post("/v1/vision/caption", json={"model": "blip"} | fields)


async def classify(site: Site, **fields: Any) -> Any:
    return await site.client.post("/v1/vision/classify", json={"model": "clip"} | fields)


@pytest.mark.parametrize("image", [URL, PICTURE, f"data:;base64,{PICTURE}", f"{PICTURE[:4]}\n{PICTURE[4:]}"])
async def test_a_caption(site: Site, image: str) -> None:
    response = await caption(site, image=image, prompt="a photo of", max_tokens=9)
    assert response.json() == {
        "object": "list",
        "model": "seer",
        "data": [{"index": 0, "caption": "a dog 0"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }
    job, _ = site.engine.jobs[0]
    assert (job.model, job.task, job.parameters) == ("seer", "caption", CaptionParameters("a photo of", 9))
    assert site.engine.recordings == [b"dots"]


async def test_many_captions(site: Site) -> None:
    response = await caption(site, images=[URL, PICTURE, URL])
    assert [one["caption"] for one in response.json()["data"]] == ["a dog 0", "a dog 1", "a dog 2"]
    items = site.engine.jobs[0][0].items
    assert [item.param for item in items if isinstance(item, Media)] == [f"images[{n}]" for n in range(3)]


async def test_classes_come_with_the_likeliest_first(site: Site) -> None:
    response = await classify(site, image=URL, labels=LABELS, prompt="a photo of a {}")
    assert response.json() == {
        "object": "list",
        "model": "seer",
        "data": [
            {"index": 0, "labels": [{"label": "dog", "score": 0.75}, {"label": "cat", "score": 0.25}]},
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5},
    }
    assert site.engine.jobs[0][0].parameters == ClassifyParameters(LABELS, "a photo of a {}")


@pytest.mark.parametrize("path", ["/v1/vision/caption", "/api/v1/vision/caption"])
async def test_a_form(site: Site, path: str) -> None:
    data = {"model": "blip", "prompt": "a", "max_tokens": "5"}
    response = await site.client.post(path, data=data, files={"file": ("a.png", b"pixels")})
    assert response.json()["data"] == [{"index": 0, "caption": "a dog 0"}]
    assert site.engine.jobs[0][0].parameters == CaptionParameters("a", 5)
    assert site.engine.recordings == [b"pixels"]
    assert list(site.spool.iterdir()) == []


async def test_a_form_with_labels(site: Site) -> None:
    for name in ("labels", "labels[]"):
        response = await site.client.post(
            "/v1/vision/classify", data={"model": "clip", name: LABELS}, files={"file": b"pixels"}
        )
        assert [one["label"] for one in response.json()["data"][0]["labels"]] == ["dog", "cat"]


async def test_the_older_route_needs_no_model(site: Site) -> None:
    response = await site.client.post("/api/v1/vision/caption", json={"image": URL})
    assert response.json()["model"] == "seer"
    response = await site.client.post("/api/v1/vision/caption", files={"file": b"pixels"})
    assert response.json()["model"] == "seer"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "image"),
        ({"image": URL, "images": [URL]}, "images"),
        ({"images": []}, "images"),
        ({"images": [URL] * 5}, "images"),
        ({"images": [URL, "!"]}, "images[1]"),
        ({"image": ""}, "image"),
        ({"image": "data:image/png;base64,"}, "image"),
        ({"image": "data:image/png,abc"}, "image"),
        ({"image": f"data:text/html;base64,{PICTURE}"}, "image"),
        ({"image": "not base64"}, "image"),
        ({"image": 1}, "image"),
        ({"image": URL, "max_tokens": 0}, "max_tokens"),
        ({"image": URL, "temperature": 1}, "temperature"),
        ({"image": URL, "model": "talker"}, "model"),
    ],
)
async def test_what_cannot_be_captioned_is_named(site: Site, fields: dict[str, Any], param: str) -> None:
    assert_envelope(await caption(site, **fields), 400, param)
    assert site.engine.jobs == []


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "FTP://127.1/",
        "//0.0.0.0/a.png",
        "http://[::ffff:127.0.0.1]/",
    ],
)
async def test_an_address_is_refused_and_not_repeated(site: Site, address: str) -> None:
    error = assert_envelope(await caption(site, image=address), 400, "image")
    assert address[-8:] not in error["message"]
    assert "base64" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "labels"),
        ({"labels": []}, "labels"),
        ({"labels": ["a", "b", "c", "d"]}, "labels"),
        ({"labels": ["a", "a"]}, "labels"),
        ({"labels": [""]}, "labels[0]"),
        ({"labels": LABELS, "prompt": "no place"}, "prompt"),
        ({"labels": LABELS, "prompt": "{} or {}"}, "prompt"),
    ],
)
async def test_what_cannot_be_classified_is_named(site: Site, fields: dict[str, Any], param: str) -> None:
    assert_envelope(await classify(site, image=URL, **fields), 400, param)


async def test_a_form_without_a_file(site: Site) -> None:
    response = await site.client.post("/v1/vision/caption", data={"model": "blip"}, files={"image": b"x"})
    assert_envelope(response, 400, "image")
    boundary = {"content-type": "multipart/form-data; boundary=b"}
    body = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nblip\r\n--b--\r\n'
    assert_envelope(await site.client.post("/v1/vision/caption", content=body, headers=boundary), 400, "file")


async def test_what_the_worker_refuses_reaches_the_client(site: Site) -> None:
    site.engine.script = failure(BadRequest("broken", param="images[1]", code="invalid_image"))
    assert assert_envelope(await caption(site, image=URL), 400, "images[1]")["code"] == "invalid_image"


async def test_other_media_are_refused(site: Site, tmp_path: Path) -> None:
    response = await site.client.post(
        "/v1/vision/caption", content=b"x", headers={"content-type": "image/png"}
    )
    assert_envelope(response, 415)
