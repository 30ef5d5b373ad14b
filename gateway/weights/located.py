"""A model with everything it needs on this disk: its own weights and the files beside them.

Owns putting them together. Reads the disk only.
"""

import hashlib
from pathlib import Path

from msgspec import Struct

from config.companions import files, with_sources
from config.schema import ModelSpec
from gateway.weights.store import WeightsStore


class Located(Struct, frozen=True):
    """`spec` is what a worker gets: the sources of companions are paths there."""

    spec: ModelSpec
    weights: Path
    fingerprint: str
    """Changes when any of the files does."""


def locate(store: WeightsStore, spec: ModelSpec) -> Located:
    """Raises as WeightsStore.locate does, for the first file that is not usable."""
    own, *others = files(spec)
    weights = store.locate(own)
    paths = {other.source: str(store.locate(other)) for other in others}
    prints = [store.fingerprint(file) for file in (own, *others)]
    fingerprint = prints[0] if not others else hashlib.sha256("\n".join(prints).encode()).hexdigest()
    return Located(with_sources(spec, paths.__getitem__), weights, fingerprint)
