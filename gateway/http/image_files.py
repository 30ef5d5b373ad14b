"""GET and HEAD /v1/images/files/{name}: a painted picture by the address that an answer gave.

Public, so that a page can show it: whoever knows a name has been told it. Names are never logged.
"""

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp, Scope

from compat.openai.image_answers import MEDIA_TYPES
from gateway.http.answer import Answer
from gateway.http.auth import PUBLIC
from gateway.http.hosts import own_address
from gateway.http.openapi.operation import documented
from gateway.http.services import Services

_PATH = "/v1/images/files"


def image_file_routes(services: Services) -> list[HTTPRouteHandler]:
    @route(
        _PATH + "/{name:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        status_code=200,
        opt=PUBLIC
        | documented(
            summary="A painted picture",
            tag="images",
            description="By the address that an answer gave. It needs no key: its name is one.",
            media="image/png",
            path_parameters={"name": "As the address has it."},
        ),
    )
    async def picture(name: FromPath[str]) -> ASGIApp:
        stored = await services.pictures.read(name)
        headers = (
            (b"cache-control", b"private, max-age=%d, immutable" % stored.left_s),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", b"default-src 'none'; sandbox"),
            (b"referrer-policy", b"no-referrer"),
        )
        return Answer(stored.data, media=MEDIA_TYPES[stored.form], headers=headers)

    return [picture]


def picture_address(services: Services, scope: Scope, name: str) -> str:
    """Where a client that asked by `scope` finds a picture."""
    return f"{own_address(scope, services.config.server)}{_PATH}/{name}"
