"""What every request passes: Host, Origin, keys, the limit of open requests, the request id."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.schema import Config, LimitsConfig, ServerConfig
from gateway.http.auth import KeyGuard, handlers, public_paths
from gateway.http.front import Front
from gateway.keys import KeyRing
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.http.fakes import Site, answer, assert_envelope, open_site, silence

GOOD_HOSTS = [
    "127.0.0.1",
    "127.0.0.1:8000",
    "localhost:1",
    "LOCALHOST",
    "[::1]:8000",
    "app.localhost",
    "127.9.9.9",
]
FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "192.168.1.7",
    "localhost.evil.example:80",
    "10.0.0.1",
]
BROKEN_HOSTS = ["a?", "", "a b", "a/b", "user@localhost", "localhost:99999999", "[::1", "localhost:x", "é"]


@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_own_hosts_are_served(site: Site, host: str) -> None:
    response = await site.client.get("/health/live", headers={"host": host})
    assert response.status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
async def test_foreign_hosts_are_refused_on_every_method(site: Site, host: str, method: str) -> None:
    response = await site.client.request(method, "/v1/models", headers={"host": host})
    error = assert_envelope(response, 403)
    assert error["code"] == "host_not_allowed"
    assert host not in response.text


@pytest.mark.parametrize("host", BROKEN_HOSTS)
async def test_malformed_hosts_are_refused(site: Site, host: str) -> None:
    headers = {b"host": host.encode()}
    assert_envelope(await site.client.get("/health/live", headers=headers), 400)


async def test_two_hosts_are_refused(site: Site) -> None:
    headers = [("host", "127.0.0.1"), ("host", "127.0.0.1")]
    assert_envelope(await site.client.get("/health/live", headers=headers), 400)


async def test_configured_and_bound_hosts_are_served(tmp_path: Path) -> None:
    server = ServerConfig(host="0.0.0.0", allowed_hosts=["Cortex.lan"])
    async with open_site(tmp_path / "keys.json", server=server) as site:
        for host in ("cortex.lan:8000", "192.168.1.7:8000", "[fd00::7]"):
            assert (await site.client.get("/health/live", headers={"host": host})).status_code == 200
        response = await site.client.get("/health/live", headers={"host": "evil.example"})
        assert_envelope(response, 403)
    async with open_site(tmp_path / "keys.json", server=ServerConfig(host="192.168.1.7")) as site:
        for host, status in (("192.168.1.7", 200), ("192.168.1.8", 403)):
            assert (await site.client.get("/health/live", headers={"host": host})).status_code == status


GOOD_ORIGINS = ["http://localhost:3000", "http://127.0.0.1:8000", "https://localhost", "http://[::1]:5173"]
FOREIGN_ORIGINS = [
    "https://evil.example",
    "null",
    "",
    "http://localhost.evil.example",
    "http://localhost@evil.example",
    "file://",
    "chrome-extension://abc",
    "http://127.0.0.1.evil.example",
]


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
async def test_loopback_pages_may_call(site: Site, origin: str) -> None:
    response = await site.client.get("/v1/models", headers={"origin": origin})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "x-request-id" in response.headers["access-control-expose-headers"]
    assert "origin" in response.headers["vary"]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
async def test_foreign_pages_are_refused_on_every_method(site: Site, origin: str, method: str) -> None:
    response = await site.client.request(method, "/v1/models", headers={"origin": origin})
    assert_envelope(response, 403)
    assert "access-control-allow-origin" not in response.headers


async def test_configured_and_own_origins_may_call(tmp_path: Path) -> None:
    server = ServerConfig(
        allowed_hosts=["cortex.lan"], allowed_origins=["https://chat.example", "chrome-extension://abc"]
    )
    async with open_site(tmp_path / "keys.json", server=server) as site:
        for host, origin, status in (
            ("cortex.lan:8000", "https://chat.example", 200),
            ("cortex.lan:8000", "chrome-extension://abc", 200),
            ("cortex.lan:8000", "chrome-extension://other", 403),
            ("cortex.lan:8000", "http://cortex.lan:8000", 200),
            ("cortex.lan:8000", "http://cortex.lan:9000", 403),
        ):
            headers = {"host": host, "origin": origin}
            assert (await site.client.get("/v1/models", headers=headers)).status_code == status


async def test_a_preflight_is_answered(site: Site) -> None:
    response = await site.client.options(
        "/v1/chat/completions",
        headers={
            "origin": "http://localhost:3000",
            "access-control-request-method": "POST",
            "access-control-request-headers": "Authorization, content-type, x-stainless-os, x-evil",
        },
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert response.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-os"
    assert "POST" in response.headers["access-control-allow-methods"]


async def test_what_clients_set_by_themselves_passes_a_preflight(site: Site) -> None:
    asked = "authorization, idempotency-key, user-agent, x-requested-with"
    response = await site.client.options(
        "/v1/chat/completions",
        headers={
            "origin": "http://localhost:3000",
            "access-control-request-method": "POST",
            "access-control-request-headers": asked,
        },
    )
    assert response.headers["access-control-allow-headers"] == asked


def websocket_scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "websocket", "path": "/v1/realtime", "headers": [(b"host", b"localhost"), *headers]}


async def websocket_events(site: Site, headers: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await site.app(websocket_scope(headers), receive, send)  # type: ignore[arg-type]
    return sent


async def test_a_websocket_of_a_foreign_page_is_refused(site: Site) -> None:
    (event,) = await websocket_events(site, [(b"origin", b"https://evil.example")])
    assert (event["type"], event["code"], event["reason"]) == ("websocket.close", 1008, "origin_not_allowed")


async def test_a_websocket_without_a_key_is_refused(tmp_path: Path) -> None:
    async with open_keyed(tmp_path) as (site, _):
        (event,) = await websocket_events(site, [])
        assert event["reason"] == "missing_api_key"


def open_keyed(tmp_path: Path, **settings: Any) -> "Keyed":
    return Keyed(tmp_path / "keys.json", settings)


class Keyed:
    """A site with one key, and the key."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings

    async def __aenter__(self) -> tuple[Site, str]:
        key = KeyRing.open(self._path).create("alice")
        self._opened = open_site(self._path, **self._settings)
        return await self._opened.__aenter__(), key

    async def __aexit__(self, *error: Any) -> None:
        await self._opened.__aexit__(*error)


