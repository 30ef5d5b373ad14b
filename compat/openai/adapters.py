"""`lora`: which of a model's adapters an answer is made with, and how strongly. llama-server's shape."""

from typing import Annotated

from msgspec import Meta, Struct

from backends.protocol import Description
from compat.errors import InvalidRequest, invalid

Scale = Annotated[float, Meta(ge=-100, le=100)]


class AdapterScale(Struct, frozen=True, forbid_unknown_fields=True):
    """`id`: place in the model's list of adapters; `name`: its name. One of the two."""

    id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    name: str | None = None
    scale: Scale = 1.0


def read_adapters(asked: list[AdapterScale], description: Description) -> dict[str, float]:
    """Names and scales of those that count; a scale of 0 turns one off. Raises InvalidRequest."""
    scales: dict[str, float] = {}
    for index, one in enumerate(asked):
        name = _name(one, description.adapters, f"lora[{index}]")
        if name in scales:
            raise invalid(f"lora[{index}]", "the adapter is given twice.")
        scales[name] = one.scale
    return {name: scale for name, scale in scales.items() if scale}


def _name(asked: AdapterScale, adapters: list[str], path: str) -> str:
    if (asked.id is None) == (asked.name is None):
        raise invalid(path, "give one of 'id' and 'name'.")
    if asked.id is not None:
        if asked.id < len(adapters):
            return adapters[asked.id]
        raise _unknown(f"{path}.id", adapters)
    if asked.name in adapters:
        return asked.name
    raise _unknown(f"{path}.name", adapters)


def _unknown(param: str, adapters: list[str]) -> InvalidRequest:
    return invalid(param, f"the model's adapters are {', '.join(adapters)}.")
