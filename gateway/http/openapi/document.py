"""The OpenAPI document of an app: every route that says what it does, and the errors that it may answer."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from litestar import Litestar
from msgspec import Struct

from gateway.engine.errors import GatewayError
from gateway.http.auth import handlers
from gateway.http.errors import ErrorEnvelope
from gateway.http.openapi.operation import OPERATION, Operation
from gateway.http.openapi.schemas import Schema, Schemas, alternatives
from gateway.http.urgency import HEADERS

OPENAPI = "3.1.0"
_ABOUT = (
    "Local models under the OpenAI API. Every refusal and failure is an `ErrorEnvelope`; `x-request-id` is "
    "on every answer. Unknown fields of a body are refused. `GET /v1/models/{model}` tells which parameters "
    "a model honours: one that it does not is a 400 that names it. `/v1/realtime` is a WebSocket, which this "
    "document has no word for: live transcription in the shape of OpenAI's transcription sessions."
)
_TAGS = {
    "generate": "Text from chat and completion models.",
    "embed": "Vectors from texts.",
    "tokens": "Texts to tokens and back.",
    "audio": "Speech to text and text to speech.",
    "vision": "Captions of pictures, and pictures weighed against labels.",
    "images": "Pictures from texts, and from pictures and texts.",
    "models": "What is served, and what it can do.",
    "admin": "Models loaded, unloaded, swapped, added and removed; needs a key with the scope `admin`.",
    "server": "Health, metrics and this document.",
}
_JOB_TAGS = frozenset({"audio", "embed", "generate", "images", "tokens", "vision"})
"""Of operations that have a model do something."""
_ALWAYS = (400, 403, 500, 503)
"""Host, Origin, bugs, and too many requests at once: before or around every route."""
_WITH_BODY = (404, 408, 413, 415, 429, 504)
_RETRY = {"retry-after": "Seconds", "retry-after-ms": "Milliseconds"}


def document(app: Litestar, keys: bool) -> dict[str, Any]:
    """`keys`: there are API keys, so that routes which are not public need one."""
    routes = list(_documented(app))
    shapes = [shape for _, _, _, operation in routes for shape in _shapes(operation)]
    schemas = Schemas([*shapes, ErrorEnvelope])
    paths: dict[str, dict[str, Any]] = {}
    for path, method, public, operation in routes:
        security: list[dict[str, list[str]]] = [] if public else [{"key": []}] if keys else [{}, {"key": []}]
        told = _operation(operation, public, schemas)
        identity = {"operationId": _identity(path, method), "security": security}
        paths.setdefault(path, {})[method] = identity | told
    return {
        "openapi": OPENAPI,
        "info": {"title": "LLM-Cortex", "version": version("llm-cortex"), "description": _ABOUT},
        "servers": [{"url": "./"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": _errors(schemas),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "See `llm-cortex keys`."}
            },
        },
    }


def _documented(app: Litestar) -> Iterator[tuple[str, str, bool, Operation]]:
    """Path, method, whether it answers without a key, and what it does, of every route that says so."""
    for route in app.routes:
        for handler in handlers(route):
            operation = handler.opt.get(OPERATION)
            if isinstance(operation, Operation):
                for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                    yield document_path(route), method.lower(), bool(handler.opt.get("public")), operation


def document_path(route: Any) -> str:
    """The route's path as the document writes it."""
    parts = [part if isinstance(part, str) else f"{{{part.name}}}" for part in route.path_components]
    return "/" + "/".join(parts)


def _shapes(operation: Operation) -> list[Any]:
    return [operation.request, operation.form, operation.answer, operation.stream, *operation.others.values()]


def _operation(operation: Operation, public: bool, schemas: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation, public, schemas),
    }
    if operation.description:
        made["description"] = operation.description
    if operation.request is not None:
        made["requestBody"] = {"required": True, "content": _request(operation, schemas)}
    if parameters := [
        *_parameters("path", operation.path_parameters),
        *_parameters("query", operation.query),
        *_parameters("header", HEADERS if operation.tag in _JOB_TAGS and operation.request else {}),
    ]:
        made["parameters"] = parameters
    return made


def _request(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    body = {"application/json": {"schema": schemas.of(operation.request), "example": operation.example}}
    if not operation.files:
        return body
    if operation.form is not None:
        return body | _form(operation.form, operation, schemas)
    return _form(operation.request, operation, schemas)


def _form(texts_of: type[Struct], operation: Operation, schemas: Schemas) -> dict[str, Any]:
    texts = schemas.components[texts_of.__name__]
    files = {
        name: {"type": "string", "contentMediaType": "application/octet-stream", "description": text}
        for name, text in (operation.files | operation.optional_files).items()
    }
    form = texts | {
        "properties": files | texts["properties"],
        "required": [*operation.files, *texts.get("required", [])],
    }
    return {"multipart/form-data": {"schema": form}}


def _parameters(place: str, texts: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in texts.items()
    ]


def _identity(path: str, method: str) -> str:
    words = path.replace("{", "").replace("}", "").replace(".", "_").replace("-", "_").split("/")
    return "_".join([method, *filter(None, words)])


def _responses(operation: Operation, public: bool, schemas: Schemas) -> dict[str, Any]:
    media: dict[str, Schema] = {}
    whole = schemas.of(operation.answer) if alternatives(operation.answer) else {"type": "string"}
    media[operation.media] = {"schema": whole}
    if operation.stream is not None:
        media["text/event-stream"] = {"schema": schemas.of(operation.stream)}
    responses: dict[str, Any] = {"200": {"description": operation.summary, "content": media}}
    for status, shape in operation.others.items():
        content = {"application/json": {"schema": schemas.of(shape)}}
        responses[str(status)] = {"description": "See the schema.", "content": content}
    statuses = {*_ALWAYS, *(() if public else (401,))}
    statuses |= set(_WITH_BODY) if operation.request is not None else set()
    statuses |= {404} if operation.path_parameters else set()
    for status in sorted(statuses - set(operation.others)):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _errors(schemas: Schemas) -> dict[str, Any]:
    """One response for each status of the error tree, with the codes that come with it."""
    by_status: dict[int, list[type[GatewayError]]] = {}
    for error in _tree(GatewayError):
        by_status.setdefault(error.status, []).append(error)
    return {
        str(status): {
            "description": _told(errors),
            "content": {"application/json": {"schema": schemas.of(ErrorEnvelope)}},
            **({"headers": _retry_headers()} if status in (429, 503) else {}),
        }
        for status, errors in sorted(by_status.items())
    }


def _tree(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


def _told(errors: list[type[GatewayError]]) -> str:
    codes = sorted({error.default_code for error in errors if error.default_code})
    kinds = sorted({error.type for error in errors})
    return f"Type {', '.join(kinds)}" + (f"; codes such as {', '.join(codes)}." if codes else ".")


def _retry_headers() -> dict[str, Any]:
    number = {"type": "integer"}
    told = {name: f"{unit} to wait." for name, unit in _RETRY.items()}
    told |= {"x-queue-length": "Requests that wait for the model, where its queue is why."}
    return {name: {"description": text, "schema": number} for name, text in told.items()}