BAD_KEYS: dict[str, list[tuple[bytes, bytes]]] = {
    "none": [],
    "wrong": [(b"authorization", b"Bearer sk-cortex-wrong")],
    "empty": [(b"authorization", b"Bearer ")],
    "no scheme": [(b"authorization", b"sk-cortex-wrong")],
    "basic": [(b"authorization", b"Basic YTpi")],
    "64 KB": [(b"authorization", b"Bearer " + b"k" * 65536)],
    "not ASCII": [(b"authorization", "Bearer schlüssel".encode())],
    "not UTF-8": [(b"authorization", b"Bearer \xff\xfe")],
}


@pytest.mark.parametrize("headers", BAD_KEYS.values(), ids=BAD_KEYS.keys())
async def test_every_route_of_the_app_needs_the_key(
    tmp_path: Path, headers: list[tuple[bytes, bytes]]
) -> None:
    """Walks the app's own route table, so that a new route cannot be forgotten."""
    async with open_keyed(tmp_path) as (site, _):
        walked, public = 0, set(public_paths(site.app))
        for route in site.app.routes:
            for handler in handlers(route):
                path = re.sub(r"\{[^}]*\}", "talker", route.path_format)
                for method in getattr(handler, "http_methods", {"GET"}):
                    response = await site.client.request(method, path, headers=httpx.Headers(headers))
                    if path in public or route.path_format.partition("{")[0] in public:
                        assert response.status_code in (200, 204, 404), path
                        continue
                    walked += 1
                    error = assert_envelope(response, 401)
                    assert error["type"] == "authentication_error"
                    assert response.headers["www-authenticate"].startswith("Bearer")
        assert walked >= 7
        assert_envelope(await site.client.get("/nowhere", headers=httpx.Headers(headers)), 401)


