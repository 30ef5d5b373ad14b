"""The web pages: their files, read once at the start and served from memory.

Owns which files are served: those that stand in gateway/web when the app is made, and Swagger UI's, by exact
name.
"""

import hashlib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from gateway.http.answer import Answer
from gateway.http.auth import PUBLIC

WEB = Path(__file__).parent.parent / "web"
PLACES = {"index.html": "/", "docs.html": "/docs", "paint.html": "/paint"}
PAGE = PUBLIC | {"page": True}
"""`opt` of the files: no part of the API."""
SWAGGER_UI = ("swagger_ui/static/swagger-ui.css", "swagger_ui/static/swagger-ui-bundle.js")
"""In the distribution swagger-ui-py, of which nothing is imported."""

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
    """`/`, `/paint` and `/docs` are pages; every other file is at `/static/<name>`."""
    files = [file for file in sorted(folder.glob("*")) if file.is_file() and file.suffix in _MEDIA]
    return [_file_route(PLACES.get(file.name, f"/static/{file.name}"), file) for file in files]


def swagger_ui_routes() -> list[HTTPRouteHandler]:
    """What `/docs` is made of."""
    installed = distribution("swagger-ui-py")
    files = [Path(str(installed.locate_file(name))) for name in SWAGGER_UI]
    return [_file_route(f"/static/{file.name}", file) for file in files]


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

    @get(path, name=f"page {file.name}", opt=PAGE)
    async def page_file(request: Request[Any, Any, Any]) -> ASGIApp:
        return unchanged if request.headers.get("if-none-match") == etag.decode() else whole

    return page_file
