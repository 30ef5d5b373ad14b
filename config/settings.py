"""What every section of the configuration is made of: its base class and the kinds of value in it."""

from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
LARGEST = 2**63 - 1
"""Of whole numbers: what is larger than 64 bits hold cannot be sent to a worker or shown as JSON."""

Positive = Annotated[int, Meta(gt=0, le=LARGEST)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
ModelName = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")]


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every settings section: immutable, and an unknown key is an error."""
