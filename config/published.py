"""The JSON schema of the configuration file, for editors: `config/schema.json`, made from config.schema.

Owns what msgspec's own schema lacks: what is written under each setting, and which `parameters:` belong to
which backend. `llm-cortex config schema` prints it; a test holds the file to it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from config.field_docs import describe_fields
from config.schema import Config
from config.validate import PARAMETERS, SAMPLING_DEFAULTS

SCHEMA_FILE = Path(__file__).with_name("schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """JSON schema of the file. It knows the built-in backends' parameters; others' are free."""
    parameters = [struct for by_task in PARAMETERS.values() for struct in by_task.values()]
    (root, *refs), definitions = msgspec.json.schema_components([Config, *parameters], ref_template=_REF)
    for struct in _structs(Config, *parameters):
        describe_fields(definitions[struct.__name__], struct)
    by_struct = dict(zip(parameters, refs, strict=True))
    definitions["ModelSpec"]["allOf"] = [
        *(
            _when(backend, task, {"parameters": by_struct[struct]})
            for backend, by_task in PARAMETERS.items()
            for task, struct in by_task.items()
        ),
        _when("llama_cpp", "generate", {"defaults": {"propertyNames": {"enum": list(SAMPLING_DEFAULTS)}}}),
        _when("llama_cpp", "embed", {"defaults": {"maxProperties": 0}}),
    ]
    return {"$schema": DIALECT, "title": "LLM-Cortex configuration", **root, "$defs": definitions}


def schema_text() -> str:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


def _when(backend: str, task: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A condition on a model: what its properties are where a backend serves a task."""
    return {
        "if": {
            "properties": {"backend": {"const": backend}, "tasks": {"contains": {"const": task}}},
            "required": ["backend", "tasks"],
        },
        "then": {"properties": properties},
    }


def _structs(*roots: type[Struct]) -> Iterator[type[Struct]]:
    """These and every struct that they refer to, each once."""
    seen: set[type] = set()
    waiting: list[Any] = list(roots)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, Struct) and kind not in seen:
            seen.add(kind)
            yield kind
            waiting += [field.type for field in msgspec.structs.fields(kind)]
        else:
            waiting += getattr(kind, "__args__", ())
