"""The command line: `llm-cortex serve | models | pull | config | keys`.

Owns the arguments and what is printed. A user's mistake ends in one clear line and exit code 1, a wrong
command line in 2; only a bug shows a traceback. Must import heavy modules inside the command that needs them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import yaml

from config.companions import files
from config.errors import ConfigError
from config.load import ConfigFile, cache_dir, keys_file, load_config
from config.published import schema_text
from config.schema import Config, ModelSpec
from gateway.admin_commands import ServerError, add_config_reload, add_model_commands
from gateway.engine.priorities import CLASSES, lower_of
from gateway.keys import DEFAULT_SCOPES, SCOPES, KeyLimits, KeyRing, KeysError
from gateway.weights.errors import WeightsCorrupt, WeightsError, WeightsMissing
from gateway.weights.source import parse
from gateway.weights.store import WeightsStore

_PORTS = 65536


class UsageError(Exception):
    """The command names something that is not there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except ConfigError as error:
        _complain(*error.problems)
    except (KeysError, ServerError, UsageError, WeightsError) as error:
        _complain(str(error))
    except BrokenPipeError:  # `llm-cortex models | head`
        sys.stderr.close()
    except KeyboardInterrupt:
        _complain("interrupted; what had been fetched is kept, the same command goes on")
        return 130
    return 1


def _complain(*lines: str) -> None:
    for line in lines:
        print(f"llm-cortex: {line}", file=sys.stderr)


# --- the commands -------------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> int:
    from gateway.server import serve

    file = ConfigFile(arguments.config, arguments.host, arguments.port)
    return serve(file.read(), file)


def _models(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    store = WeightsStore(cache_dir(config))
    for model in config.models:
        also = f"  (also {', '.join(model.aliases)})" if model.aliases else ""
        print(f"{model.name}{also}")
        print(f"    {', '.join(model.tasks)} by {model.backend}")
        print(f"    source   {model.source}")
        print(f"    on disk  {_on_disk(store, model)}")
        for file in files(model)[1:]:
            print(f"    with     {file.source}")
            print(f"             {_on_disk(store, file)}")
        print(f"    licence  {store.known_licence(model) or 'not stated'}")
        if model.note:
            print(f"    note     {model.note}")
    return 0


def _models_verify(arguments: argparse.Namespace) -> int:
    from gateway.weights.progress import bars

    config = _config(arguments)
    store, chosen, faults = WeightsStore(cache_dir(config)), _chosen(config, arguments.names), []
    with bars() as progress:
        for model in chosen:
            try:
                for file in files(model):
                    name = model.name if file is model else f"{model.name}, {file.source}"
                    progress.say(f"{name}: whole, SHA-256 {store.verify(file, progress)}")
            except WeightsError as error:
                faults.append(str(error))
    _complain(*faults)
    return 1 if faults else 0


def _pull(arguments: argparse.Namespace) -> int:
    from gateway.weights.progress import bars

    config = _config(arguments)
    if not arguments.names and not arguments.all:
        raise UsageError(f"name a model, or --all; there are: {_names(config)}")
    store, chosen = WeightsStore(cache_dir(config)), _chosen(config, arguments.names)
    paths: list[Path] = []
    faults = []
    with bars() as progress:
        for model in chosen:
            try:
                for file in files(model):
                    paths.append(store.pull(file, progress, arguments.accept_license))
            except WeightsError as error:
                faults.append(str(error))
    print(*paths, sep="\n")
    _complain(*faults)
    return 1 if faults else 0


def _config_show(arguments: argparse.Namespace) -> int:
    tree = msgspec.to_builtins(_config(arguments))
    print(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), end="")
    return 0


