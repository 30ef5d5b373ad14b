"""Models that were added to a running server and are to stay.

Owns the file that keeps them, beside the configuration's: `my.yaml` is a person's, with its comments,
`my.added.yaml` is the server's. Where both name a model, `my.yaml` counts. Must not know what a model's
settings mean.
"""

import contextlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import yaml

from config.errors import ConfigError

NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises for text that it cannot read: beside its own errors those of a value that it takes for a
date or a number (`2024-13-45`, `0x_`) or for what its tag says, and of what is nested too deep."""

_changing = threading.Lock()
"""Held from reading the file to writing it: of two changes at once the second would undo the first."""
_HEAD = "# Models added by POST /admin/models?persist=true; DELETE takes them out again.\n"


def added_file(config_file: Path) -> Path:
    return config_file.with_suffix(".added.yaml")


def read_added(config_file: Path) -> list[Any]:
    """Settings of the models; empty where none was ever kept. Raises ConfigError."""
    file = added_file(config_file)
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, *NOT_YAML) as error:
        raise ConfigError([f"{file}: {error}"]) from None
    models = tree.get("models") if isinstance(tree, dict) else None
    if not isinstance(models, list):
        raise ConfigError([f"{file}: expected a mapping with the list 'models'"])
    return models


def keep_added(config_file: Path, model: dict[str, Any]) -> None:
    """Write it down, in the place of one of the same name. Raises OSError, ConfigError."""
    with _changing:
        others = [other for other in read_added(config_file) if _name(other) != model["name"]]
        _write(added_file(config_file), [*others, model])


def drop_added(config_file: Path, name: str) -> bool:
    """Take it out; False: it does not stand there. Raises OSError, ConfigError."""
    with _changing:
        models = read_added(config_file)
        others = [other for other in models if _name(other) != name]
        if len(others) == len(models):
            return False
        _write(added_file(config_file), others)
        return True


def with_added(models: Any, config_file: Path) -> Any:
    """The models of the configuration's own file, and after them the added ones that it does not name."""
    added = read_added(config_file)
    if not added or not isinstance(models, list):
        return models
    names = {_name(model) for model in models}
    return [*models, *(model for model in added if _name(model) not in names)]


def _name(model: Any) -> Any:
    return model.get("name") if isinstance(model, dict) else None


def _write(file: Path, models: list[Any]) -> None:
    """In one step: a reader sees all of it or what was there before."""
    text = _HEAD + yaml.safe_dump({"models": models}, sort_keys=False, allow_unicode=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as partial:
            partial.write(text)
            partial.flush()
            os.fsync(partial.fileno())
        os.replace(name, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
