"""Where remote pictures come from in tests: a scripted host on loopback, and a made-up internet around it.

Names have the public addresses that a test gives them, and dialling such an address ends at that host.
What is dialled is written down, so that a test sees each address that would have been reached.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Host:
    """A listening socket on 127.0.0.1 that answers by the path asked for."""

    def __init__(self) -> None:
        self.paths: dict[str, Serve] = {}
        self.asked: list[bytes] = []
        """The heads of the requests that came."""
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Host"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def answer(self, path: str, body: bytes = b"", status: str = "200 OK", **headers: str) -> None:
        fields = {"content-length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

        async def serve(writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

        self.paths[path] = serve

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            await self.paths[head.split()[1].decode()](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has had enough: the test looks at what it makes of it
        finally:
            writer.close()


class Internet:
    """Names and their addresses, as answers to one question after the other; the last one stays."""

    def __init__(self, host: Host, verify: ssl.SSLContext | None = None) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.dialled: list[str] = []
        self.lookups: list[str] = []
        self._host = host
        self._verify = verify or httpx.create_ssl_context(trust_env=False)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise OSError("no such name")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def open_transport(self) -> httpx.AsyncBaseTransport:
        return _Redialled(self, self._host, verify=self._verify, trust_env=False)


class _Redialled(httpx.AsyncHTTPTransport):
    def __init__(self, internet: Internet, host: Host, *, verify: ssl.SSLContext, trust_env: bool) -> None:
        super().__init__(verify=verify, trust_env=trust_env)
        self._internet = internet
        self._host = host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._internet.dialled.append(request.url.host)
        request.url = request.url.copy_with(host="127.0.0.1", port=self._host.port)
        return await super().handle_async_request(request)
