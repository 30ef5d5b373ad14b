"""`/v1/models`: OpenAI's four fields, and beside them what a person wants to know of a local model."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from compat.openai.answers import encode


class ModelCard(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llm-cortex"
    aliases: list[str] = []
    tasks: list[str] = []
    state: str = ""
    """What its workers are doing: cold, starting, ready, failed …"""
    error: str = ""
    """Why it failed, for people; empty if it did not."""
    note: str = ""
    licence: str = ""
    context_length: int = 0
    dimensions: int = 0


class ModelCards(Struct, frozen=True):
    object: Literal["list"]
    data: list[ModelCard]


def render_models(cards: Sequence[ModelCard]) -> bytes:
    return encode(ModelCards("list", list(cards)))


def render_model(card: ModelCard) -> bytes:
    return encode(card)
