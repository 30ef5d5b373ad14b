"""`/v1/models`: OpenAI's four fields, and beside them what a person wants to know of a local model."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from compat.openai.answers import encode
from compat.router import RouterState


class ModelCard(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llm-cortex"
    aliases: list[str] = []
    tasks: list[str] = []
    status: RouterState | None = None
    """The state in the words of llama-server's router."""
    state: str = ""
    """What its workers are doing: cold, starting, ready, failed …"""
    error: str = ""
    """Why it failed, for people; empty if it did not."""
    note: str = ""
    licence: str = ""
    context_length: int = 0
    dimensions: int = 0


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model can do here, as its backend describes it. A request that asks for more is a 400."""

    backend: str
    tasks: list[str]
    """With those that every model of the backend does beside what it is configured for."""
    parameters: list[str]
    """Request parameters that it honours."""
    limits: dict[str, int]
    """Largest values of parameters, where the API allows larger ones."""
    adapters: list[str]
    """LoRA adapters that a request may name."""
    voices: list[str]
    """Voices that a request may name, the default first."""
    voice_aliases: dict[str, str]
    """Other names that a request may give a voice, and the voice that it then gets."""
    languages: list[str]
    """ISO 639-1 codes of what it hears or speaks; empty where that has no meaning or is not known."""
    sizes: list[str]
    """WIDTHxHEIGHT, pixels, of what it paints, the default first; empty where that has no meaning."""
    context_length: int
    """Most tokens of prompt and answer together; 0: no such limit."""
    dimensions: int
    """Length of an embedding; 0: none."""
    vocabulary_size: int
    device_kinds: list[str]
    """Kinds of device that it can run on here, best first."""
    memory_bytes: int
    """Estimated need of one replica."""
    replicas: int
    details: dict[str, str]
    """Facts for people: architecture, quantisation …"""


class ModelDetails(ModelCard, frozen=True, kw_only=True):
    """One model by itself; `capabilities` is null where `error` says why they are not known."""

    capabilities: Capabilities | None


class ModelCards(Struct, frozen=True):
    object: Literal["list"]
    data: list[ModelCard]


def render_models(cards: Sequence[ModelCard]) -> bytes:
    return encode(ModelCards("list", list(cards)))


def render_model(model: ModelDetails) -> bytes:
    return encode(model)