def _config_check(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    for model in config.models:
        for file in files(model):
            parse(file.source)
    print(f"{arguments.config or 'the built-in configuration'} is right; it names: {_names(config)}")
    return 0


def _config_schema(arguments: argparse.Namespace) -> int:
    print(schema_text(), end="")
    return 0


def _keys_create(arguments: argparse.Namespace) -> int:
    ring = _ring(arguments)
    highest = arguments.highest_priority
    limits = KeyLimits(
        arguments.priority or lower_of("normal", highest),
        highest,
        arguments.max_waiting,
        arguments.max_running,
    )
    text = ring.create(arguments.name, arguments.scope or DEFAULT_SCOPES, limits)
    print(text)
    print(
        "This is the only time that the key is shown. A running server reads it at its next start.",
        file=sys.stderr,
    )
    return 0


def _keys_list(arguments: argparse.Namespace) -> int:
    for key in _ring(arguments).list():
        limits = msgspec.to_builtins(key.limits)  # those that are not the default
        shown = "".join(f"  {name}: {value}" for name, value in limits.items())
        print(f"{key.name}  ({', '.join(sorted(key.scopes))}){shown}")
    return 0


def _keys_revoke(arguments: argparse.Namespace) -> int:
    _ring(arguments).revoke(arguments.name)
    print(f"{arguments.name} is revoked from the server's next start on.", file=sys.stderr)
    return 0


# --- parts of commands --------------------------------------------------------------------------------


def _config(arguments: argparse.Namespace) -> Config:
    return load_config(arguments.config)


def _ring(arguments: argparse.Namespace) -> KeyRing:
    return KeyRing.open(keys_file(_config(arguments)))


def _names(config: Config) -> str:
    return ", ".join(model.name for model in config.models) or "no models"


def _chosen(config: Config, names: list[str]) -> list[ModelSpec]:
    """The models of these names or aliases; all where none is named."""
    by_name = {name: model for model in config.models for name in (model.name, *model.aliases)}
    for name in names:
        if name not in by_name:
            raise UsageError(
                f"there is no model {name!r} in this configuration (--config); there are: {_names(config)}"
            )
    return [by_name[name] for name in names] if names else config.models


def _on_disk(store: WeightsStore, model: ModelSpec) -> str:
    try:
        return f"yes, {store.locate(model)}"
    except WeightsMissing:
        return f"no; llm-cortex pull {model.name}"
    except WeightsCorrupt as error:
        return f"damaged: {error}"


# --- the arguments ------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-cortex", description="An OpenAI-compatible gateway over local models."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = _add(commands, "serve", _serve, "start the server")
    serve.add_argument("--host", help="address to bind instead of the configured one")
    serve.add_argument("--port", type=_port, help="port instead of the configured one")

    models = _add(commands, "models", _models, "what is configured and what of it is on disk")
    of_models = models.add_subparsers(metavar="what")
    _names_argument(_add(of_models, "verify", _models_verify, "check every file's SHA-256", inner=True))
    add_model_commands(partial(_add, of_models, inner=True))

    pull = _add(commands, "pull", _pull, "fetch weights and print where they are")
    _names_argument(pull)
    pull.add_argument("--all", action="store_true", help="every configured model")
    pull.add_argument(
        "--accept-license",
        action="store_true",
        help="fetch even what its licence forbids to use commercially",
    )

    config = commands.add_parser("config", help="show and check settings").add_subparsers(
        required=True, metavar="what"
    )
    _add(config, "show", _config_show, "all settings as they count now")
    _add(config, "check", _config_check, "find what is wrong with the file and the environment")
    _add(config, "schema", _config_schema, "JSON schema of the file")
    add_config_reload(partial(_add, config))

    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True, metavar="what")
    create = _add(keys, "create", _keys_create, "make a key and show it once")
    create.add_argument("name")
    create.add_argument("--scope", action="append", choices=sorted(SCOPES), help="default: api and metrics")
    create.add_argument(
        "--priority", choices=CLASSES, help="class of its requests that ask for none; default: normal"
    )
    create.add_argument(
        "--highest-priority", choices=CLASSES, default="interactive", help="first class it may ask for"
    )
    create.add_argument("--max-waiting", type=_positive, help="requests that may wait for one model")
    create.add_argument("--max-running", type=_positive, help="requests with workers at once")
    _add(keys, "list", _keys_list, "names, scopes and limits")
    _add(keys, "revoke", _keys_revoke, "remove a key").add_argument("name")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *,
    inner: bool = False,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    # SUPPRESS: a command inside a command must not undo what was given before it.
    default = argparse.SUPPRESS if inner else None
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE", help="default: the starter models"
    )
    parser.set_defaults(command=command)
    return parser


def _names_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="model names or aliases")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < _PORTS:
        raise argparse.ArgumentTypeError("expected 0 to 65535")
    return number


if __name__ == "__main__":
    sys.exit(main())
