"""The web page: its files, read once at the start and served from memory.

Owns which files are served: those that stand in gateway/web when the app is made, by exact name.
"""

import hashlib
from pathlib import Path
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from gateway.http.answer import Answer
from gateway.http.auth import PUBLIC

WEB = Path(__file__).parent.parent / "web"
INDEX = "index.html"

_MEDIA = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes(folder: Path = WEB) -> list[HTTPRouteHandler]:
    """`/` is the index; every other file is at `/static/<name>`."""
    files = [file for file in sorted(folder.glob("*")) if file.is_file() and file.suffix in _MEDIA]
    return [_file_route("/" if file.name == INDEX else f"/static/{file.name}", file) for file in files]


def _file_route(path: str, file: Path) -> HTTPRouteHandler:
    body = file.read_bytes()
    etag = b'"' + hashlib.sha256(body).hexdigest()[:16].encode() + b'"'
    headers = (
        (b"content-security-policy", _CSP),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
        (b"etag", etag),
    )
    whole = Answer(body, media=_MEDIA[file.suffix], headers=headers)
    unchanged = Answer(b"", 304, media=_MEDIA[file.suffix], headers=headers)

    @get(path, name=f"page {file.name}", opt=PUBLIC)
    async def page_file(request: Request[Any, Any, Any]) -> ASGIApp:
        return unchanged if request.headers.get("if-none-match") == etag.decode() else whole

    return page_file
