"""What a route says of itself for the OpenAPI document, in the handler's `opt`."""

from typing import Any, Literal

from msgspec import Struct, field

OPERATION = "operation"
"""Key of `opt`."""

Tag = Literal["generate", "embed", "tokens", "audio", "images", "vision", "models", "admin", "server"]
Shape = Any
"""A type that msgspec knows, or a tuple of them: one of these."""


class Operation(Struct, frozen=True, kw_only=True):
    summary: str
    tag: Tag
    description: str = ""
    request: Shape = None
    """Of the JSON body, or of a form's texts; None: there is none."""
    files: dict[str, str] = field(default_factory=dict)
    """Files of a form, and what each is; empty: the body is JSON."""
    optional_files: dict[str, str] = field(default_factory=dict)
    """Files that a form may have beside these."""
    form: type[Struct] | None = None
    """Texts of a form that may be sent instead of the JSON body `request`; `files` are the form's."""
    query: dict[str, str] = field(default_factory=dict)
    """Optional parameters of the query, and what each means."""
    example: dict[str, Any] | None = None
    """A body that the starter models answer."""
    answer: Shape = None
    """Of the JSON answer; None: see `media`."""
    media: str = "application/json"
    """Of the answer that is not streamed."""
    stream: Shape = None
    """Of each server-sent event's data, where the request asks for a stream."""
    others: dict[int, Shape] = field(default_factory=dict)
    """JSON answers of other statuses that are no error envelope."""
    path_parameters: dict[str, str] = field(default_factory=dict)
    """What each means."""


def documented(**fields: Any) -> dict[str, Any]:
    """`opt` of a handler; see Operation for the fields."""
    return {OPERATION: Operation(**fields)}
