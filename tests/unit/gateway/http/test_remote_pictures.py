"""Pictures named by address on every route that takes pictures; the engine and the fetcher are scripted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.protocol import Chat, Inline, Media, PaintParameters, Text
from compat.pictures import MAX_BYTES
from gateway.remote.errors import NotFetched
from gateway.remote.fetching import Budget
from tests.unit.gateway.http.fakes import Site, assert_envelope, open_site

URL = "https://pictures.example/a.png"
ELSEWHERE = "HTTP://169.254.169.254/latest"
ROUTES: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/vision/caption", {"model": "blip", "image": URL}, "image"),
    ("/v1/vision/caption", {"model": "blip", "images": [URL]}, "images[0]"),
    ("/api/v1/vision/caption", {"image": URL}, "image"),
    ("/v1/vision/classify", {"model": "clip", "image": URL, "labels": ["a", "b"]}, "image"),
    ("/v1/embeddings", {"model": "clip", "input": {"image": URL}}, "input.image"),
    ("/v1/embeddings", {"model": "clip", "input": ["a", {"image": URL}]}, "input[1].image"),
    (
        "/v1/chat/completions",
        {
            "model": "blip",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}],
        },
        "messages[0].content[0].image_url.url",
    ),
]


class FakeFetcher:
    """Answers each address with its bytes or its failure; records what was asked."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bytes | Exception] = {URL: b"pixels"}
        self.asked: list[str] = []

    async def fetch(self, url: str, budget: Budget) -> bytes:
        self.asked.append(url)
        outcome = self.outcomes[url]
        if isinstance(outcome, Exception):
            raise outcome
        budget.take(len(outcome))
        return outcome


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher()


@pytest.fixture
async def fetching(tmp_path: Path, fetcher: FakeFetcher) -> AsyncIterator[Site]:
    async with open_site(tmp_path / "keys.json", fetcher=fetcher) as site:
        yield site


@pytest.mark.parametrize(("path", "body", "param"), ROUTES)
async def test_a_picture_is_fetched_and_goes_the_way_of_all(
    fetching: Site, path: str, body: dict[str, Any], param: str
) -> None:
    response = await fetching.client.post(path, json=body)
    assert response.status_code == 200, response.text
    items = [item for item in fetching.engine.jobs[0][0].items if not isinstance(item, Text)]
    assert items == [Media(Inline(b"pixels"), param=param)]


async def test_pictures_and_mask_of_an_edit_are_fetched(fetching: Site, fetcher: FakeFetcher) -> None:
    fetcher.outcomes[ELSEWHERE] = b"others"
    body = {"model": "painter", "prompt": "a", "images": [{"image_url": "AAAA"}, {"image_url": URL}]}
    response = await fetching.client.post(
        "/v1/images/edits", json=body | {"mask": {"image_url": ELSEWHERE}, "n": 1}
    )
    assert response.status_code == 200, response.text
    asked = fetching.engine.jobs[0][0].parameters
    assert isinstance(asked, PaintParameters)
    assert asked.images == [
        Media(Inline(b"\0\0\0"), param="images[0].image_url"),
        Media(Inline(b"pixels"), param="images[1].image_url"),
    ]
    assert asked.mask == Media(Inline(b"others"), param="mask.image_url")


async def test_pictures_of_a_chat_are_fetched_for_a_model_that_sees_and_talks(
    fetching: Site, fetcher: FakeFetcher
) -> None:
    fetcher.outcomes[ELSEWHERE] = b"others"
    fetching.engine.parameters = [*fetching.engine.parameters, "image"]
    parts = [
        {"type": "image_url", "image_url": {"url": url}} for url in (URL, "data:;base64,AAAA", ELSEWHERE)
    ]
    messages = [{"role": "user", "content": parts}, {"role": "user", "content": "What is this?"}]
    response = await fetching.chat(messages=messages)
    assert response.status_code == 200, response.text
    (chat,) = fetching.engine.jobs[0][0].items
    assert isinstance(chat, Chat)
    assert [one.media.blob for one in chat.messages[0].media] == [
        Inline(b"pixels"),
        Inline(b"\0\0\0"),
        Inline(b"others"),
    ]


