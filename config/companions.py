"""Files that a model needs beside its own: where its parameters name a WeightsFile.

Owns finding them and changing what they say. Only built-in backends have any: what another backend's
parameters mean is not known here. Must not touch the disk.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from config.parameters import WeightsFile
from config.schema import ModelSpec
from config.validate import parameters_type


def companions(spec: ModelSpec) -> list[WeightsFile]:
    """In the order in which the parameters have them."""
    parameters = _parameters(spec)
    return [] if parameters is None else list(_found(parameters))


def with_sources(spec: ModelSpec, change: Callable[[str], str]) -> ModelSpec:
    """The model with each companion's `source` changed."""
    parameters = _parameters(spec)
    if parameters is None or not any(_found(parameters)):
        return spec
    changed = _changed(parameters, lambda file: msgspec.structs.replace(file, source=change(file.source)))
    return msgspec.structs.replace(spec, parameters=msgspec.to_builtins(changed))


def files(spec: ModelSpec) -> list[ModelSpec]:
    """The model's own weights and its companions, each as what the weights store takes."""
    replace = msgspec.structs.replace
    return [spec] + [
        replace(spec, source=file.source, more_sources=[], sha256=file.sha256, licence=None)
        for file in companions(spec)
    ]


def _parameters(spec: ModelSpec) -> Struct | None:
    expected = parameters_type(spec)
    return None if expected is None else msgspec.convert(spec.parameters, expected)


def _found(parameters: Struct) -> Iterator[WeightsFile]:
    for value in msgspec.structs.asdict(parameters).values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, WeightsFile):
                yield item


def _changed(parameters: Struct, change: Callable[[WeightsFile], WeightsFile]) -> Struct:
    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(item) for item in value]
        return change(value) if isinstance(value, WeightsFile) else value

    return type(parameters)(
        **{name: one(value) for name, value in msgspec.structs.asdict(parameters).items()}
    )
