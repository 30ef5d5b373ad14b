"""The schema that editors read says of a file what the gateway says of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from config.errors import ConfigError
from config.field_docs import field_docs
from config.load import DEFAULT_FILE
from config.parameters import LlamaCppEmbeddingParameters, SentenceParameters
from config.published import SCHEMA_FILE, schema, schema_text
from config.schema import Config
from config.validate import validate

FILES = [DEFAULT_FILE, *sorted((DEFAULT_FILE.parent / "examples").glob("*.yaml"))]
VALIDATOR = Draft202012Validator(schema())


def model(**fields: Any) -> dict[str, Any]:
    return {"models": [{"name": "m", "backend": "llama_cpp", "tasks": ["generate"], "source": "s"} | fields]}


def test_the_file_is_what_the_command_prints() -> None:
    same = SCHEMA_FILE.read_text() == schema_text()
    assert same, "a setting has changed: llm-cortex config schema > config/schema.json"


def test_it_is_a_schema_that_names_every_section() -> None:
    Draft202012Validator.check_schema(schema())
    section = schema()["$defs"]["Config"]
    assert set(section["properties"]) == set(Config.__struct_fields__)
    assert section["additionalProperties"] is False


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_that_are_shipped_fit_and_name_it(file: Path) -> None:
    assert list(VALIDATOR.iter_errors(yaml.safe_load(file.read_text()))) == []
    first = file.read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first
    assert (file.parent / named).resolve() == SCHEMA_FILE


@pytest.mark.parametrize(
    "tree",
    [
        {},
        model(),
        model(parameters={"max_step_ms": 5}, defaults={"top_p": 0.5}),
        model(tasks=["embed"], parameters={"pooling": "cls"}),
        model(backend="sentence", tasks=["embed"], parameters={"dtype": "float16"}),
        model(backend="third-party", tasks=["embed"], parameters={"anything": [1]}, defaults={"mood": 1}),
        {"server": {"prt": 1}},
        {"server": {"port": 70000}},
        {"memory_fraction": 0},
        model(parameters={"pooling": "cls"}),
        model(tasks=["embed"], parameters={"max_step_ms": 5}),
        model(tasks=["embed"], parameters={"pooling": "rank"}),
        model(tasks=["embed"], defaults={"top_p": 1}),
        model(tasks=["paint a picture"]),
        model(defaults={"mood": 1}),
        model(backend="sentence", tasks=["embed"], parameters={"n_ctx": 5}),
        model(replicas=0),
        {"models": [{"name": "m"}]},
        {"models": {}},
    ],
)
def test_it_agrees_with_the_gateway(tree: dict[str, Any]) -> None:
    try:
        validate(tree)
        right = True
    except ConfigError:
        right = False
    assert VALIDATOR.is_valid(tree) == right


def test_what_stands_under_a_setting_stands_in_the_schema() -> None:
    definitions = schema()["$defs"]
    port = definitions["ServerConfig"]["properties"]["port"]
    assert port["description"] == "TCP port; 0 lets the system choose."
    own = definitions["LlamaCppEmbeddingParameters"]["properties"]
    assert own["n_gpu_layers"]["description"].startswith("Layers on the GPU")
    assert own["pooling"]["description"].startswith("How token vectors become one")


def test_inherited_texts_count_and_fields_without_one_are_left_out() -> None:
    docs = field_docs(LlamaCppEmbeddingParameters)
    assert {"pooling", "n_ctx", "n_gpu_layers"} <= set(docs)
    assert "use_mlock" not in docs
    assert "\n" not in "".join(field_docs(SentenceParameters).values())