@pytest.mark.parametrize(("path", "body", "param"), ROUTES)
async def test_where_nothing_is_fetched_the_refusal_names_the_setting(
    site: Site, path: str, body: dict[str, Any], param: str
) -> None:
    error = assert_envelope(await site.client.post(path, json=body), 400, param)
    assert "remote_images.allowed" in error["message"]
    assert error["code"] == "unsupported_parameter"
    assert site.engine.jobs == []


@pytest.mark.parametrize(("path", "body", "param"), ROUTES)
async def test_every_failure_looks_the_same(
    fetching: Site, fetcher: FakeFetcher, path: str, body: dict[str, Any], param: str
) -> None:
    told = set()
    for reason in ("address not public", "no connection", "too slow", "too many bytes"):
        fetcher.outcomes[URL] = NotFetched(reason)
        error = assert_envelope(await fetching.client.post(path, json=body), 400, param)
        assert reason not in error["message"]
        assert "pictures.example" not in error["message"]
        told.add((error["message"], error["code"]))
    assert len(told) == 1
    assert fetching.engine.jobs == []


async def test_pictures_stay_in_their_order_beside_those_that_are_sent(
    fetching: Site, fetcher: FakeFetcher
) -> None:
    fetcher.outcomes[ELSEWHERE] = b"others"
    images = ["AAAA", ELSEWHERE, URL, "BBBB"]
    await fetching.client.post("/v1/vision/caption", json={"model": "blip", "images": images})
    assert fetching.engine.recordings == [b"\0\0\0", b"others", b"pixels", b"\x04\x10A"]


async def test_the_first_that_fails_is_named(fetching: Site, fetcher: FakeFetcher) -> None:
    fetcher.outcomes[ELSEWHERE] = NotFetched("address not public")
    body = {"model": "blip", "images": [URL, ELSEWHERE, ELSEWHERE]}
    assert_envelope(await fetching.client.post("/v1/vision/caption", json=body), 400, "images[1]")


async def test_pictures_of_a_request_share_one_limit(fetching: Site, fetcher: FakeFetcher) -> None:
    fetcher.outcomes[URL] = bytes(MAX_BYTES - 3)
    body = {"model": "blip", "images": ["AAAA", URL]}
    assert (await fetching.client.post("/v1/vision/caption", json=body)).status_code == 200
    body = {"model": "blip", "images": ["AAAAAAAA", URL]}
    assert_envelope(await fetching.client.post("/v1/vision/caption", json=body), 400, "images[1]")


async def test_who_gets_no_turn_may_come_again(fetching: Site, fetcher: FakeFetcher) -> None:
    fetcher.outcomes[URL] = TimeoutError()
    response = await fetching.client.post("/v1/vision/caption", json={"model": "blip", "image": URL})
    assert_envelope(response, 503, "image")
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/vision/caption", {"model": "blip", "images": [URL] * 5}),
        ("/v1/vision/caption", {"model": "blip", "image": URL, "max_tokens": 0}),
        ("/v1/vision/caption", {"model": "talker", "image": URL}),
        ("/v1/vision/classify", {"model": "clip", "image": URL, "labels": []}),
        ("/v1/embeddings", {"model": "clip", "input": [{"image": URL}] * 5}),
        ("/v1/embeddings", {"model": "clip", "input": {"image": URL}, "dimensions": 1}),
    ],
)
async def test_nothing_is_fetched_for_a_request_that_is_refused(
    fetching: Site, fetcher: FakeFetcher, path: str, body: dict[str, Any]
) -> None:
    assert (await fetching.client.post(path, json=body)).status_code == 400
    assert fetcher.asked == []


@pytest.mark.parametrize(
    "address", ["ftp://pictures.example/a.png", "file:///etc/passwd", "//pictures.example"]
)
async def test_other_addresses_are_refused_without_a_look(
    fetching: Site, fetcher: FakeFetcher, address: str
) -> None:
    response = await fetching.client.post("/v1/vision/caption", json={"model": "blip", "image": address})
    assert_envelope(response, 400, "image")
    assert fetcher.asked == []


async def test_an_address_in_the_place_of_a_text_is_a_text(fetching: Site, fetcher: FakeFetcher) -> None:
    await fetching.client.post("/v1/embeddings", json={"model": "clip", "input": ["a", URL]})
    assert fetching.engine.jobs[0][0].items == [Text("a"), Text(URL)]
    assert fetcher.asked == []
