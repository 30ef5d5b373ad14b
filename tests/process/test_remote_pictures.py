"""Fetching pictures by address over real sockets: nothing but what was checked is ever dialled."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from config.schema import RemoteImagesConfig
from gateway.remote.errors import NotFetched
from gateway.remote.fetching import Budget, Fetcher
from tests.process.picture_hosts import Host, Internet

PICTURE = b"\x89PNG and so on"
SEEN, OTHER = "93.184.215.14", "8.8.4.4"
PLENTY = 10_000_000


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host().listening() as host:
        host.answer("/a.png", PICTURE)
        yield host


@pytest.fixture
def internet(host: Host) -> Internet:
    internet = Internet(host)
    internet.names["pictures.example"] = [[SEEN]]
    return internet


def fetcher(internet: Internet, **settings: Any) -> Fetcher:
    config = RemoteImagesConfig(allowed=True, **{"timeout_s": 5.0} | settings)
    return Fetcher(config, resolve=internet.resolve, open_transport=internet.open_transport)


async def fetch(internet: Internet, url: str, room: int = PLENTY, **settings: Any) -> bytes:
    return await fetcher(internet, **settings).fetch(url, Budget(room))


async def refused(internet: Internet, url: str, reason: str, room: int = PLENTY, **settings: Any) -> None:
    with pytest.raises(NotFetched, match=f"^{reason}$"):
        await fetch(internet, url, room, **settings)


async def test_a_picture_comes_from_the_address_that_was_checked(host: Host, internet: Internet) -> None:
    assert await fetch(internet, "http://pictures.example/a.png") == PICTURE
    assert internet.dialled == [SEEN]
    head = host.asked[0].lower()
    assert b"\r\nhost: pictures.example\r\n" in head
    assert b"accept-encoding: identity" in head
    assert b"cookie" not in head
    assert b"authorization" not in head


async def test_a_name_that_means_something_else_a_moment_later(host: Host, internet: Internet) -> None:
    """DNS rebinding: it is asked once, and what was checked then is what is dialled."""
    internet.names["pictures.example"] = [[SEEN], ["127.0.0.1"]]
    assert await fetch(internet, "http://pictures.example/a.png") == PICTURE
    assert internet.dialled == [SEEN]
    assert internet.lookups == ["pictures.example"]
    await refused(internet, "http://pictures.example/a.png", "address not public")
    assert (internet.dialled, host.connections) == ([SEEN], 1)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [SEEN, "10.0.0.1"], ["::1"], ["64:ff9b::7f00:1"], []])
async def test_a_name_with_any_closed_address_is_not_dialled(
    host: Host, internet: Internet, addresses: list[str]
) -> None:
    internet.names["inside.example"] = [addresses]
    await refused(internet, "http://inside.example/a.png", "address not public")
    assert (internet.dialled, host.connections) == ([], 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a.png",
        "http://127.1:{port}/a.png",
        "http://2130706433:{port}/a.png",
        "http://0x7f000001:{port}/a.png",
        "http://0177.0.0.1:{port}/a.png",
        "http://localhost:{port}/a.png",
        "http://0.0.0.0:{port}/a.png",
        "http://[::]:{port}/a.png",
        "http://[::1]:{port}/a.png",
        "http://[::ffff:127.0.0.1]:{port}/a.png",
        "http://[::127.0.0.1]:{port}/a.png",
        "http://[64:ff9b::7f00:1]:{port}/a.png",
        "http://[2002:7f00:1::]:{port}/a.png",
        "http://user@127.0.0.1:{port}/a.png",
        "http://pictures.example@127.0.0.1:{port}/a.png",
        "file:///etc/passwd",
    ],
)
async def test_the_real_way_out_never_reaches_loopback(host: Host, url: str) -> None:
    """No stand-in here: the system resolves and dials, and a real socket listens where the address leads."""
    own = Fetcher(RemoteImagesConfig(allowed=True, timeout_s=5.0, ports=[host.port]))
    with pytest.raises(NotFetched):
        await own.fetch(url.format(port=host.port), Budget(PLENTY))
    assert host.connections == 0


async def test_a_proxy_in_the_environment_counts_for_nothing(
    host: Host, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{host.port}")
    assert await fetch(internet, "http://pictures.example/a.png") == PICTURE
    assert internet.dialled == [SEEN]
    assert host.asked[0].startswith(b"GET /a.png ")


# --- redirects -------------------------------------------------------------------------------------------


async def test_a_redirect_is_followed_to_an_open_address(host: Host, internet: Internet) -> None:
    internet.names["other.example"] = [[OTHER]]
    host.answer("/moved", status="302 Found", location="http://other.example/a.png")
    assert await fetch(internet, "http://pictures.example/moved") == PICTURE
    assert internet.dialled == [SEEN, OTHER]
    assert b"host: other.example" in host.asked[1].lower()


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "address not public"),
        ("http://[fd00:ec2::254]/latest", "address not public"),
        ("http://inside.example/", "address not public"),
        ("http://127.1/", "not a plain address"),
        ("file:///etc/passwd", "not a plain address"),
        ("http://pictures.example:22/", "port not allowed"),
        ("http://nowhere.example/", "name unknown"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_address_was(
    host: Host, internet: Internet, to: str, reason: str
) -> None:
    internet.names["inside.example"] = [["169.254.169.254"]]
    host.answer("/moved", status="307 Temporary Redirect", location=to)
    await refused(internet, "http://pictures.example/moved", reason)
    assert (internet.dialled, host.connections) == ([SEEN], 1)


async def test_redirects_end(host: Host, internet: Internet) -> None:
    host.answer("/round", status="301 Moved Permanently", location="/round")
    await refused(internet, "http://pictures.example/round", "too many redirects", max_redirects=3)
    assert host.connections == 4


async def test_only_named_hosts_where_some_are_named(host: Host, internet: Internet) -> None:
    internet.names["other.example"] = [[OTHER]]
    host.answer("/moved", status="302 Found", location="http://other.example/a.png")
    named = {"allowed_hosts": [".pictures.example"]}
    assert await fetch(internet, "http://pictures.example/a.png", **named) == PICTURE
    await refused(internet, "http://other.example/a.png", "host not allowed", **named)
    await refused(internet, "http://pictures.example/moved", "host not allowed", **named)
    assert internet.dialled == [SEEN, SEEN]


# --- bounds ----------------------------------------------------------------------------------------------


async def test_too_many_bytes_end_the_fetch_while_they_come(host: Host, internet: Internet) -> None:
    sent = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    host.paths["/endless"] = pour
    await refused(internet, "http://pictures.example/endless", "too many bytes", max_bytes=1_000_000)
    assert sent < 50_000_000
    host.answer("/large", bytes(3000))
    assert len(await fetch(internet, "http://pictures.example/large", room=3000, max_bytes=3000)) == 3000
    await refused(internet, "http://pictures.example/large", "too many bytes", max_bytes=2999)
    await refused(internet, "http://pictures.example/large", "too many bytes", room=2999)


async def test_pictures_of_a_request_share_its_room(host: Host, internet: Internet) -> None:
    host.answer("/large", bytes(3000))
    own, budget = fetcher(internet), Budget(5000)
    await own.fetch("http://pictures.example/large", budget)
    with pytest.raises(NotFetched, match="too many bytes"):
        await own.fetch("http://pictures.example/large", budget)


async def test_a_host_that_drips_is_left(host: Host, internet: Internet) -> None:
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            left.set()
            raise

    host.paths["/drip"] = drip
    began = time.monotonic()
    await refused(internet, "http://pictures.example/drip", "too slow", timeout_s=1)
    assert time.monotonic() - began < 10
    await asyncio.wait_for(left.wait(), 5)


async def test_a_host_that_says_nothing_is_left(host: Host, internet: Internet) -> None:
    async def wait(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    host.paths["/silent"] = wait
    await refused(internet, "http://pictures.example/silent", "(too slow|broken answer)", timeout_s=0.2)


async def test_fetches_at_once_are_bounded(host: Host, internet: Internet) -> None:
    open_now, most = 0, 0
    release = asyncio.Event()

    async def hold(writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await release.wait()
        open_now -= 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    host.paths["/hold"] = hold
    own = fetcher(internet, concurrent=2)
    asked = [asyncio.create_task(own.fetch("http://pictures.example/hold", Budget(99))) for _ in range(6)]
    while open_now < 2:
        await asyncio.sleep(0.01)
    release.set()
    assert await asyncio.gather(*asked) == [b"ok"] * 6
    assert most == 2


async def test_who_gets_no_turn_in_time_is_told_so(internet: Internet) -> None:
    own = fetcher(internet, concurrent=1, timeout_s=1)
    await own._free.acquire()  # a fetch that holds it would end by the same clock
    with pytest.raises(TimeoutError):
        await own.fetch("http://pictures.example/a.png", Budget(99))
    own._free.release()
    assert await own.fetch("http://pictures.example/a.png", Budget(99)) == PICTURE


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/gone", "refused by the host"),
        ("/packed", "compressed answer"),
        ("/nonsense", "broken answer"),
        ("/cut", "broken answer"),
    ],
)
async def test_answers_that_are_no_picture(host: Host, internet: Internet, path: str, reason: str) -> None:
    host.answer("/gone", b"no", status="404 Not Found")
    host.answer("/packed", gzip.compress(bytes(10_000)), content_encoding="gzip")

    async def nonsense(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")

    host.paths |= {"/nonsense": nonsense, "/cut": cut}
    await refused(internet, f"http://pictures.example{path}", reason)


async def test_the_next_address_is_tried_where_one_does_not_answer(internet: Internet) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = Host()
        nobody.port = closed.getsockname()[1]
        silent = Internet(nobody)
        silent.names["pictures.example"] = [[SEEN, OTHER]]
        await refused(silent, "http://pictures.example/a.png", "no connection")
        assert silent.dialled == [SEEN, OTHER]


# --- certificates ----------------------------------------------------------------------------------------


async def test_the_certificate_is_that_of_the_name() -> None:
    authority = trustme.CA()
    ours, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("pictures.example").configure_cert(ours)
    authority.configure_trust(trusting)
    async with Host().listening(ours) as host:
        host.answer("/a.png", PICTURE)
        internet = Internet(host, trusting)
        internet.names |= {"pictures.example": [[SEEN]], "other.example": [[SEEN]]}
        assert await fetch(internet, "https://pictures.example/a.png") == PICTURE
        await refused(internet, "https://other.example/a.png", "no connection")
        await refused(Internet(host), "https://pictures.example/a.png", "name unknown")
        stranger = Internet(host)
        stranger.names["pictures.example"] = [[SEEN]]
        await refused(stranger, "https://pictures.example/a.png", "no connection")
        assert len(host.asked) == 1
