"""One more model for a configuration that is in use: checked as if it stood in the file.

Must not read files.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from config.errors import ConfigError
from config.load import with_absolute_sources
from config.schema import Config, ModelSpec
from config.validate import validate

_PLACE = re.compile(r"\bmodels\[(\d+)\]\.(name|aliases\[\d+\])")


def model_from(tree: Any, others: Sequence[ModelSpec], config: Config, base: Path) -> ModelSpec:
    """The model of these settings, beside `others`; relative paths count from `base`.

    Raises ConfigError with every fault, each with its path inside the model.
    """
    here = f"models[{len(others)}]"
    whole = {
        "devices": msgspec.to_builtins(config.devices),
        "models": [*msgspec.to_builtins(others), tree],
    }
    try:
        spec = validate(whole).models[-1]
    except ConfigError as error:
        inner = [problem.removeprefix(here).removeprefix(".") for problem in error.problems]
        raise ConfigError([by_name(problem, others) for problem in inner]) from None
    return with_absolute_sources(spec, base)


def by_name(problem: str, models: Sequence[ModelSpec]) -> str:
    """A place among these models by the model's name: nobody who asks sees a list of them.

    The model behind the last of them is the one that is asked for: its places are its own.
    """

    def told(place: re.Match[str]) -> str:
        index = int(place[1])
        if index < len(models):
            return f"the model {models[index].name!r}"
        return f"its own {place[2]}" if index == len(models) else place[0]

    return _PLACE.sub(told, problem)
