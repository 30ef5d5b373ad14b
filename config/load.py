"""Reads the configuration: file, then environment, then checks.

Owns every look at the process's environment that concerns settings. Must not know what the settings mean
beyond config.schema.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct

from config.added import NOT_YAML, added_file, with_added
from config.companions import with_sources
from config.errors import ConfigError, unknown_key
from config.schema import Config, ModelSpec
from config.validate import validate

DEFAULT_FILE = Path(__file__).with_name("default.yaml")
"""What is served without `--config`: the starter models."""

ENVIRONMENT_PREFIX = "LLM_CORTEX__"


def load_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of `path` (complete by itself) or of the starter set, with the environment on top.

    `LLM_CORTEX__SERVER__PORT=9000` sets `server.port`. Raises ConfigError with every problem found.
    """
    environ = os.environ if environ is None else environ
    file = path or DEFAULT_FILE
    tree = _read(file)
    problems = _overlay(tree, environ)
    tree["models"] = with_added(tree.get("models", []), file)
    try:
        config = validate(tree)
    except ConfigError as error:
        raise ConfigError(problems + [f"{file}: {problem}" for problem in error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return _with_absolute_paths(config, file.resolve().parent)


@dataclass(frozen=True)
class ConfigFile:
    """Where a running server's configuration comes from, and what its command line puts over it."""

    path: Path | None = None
    """None: the starter set."""
    host: str | None = None
    port: int | None = None

    def read(self) -> Config:
        """As it is now. Raises ConfigError with every problem found."""
        config = load_config(self.path)
        given = {"host": self.host, "port": self.port}
        over = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **over))

    @property
    def folder(self) -> Path:
        """From which relative paths count."""
        return (self.path or DEFAULT_FILE).resolve().parent

    def state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Something that changes when the file does, or that of the added models."""
        file = self.path or DEFAULT_FILE
        return _file_state(file), _file_state(added_file(file))


def _file_state(file: Path) -> tuple[int, int, int] | None:
    """None: it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def cache_dir(config: Config) -> Path:
    """Where weights and descriptions are kept."""
    return _directory(config.paths.cache_dir, "XDG_CACHE_HOME", ".cache")


def data_dir(config: Config) -> Path:
    """Where keys are kept."""
    return _directory(config.paths.data_dir, "XDG_DATA_HOME", ".local/share")


def server_url(config: Config) -> str:
    """Where commands look for a running server: LLM_CORTEX_URL, else where this configuration has one."""
    host = config.server.host
    shown = f"[{host}]" if ":" in host else host
    return os.environ.get("LLM_CORTEX_URL") or f"http://{shown}:{config.server.port}"


def api_key() -> str:
    """What commands send to a running server: LLM_CORTEX_API_KEY; empty: nothing."""
    return os.environ.get("LLM_CORTEX_API_KEY", "")


def spool_dir(config: Config) -> Path:
    """Where uploads and temporary files of workers go."""
    return Path(config.paths.spool_dir or tempfile.gettempdir())


def keys_file(config: Config) -> Path:
    return Path(config.auth.keys_file) if config.auth.keys_file else data_dir(config) / "keys.json"


def _directory(setting: str | None, variable: str, below_home: str) -> Path:
    if setting:
        return Path(setting)
    base = os.environ.get(variable, "")
    # The XDG specification: a relative path in the variable counts as unset.
    return (Path(base) if base.startswith("/") else Path.home() / below_home) / "llm-cortex"


# --- the file -----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    text = f"the key {key.value!r} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror or error}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8 text"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise ConfigError([f"{place}: {error.problem}"]) from None
    except RecursionError:
        raise ConfigError([f"{file}: is nested too deep"]) from None
    except NOT_YAML as error:
        raise ConfigError([f"{file}: a value cannot be read: {error}"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{file}: expected a mapping of settings, got {type(tree).__name__}"])
    return tree


def _with_absolute_paths(config: Config, base: Path) -> Config:
    """Paths in the file count from the file's own folder, wherever the program was started."""

    def absolute(text: str) -> str:
        return str(base / Path(text).expanduser())

    replace = msgspec.structs.replace
    paths, auth = config.paths, config.auth
    return replace(
        config,
        models=[with_absolute_sources(model, base) for model in config.models],
        auth=replace(auth, keys_file=auth.keys_file and absolute(auth.keys_file)),
        paths=replace(
            paths,
            cache_dir=paths.cache_dir and absolute(paths.cache_dir),
            data_dir=paths.data_dir and absolute(paths.data_dir),
            spool_dir=paths.spool_dir and absolute(paths.spool_dir),
        ),
    )


def with_absolute_sources(model: ModelSpec, base: Path) -> ModelSpec:
    """The model with its own source and those of its companions counted from `base`."""

    def source(text: str) -> str:
        elsewhere = text.startswith(("hf:", "pypi:", "package:"))
        return text if elsewhere else str(base / Path(text).expanduser())

    return with_sources(msgspec.structs.replace(model, source=source(model.source)), source)


# --- the environment ----------------------------------------------------------------------------------


def _overlay(tree: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Put the environment's settings into the tree; what is wrong with them."""
    problems = []
    for variable in sorted(environ):
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        parts = variable[len(ENVIRONMENT_PREFIX) :].split("__")
        try:
            value = yaml.load(environ[variable], _Loader)
        except NOT_YAML:
            problems.append(f"{variable}: the value is not valid YAML")
            continue
        try:
            _put(tree, Config, parts, value)
        except _BadVariable as error:
            problems.append(f"{variable}: {error}")
    return problems


class _BadVariable(Exception):
    pass


def _put(node: Any, expected: Any, parts: list[str], value: Any) -> None:
    """Set the value at the path `parts` below `node`, which stands for the type `expected`.

    Settings are matched without regard to case. So are keys of free mappings that exist; a new one is taken
    in lower case (a backend's name, its parameter), a variable of `env` as it is written.
    """
    part, rest = parts[0], parts[1:]
    is_struct = isinstance(expected, type) and issubclass(expected, Struct)
    if is_struct and isinstance(node, dict):
        types = get_type_hints(expected, include_extras=True)
        key: Any = part.lower()
        if key not in types:
            raise _BadVariable(unknown_key(part, key, types))
        inner = types[key]
    elif get_origin(expected) is dict and isinstance(node, dict):
        inner = get_args(expected)[1]
        fresh = part if inner is str else part.lower()
        key = next((known for known in node if str(known).lower() == part.lower()), fresh)
    elif get_origin(expected) is list and isinstance(node, list):
        if not part.isdecimal() or int(part) >= len(node):
            raise _BadVariable(f"{part!r} is no index below {len(node)}")
        key, inner = int(part), get_args(expected)[0]
    else:
        raise _BadVariable(f"there is nothing below to set as {part!r}")
    if not rest:
        node[key] = value
        return
    if isinstance(node, dict) and node.get(key) is None:
        node[key] = [] if get_origin(inner) is list else {}
    _put(node[key], inner, rest, value)
