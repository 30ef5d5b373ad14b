from pathlib import Path

import msgspec
import pytest

from backends.sentence import SentenceBackend
from config.schema import ModelSpec


def spec(folder: Path, **parameters: object) -> ModelSpec:
    return ModelSpec(
        name="m",
        backend="sentence",
        tasks=["embed"],
        source=str(folder),
        licence="MIT",
        parameters=parameters,
    )


def test_describes_the_model(model_folder: Path) -> None:
    description = SentenceBackend(spec(model_folder), model_folder).describe()
    assert description.tasks == ["embed", "tokenize", "detokenize"]
    assert description.parameters == []
    assert (description.dimensions, description.context_length, description.vocabulary_size) == (8, 12, 11)
    assert description.licence == "MIT"
    assert description.details["pooling"] == "mean"


def test_memory_grows_with_the_batch(model_folder: Path) -> None:
    small = SentenceBackend(spec(model_folder, batch_tokens=100), model_folder).describe()
    large = SentenceBackend(spec(model_folder, batch_tokens=10_000), model_folder).describe()
    assert small.memory_bytes < large.memory_bytes


def test_unknown_parameters_are_refused(model_folder: Path) -> None:
    with pytest.raises(msgspec.ValidationError, match="poolling"):
        SentenceBackend(spec(model_folder, poolling="mean"), model_folder)
