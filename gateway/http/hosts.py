"""Which Host and Origin headers are ours: the guard against DNS rebinding and foreign web pages.

Pure: it reads names, and decides nothing about keys or routes.
"""

import ipaddress
import re
from collections.abc import Iterable

from litestar.types import Scope

from config.schema import ServerConfig
from gateway.engine.errors import BadRequest, Forbidden

_AUTHORITY = re.compile(r"^(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?$")
_ORIGIN = re.compile(r"^(?P<scheme>https?)://(?P<authority>[^/?#@\s]+)$")


class HostList:
    """Names under which this server may be addressed, and origins whose pages may call it."""

    def __init__(self, server: ServerConfig) -> None:
        self._wildcard = _is_wildcard(server.host)
        self._names = {name.lower().strip("[]") for name in server.allowed_hosts}
        if not self._wildcard:
            self._names.add(server.host.lower().strip("[]"))
        self._origins = {origin.lower().rstrip("/") for origin in server.allowed_origins}

    def check_host(self, values: list[str]) -> str:
        """The one Host header, lower-case. Raises BadRequest if it is malformed, Forbidden if not ours."""
        match = _AUTHORITY.match(values[0]) if len(values) == 1 else None
        if match is None:
            raise BadRequest("The Host header is missing or malformed.", code="invalid_host")
        if not self._is_ours(match["name"].lower().strip("[]")):
            raise Forbidden("This Host is not allowed; see 'server.allowed_hosts'.", code="host_not_allowed")
        return values[0].lower()

    def check_origin(self, values: list[str], host: str) -> str | None:
        """The Origin header if there is one. Raises Forbidden if it is foreign.

        Allowed are loopback origins, those of the configuration, and the server's own pages: `host` has
        been checked, so an origin of the same authority is no other site.
        """
        if not values:
            return None
        origin = values[0].lower()
        if len(values) == 1:
            # Those of the configuration may have any scheme, as pages of a browser's extensions do.
            if origin in self._origins:
                return values[0]
            if (match := _ORIGIN.match(origin)) is not None:
                authority = _AUTHORITY.match(match["authority"])
                own = match["authority"] == host
                if own or (authority and is_loopback(authority["name"].strip("[]"))):
                    return values[0]
        raise Forbidden(
            "This Origin is not allowed; see 'server.allowed_origins'.", code="origin_not_allowed"
        )

    def _is_ours(self, name: str) -> bool:
        # Bound to every address, any of them reaches the server; rebinding needs a name, not an address.
        return name in self._names or is_loopback(name) or (self._wildcard and _address(name) is not None)


def own_address(scope: Scope, server: ServerConfig) -> str:
    """`scheme://authority` by which the client reaches this server, for links. Its Host has been checked."""
    if server.public_url:
        return server.public_url.rstrip("/")
    (host,) = header_values(scope["headers"], b"host")
    return f"{scope['scheme']}://{host.lower()}"


def is_loopback(name: str) -> bool:
    """Whether a host name or an address without brackets means this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _is_wildcard(host: str) -> bool:
    address = _address(host.strip("[]"))
    return host == "" or (address is not None and address.is_unspecified)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def header_values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """All values of one header. latin-1 is what HTTP means by the bytes of a header."""
    return [value.decode("latin-1").strip() for key, value in headers if key == name]