async def test_what_is_open_without_a_key_is_a_short_list(tmp_path: Path) -> None:
    async with open_keyed(tmp_path) as (site, _):
        public = public_paths(site.app)
    assert {path for path in public if not path.startswith("/static/")} == {
        "/",
        "/config-schema.json",
        "/docs",
        "/health/live",
        "/health/ready",
        "/openapi.json",
        "/paint",
        "/v1/images/files/",
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/images/files/a.png", 404),
        ("/v1/images/files/a.png/", 404),
        ("/v1/images/files/../models", 401),
        ("/v1/images/files/..%2f..%2fmodels", 401),
        ("/v1/images/files/a/b", 401),
        ("/v1/images/files", 401),
        ("/v1/images/filesa.png", 401),
        ("/v1/images/generations", 401),
    ],
)
async def test_only_a_name_behind_a_public_path_is_public(tmp_path: Path, path: str, status: int) -> None:
    async with open_keyed(tmp_path) as (site, _):
        assert_envelope(await site.client.get(path), status)


async def test_the_right_key_opens_and_names_the_caller(tmp_path: Path) -> None:
    async with open_keyed(tmp_path) as (site, key):
        site.client.headers["authorization"] = f"Bearer {key}"
        assert (await site.chat()).status_code == 200
        assert site.engine.jobs[0][1] == "alice"
        assert (await site.client.get("/metrics")).status_code == 200


async def test_a_key_opens_only_what_its_scopes_say(tmp_path: Path) -> None:
    ring = KeyRing.open(tmp_path / "keys.json")
    scraper, user = ring.create("scraper", {"metrics"}), ring.create("user", {"api"})
    async with open_site(tmp_path / "keys.json") as site:
        for key, path, status in (
            (scraper, "/metrics", 200),
            (scraper, "/v1/models", 403),
            (user, "/metrics", 403),
            (user, "/v1/models", 200),
        ):
            response = await site.client.get(path, headers={"authorization": f"Bearer {key}"})
            assert response.status_code == status


async def test_a_preflight_needs_no_key(tmp_path: Path) -> None:
    async with open_keyed(tmp_path) as (site, _):
        headers = {"origin": "http://localhost", "access-control-request-method": "GET"}
        assert (await site.client.options("/v1/models", headers=headers)).status_code == 204
        assert_envelope(await site.client.options("/v1/models"), 401)


@pytest.mark.parametrize("given", ["abc-1.2_X", "x" * 128])
async def test_a_sound_request_id_is_kept(site: Site, given: str) -> None:
    response = await site.client.get("/health/live", headers={"x-request-id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a\tb", "<script>", "a/b"])
async def test_another_request_id_is_replaced(site: Site, given: str) -> None:
    headers = httpx.Headers([(b"x-request-id", given.encode())])
    response = await site.client.get("/health/live", headers=headers)
    assert response.headers["x-request-id"].startswith("req_")


async def test_more_open_requests_than_the_limit_are_refused_at_once(tmp_path: Path) -> None:
    limits = LimitsConfig(open_requests=1)
    async with open_site(tmp_path / "keys.json", silence, limits=limits) as site, open_call(site) as end:
        response = await site.client.get("/v1/models")
        error = assert_envelope(response, 503)
        assert error["code"] == "too_many_requests"
        assert response.headers["retry-after"] == "1"
        assert (await site.client.get("/health/live")).status_code == 200
        assert (await site.client.get("/metrics")).status_code == 200
        await end()
        assert (await site.client.get("/v1/models")).status_code == 200


class open_call:
    """A chat that hangs in the engine until `end` is called."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __aenter__(self) -> Any:
        self._task = asyncio.ensure_future(self._site.chat())
        while not self._site.engine.streams:
            await asyncio.sleep(0)

        async def end() -> None:
            answer(self._site.engine.jobs[0][0], self._site.engine.streams[0])
            assert (await self._task).status_code == 200

        return end

    async def __aexit__(self, *error: Any) -> None:
        self._task.cancel()


async def test_requests_are_counted_by_route_and_not_by_path(site: Site) -> None:
    await site.client.get("/v1/models/talker")
    await site.client.get("/v1/some-secret-path")
    text = (await site.client.get("/metrics")).text
    assert 'route="/v1/models/{model}"' in text
    assert 'route="unmatched"' in text
    assert "secret" not in text


async def test_an_error_of_the_app_itself_is_a_plain_500(tmp_path: Path) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("prompt text")

    keys = KeyRing.open(tmp_path / "keys.json")
    front = Front(broken, Config(), KeyGuard(keys, []), Metrics())
    transport = httpx.ASGITransport(app=front)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/")
    error = assert_envelope(response, 500)
    assert error["code"] == "internal_error"
    assert "prompt" not in response.text
