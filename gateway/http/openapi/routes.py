"""GET /openapi.json and /config-schema.json: what machines read of the API and of the configuration file."""

import asyncio
from functools import cache
from typing import Any

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from config.published import schema_text
from gateway.http.answer import Answer
from gateway.http.auth import PUBLIC
from gateway.http.openapi.document import document
from gateway.http.openapi.operation import documented
from gateway.http.services import Services


def openapi_routes(services: Services) -> list[HTTPRouteHandler]:
    """Public: both say what the product can do, and nothing of this server's models or settings."""
    made: list[Answer] = []

    @get(
        "/openapi.json",
        opt=PUBLIC | documented(summary="This document", tag="server", answer=dict[str, Any]),
    )
    async def openapi(request: Request[Any, Any, Any]) -> ASGIApp:
        if not made:  # the app's routes are all known by now
            whole = await asyncio.to_thread(document, request.app, bool(services.keys))
            made.append(Answer(msgspec.json.encode(whole)))
        return made[0]

    @get(
        "/config-schema.json",
        opt=PUBLIC
        | documented(summary="JSON schema of the configuration file", tag="server", answer=dict[str, Any]),
    )
    async def config_schema() -> ASGIApp:
        return Answer((await asyncio.to_thread(_schema_text)).encode())

    return [openapi, config_schema]


@cache
def _schema_text() -> str:
    return schema_text()
