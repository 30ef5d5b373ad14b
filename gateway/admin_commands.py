"""`llm-cortex models ps | load | unload | swap …` and `config reload`: a running server is asked over HTTP.

Owns what is sent and what is printed. Must not import the engine.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import yaml

from config.added import NOT_YAML
from config.load import api_key, load_config, server_url

_CONNECT_S = 5.0
_COLUMNS = ("model", "state", "version", "worker", "device", "memory", "jobs", "pid", "note")
Command = Callable[[argparse.Namespace], int]


class ServerError(Exception):
    """The server cannot be reached, or refuses; the message is for the user."""


def add_model_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """`add` makes the parser of one command: name, what it does, one line about it."""
    ps = add("ps", _ps, "what a running server has loaded")
    ps.add_argument("--json", action="store_true", help="all that is known, as JSON")
    load = add("load", _load, "load a model of a running server and keep it")
    load.add_argument("--pin", action="store_true", default=None, dest="pinned", help="never push it out")
    load.add_argument("--unpin", action="store_false", dest="pinned", help="no longer keep it for ever")
    load.add_argument("--no-wait", action="store_false", dest="wait", help="do not wait until it is ready")
    unload = add("unload", _unload, "free the memory of a model of a running server")
    unload.add_argument("--force", action="store_true", help="running requests fail instead of ending first")
    unload.add_argument("--no-wait", action="store_false", dest="wait", help="do not wait until it is gone")
    swap = add("swap", _swap, "serve a new version of a model under its name, without a pause")
    reload = add("reload", _reload, "read a model's weights anew, without a pause")
    remove = add("remove", _remove, "serve a model no more")
    for parser in (load, unload, swap, reload, remove):
        parser.add_argument("name", metavar="NAME", help="model name or alias")
    swap.add_argument(
        "settings", nargs="+", metavar="SETTING=VALUE", help="what is new: source=…, parameters.n_ctx=4096"
    )
    for parser in (swap, reload):
        _strategy_argument(parser)
    more = add("add", _add, "serve one more model")
    more.add_argument("file", type=Path, metavar="FILE", help="YAML of one model, as in the configuration")
    for parser in (more, remove):
        parser.add_argument(
            "--persist", action="store_true", help="keep the change over restarts; needs --config there"
        )
    for parser in (ps, load, unload, swap, reload, remove, more):
        _server_arguments(parser)


def add_config_reload(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    parser = add("reload", _config_reload, "let a running server read its configuration anew")
    _strategy_argument(parser)
    _server_arguments(parser)


def _strategy_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strategy",
        choices=("alongside", "replace"),
        default="alongside",
        help="replace: stop the old version first, where there is no memory for both",
    )


def _server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the server; default: LLM_CORTEX_URL, or as it is configured")
    parser.add_argument("--key", help="an API key with the scope admin; default: LLM_CORTEX_API_KEY")


# --- the commands -------------------------------------------------------------------------------------


def _ps(arguments: argparse.Namespace) -> int:
    models = _call(arguments, "GET", "/admin/models")["data"]
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(models), indent=2).decode())
        return 0
    rows = [row for model in models for row in _rows(model)]
    widths = [max(len(row[column]) for row in [_COLUMNS, *rows]) for column in range(len(_COLUMNS))]
    for row in [tuple(name.upper() for name in _COLUMNS), *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _rows(model: dict[str, Any]) -> list[tuple[str, ...]]:
    name, note = model["model"], ["pinned"] if model["pinned"] else []
    note += [f"{model['waiting']} waiting"] if model["waiting"] else []
    note += [f"idle {model['idle_s']:.0f} s"] if model["idle_s"] is not None else []
    note += [model["error"]] if model["error"] else []
    if not model["workers"]:
        return [(name, model["state"], str(model["version"]), "", "", "", "", "", ", ".join(note))]
    return [
        (
            name,
            worker["state"],
            str(worker["version"]),
            str(worker["id"]),
            worker["device"],
            f"{worker['memory_bytes'] / 2**20:.0f} MiB",
            str(worker["jobs"]),
            str(worker["pid"]),
            ", ".join([*note, *filter(None, (worker["stage"], worker["reason"]))]),
        )
        for worker in model["workers"]
    ]


def _load(arguments: argparse.Namespace) -> int:
    body = {"model": arguments.name, "pinned": arguments.pinned, "wait": arguments.wait}
    return _told(_call(arguments, "POST", "/admin/models/load", body))


def _unload(arguments: argparse.Namespace) -> int:
    body = {"model": arguments.name, "force": arguments.force, "wait": arguments.wait}
    return _told(_call(arguments, "POST", "/admin/models/unload", body))


def _swap(arguments: argparse.Namespace) -> int:
    current = _call(arguments, "GET", _path(arguments))["settings"]
    changes = _changes(arguments.settings, current)
    body = {"model": arguments.name, "changes": changes, "strategy": arguments.strategy}
    return _told(_call(arguments, "POST", "/admin/models/swap", body))


def _reload(arguments: argparse.Namespace) -> int:
    body = {"model": arguments.name, "strategy": arguments.strategy}
    return _told(_call(arguments, "POST", "/admin/models/reload", body))


def _add(arguments: argparse.Namespace) -> int:
    try:
        tree = yaml.safe_load(arguments.file.read_text(encoding="utf-8"))
    except (OSError, *NOT_YAML) as error:
        raise ServerError(f"{arguments.file}: {error}") from None
    return _told(_call(arguments, "POST", f"/admin/models{_query(arguments)}", tree))


def _remove(arguments: argparse.Namespace) -> int:
    removed = _call(arguments, "DELETE", _path(arguments) + _query(arguments))
    print(f"{removed['model']} is not served any more")
    return 0


def _path(arguments: argparse.Namespace) -> str:
    """Quoted: what follows a `#` or `?` in the name would not be sent as a part of it."""
    return f"/admin/models/{quote(arguments.name, safe='/', errors='surrogateescape')}"


def _query(arguments: argparse.Namespace) -> str:
    return "?persist=true" if arguments.persist else ""


def _config_reload(arguments: argparse.Namespace) -> int:
    told = _call(arguments, "POST", "/admin/config/reload", {"strategy": arguments.strategy})
    for what in ("added", "removed", "swapped", "changed"):
        if told[what]:
            print(f"{what}: {', '.join(told[what])}")
    if told["needs_restart"]:
        print(f"counts after a restart: {', '.join(told['needs_restart'])}")
    if not any(told.values()):
        print("nothing has changed")
    if told["failed"]:
        raise ServerError("; ".join(f"{name} not swapped: {why}" for name, why in told["failed"].items()))
    return 0


def _told(model: dict[str, Any]) -> int:
    print(f"{model['model']}: {model['state']}, version {model['version']}")
    return 0


def _changes(settings: list[str], current: dict[str, Any]) -> dict[str, Any]:
    """`a.b=1` changes one entry of the mapping `a` and keeps the others."""
    changes: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ServerError(f"expected SETTING=VALUE, got {setting!r}")
        try:
            value = yaml.safe_load(text)
        except NOT_YAML:
            raise ServerError(f"{path}: the value is not valid YAML") from None
        _as_json(value, path)
        name, _, inner = path.partition(".")
        if inner:
            before = changes.get(name, current.get(name)) or {}
            if not isinstance(before, dict):
                raise ServerError(f"{path}: {name} has no entries to set")
            changes[name] = before | {inner: value}
        else:
            changes[name] = value
    return changes


# --- the server ---------------------------------------------------------------------------------------


def _call(arguments: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """The JSON answer. Raises ServerError with what the server says."""
    import httpx

    content = None if body is None else _as_json(body, "what is to be sent")
    url = (arguments.url or server_url(load_config(arguments.config))).rstrip("/").removesuffix("/v1")
    key = arguments.key or api_key()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if content is not None:
        headers["content-type"] = "application/json"
    try:
        # The server bounds how long an answer may take.
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        response = httpx.request(method, url + path, content=content, headers=headers, timeout=timeout)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServerError(f"no server answers at {url}: {error or type(error).__name__}; see --url") from None
    try:
        answer = response.json()
    except ValueError:
        raise ServerError(f"{url} answers {response.status_code}, but not as this server does") from None
    if response.is_error:
        raise ServerError(answer["error"]["message"])
    return answer


def _as_json(value: Any, what: str) -> bytes:
    """YAML knows values that JSON does not: dates, `.nan`, keys that are lists."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ServerError(f"{what}: {error}; a date is to stand in quotes") from None
