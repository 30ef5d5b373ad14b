"""Reads the address of a picture as strictly as can be, so that nobody reads it otherwise afterwards.

Owns what is taken of a URL: http or https, a plain host name or an IP address in its one usual notation, a
port that is allowed. No names before an `@`, no numbers in other notations (`127.1`, `2130706433`, `0x7f.1`,
`0177.0.0.1`), no letters beyond ASCII in the host. Pure.
"""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urljoin

from msgspec import Struct

from gateway.remote.errors import NotFetched

_MOST_CHARACTERS = 4096
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][^\s\\#\x00-\x1f\x7f]*)?(?:#.*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}


class Location(Struct, frozen=True):
    scheme: str
    host: str
    """A name in small letters, or an IP address without brackets."""
    port: int
    path: str
    """With the query; begins with `/`."""

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address already."""
        return ":" in self.host or _is_number(self.host)

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def at(self, address: str) -> str:
        """The URL that dials `address` whatever the host's name means."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def read_location(text: str, ports: Collection[int]) -> Location:
    """Raises NotFetched."""
    match = _URL.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None:
        raise NotFetched("not a plain address")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if port not in ports:
        raise NotFetched("port not allowed")
    rest = match["rest"] or "/"
    return Location(scheme, _host(host), port, rest if rest.startswith("/") else f"/{rest}")


def redirected(location: Location, to: str, ports: Collection[int]) -> Location:
    """Where a redirect leads. Raises NotFetched."""
    try:
        return read_location(urljoin(location.url, to.strip()), ports)
    except ValueError:  # urljoin over brackets that do not match
        raise NotFetched("not a plain address") from None


def allowed(host: str, hosts: Collection[str]) -> bool:
    """Whether `hosts` lets `host` in: by its name, or by `.example.org` with all below; none named: any."""
    return not hosts or any(
        host == one.lower().lstrip(".") or (one.startswith(".") and host.endswith(one.lower()))
        for one in hosts
    )


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise NotFetched("not a plain address") from None
    if _is_number(text):
        try:
            return str(ipaddress.IPv4Address(text))  # takes four decimal numbers and nothing else
        except ValueError:
            raise NotFetched("not a plain address") from None
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise NotFetched("not a plain address")
    return text


def _is_number(host: str) -> bool:
    """Whether some reader would take it for an IPv4 address: its last label is a number."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
