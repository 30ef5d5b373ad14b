"""Fetches a picture for a stranger, without letting him reach anything but the public internet.

Owns the connections. A name is resolved once, every address that it has must be public, and one of these is
dialled, whatever the name means a moment later; the certificate is still that of the name. Each redirect is
checked as the first address was. Nothing of the environment counts (no proxy, no credentials), nothing is
kept between fetches, no compressed answer is taken. Bytes, time, redirects and fetches at once are bounded.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import httpx

from config.schema import RemoteImagesConfig
from gateway.remote.address import is_public
from gateway.remote.errors import NotFetched
from gateway.remote.location import Location, allowed, read_location, redirected

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host. Raises OSError."""
OpenTransport = Callable[[], httpx.AsyncBaseTransport]

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_DIALLED = 3
"""Addresses of one name that are tried in turn."""
_HEADERS = {"user-agent": "llm-cortex", "accept": "image/*", "accept-encoding": "identity"}


class Budget:
    """Bytes that the pictures of one request may still have."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def take(self, size_bytes: int) -> None:
        """Raises NotFetched."""
        self._left -= size_bytes
        if self._left < 0:
            raise NotFetched("too many bytes")


class Fetcher:
    """`resolve` and `open_transport`: who tells addresses and who dials; None: the system."""

    def __init__(
        self,
        settings: RemoteImagesConfig,
        *,
        resolve: Resolve | None = None,
        open_transport: OpenTransport | None = None,
    ) -> None:
        self._settings = settings
        self._resolve = resolve or self._ask_system
        self._open_transport = open_transport or self._system_transport
        self._free = asyncio.Semaphore(settings.concurrent)
        # Not the loop's own threads: a name server that does not answer would hold up all else there.
        self._resolvers = ThreadPoolExecutor(settings.concurrent, thread_name_prefix="resolve")

    async def fetch(self, url: str, budget: Budget) -> bytes:
        """What `url` holds. Raises NotFetched; TimeoutError where no place among the fetches gets free."""
        location = self._checked(read_location(url, self._settings.ports))
        # Two bounds: with one for both, whoever got a place late would find a quick host "too slow".
        async with asyncio.timeout(self._settings.timeout_s):
            await self._free.acquire()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                data = await self._follow(location, budget)
        except TimeoutError:
            raise NotFetched("too slow") from None
        finally:
            self._free.release()
        return data

    def _checked(self, location: Location) -> Location:
        if not allowed(location.host, self._settings.allowed_hosts):
            raise NotFetched("host not allowed")
        return location

    async def _follow(self, location: Location, budget: Budget) -> bytes:
        for _ in range(self._settings.max_redirects + 1):
            answer = await self._ask(location, budget)
            if isinstance(answer, bytes):
                return answer
            location = self._checked(answer)
        raise NotFetched("too many redirects")

    async def _ask(self, location: Location, budget: Budget) -> bytes | Location:
        """The picture, or where it is instead."""
        for address in (await self._addresses(location))[:_MOST_DIALLED]:
            try:
                return await self._ask_at(location, address, budget)
            except httpx.ConnectError:
                continue
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
                raise NotFetched("broken answer") from None
        raise NotFetched("no connection")

    async def _addresses(self, location: Location) -> list[str]:
        """All addresses of the host, if they are public. Raises NotFetched."""
        if location.is_literal:
            found = [location.host]
        else:
            try:
                found = await self._resolve(location.host, location.port)
            except (OSError, UnicodeError):
                raise NotFetched("name unknown") from None
        if not found or not all(map(is_public, found)):
            raise NotFetched("address not public")
        return list(dict.fromkeys(found))

    async def _ask_at(self, location: Location, address: str, budget: Budget) -> bytes | Location:
        # A client for each: a connection that is kept would be one to the same address under another name.
        async with httpx.AsyncClient(
            transport=self._open_transport(), trust_env=False, timeout=self._settings.timeout_s
        ) as client:
            request = client.build_request(
                "GET",
                location.at(address),
                headers={**_HEADERS, "host": location.authority},
                extensions={} if location.is_literal else {"sni_hostname": location.host},
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return redirected(location, response.headers["location"], self._settings.ports)
            return await self._read(response, budget)

    async def _read(self, response: httpx.Response, budget: Budget) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise NotFetched("refused by the host")
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise NotFetched("compressed answer")
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_raw():
            size += len(part)
            if size > self._settings.max_bytes:
                raise NotFetched("too many bytes")
            budget.take(len(part))
            parts.append(part)
        return b"".join(parts)

    async def _ask_system(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [str(address[0]) for *_, address in found]

        return await asyncio.get_running_loop().run_in_executor(self._resolvers, ask)

    def _system_transport(self) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(verify=self._certificates, trust_env=False, retries=0)

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(trust_env=False)
