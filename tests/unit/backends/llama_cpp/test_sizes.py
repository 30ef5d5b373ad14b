"""Sizes worked out by hand from metadata."""

from pathlib import Path

import pytest

from backends.llama_cpp.sizes import Sizes, cell_bytes, file_bytes
from config.parameters import LlamaCppParameters, WeightsFile
from config.schema import ModelSpec

METADATA = {
    "general.architecture": "llama",
    "llama.context_length": "8192",
    "llama.block_count": "30",
    "llama.embedding_length": "576",
    "llama.attention.head_count": "9",
    "llama.attention.head_count_kv": "3",
}
CELL = 30 * 3 * 64 * 2 * 2


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 1000)
    return path


def sizes(path: Path, memory: int | None = None, **parameters: object) -> Sizes:
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source="x", memory_bytes=memory)
    return Sizes.of(path, METADATA, spec, LlamaCppParameters(**parameters))  # type: ignore[arg-type]


def test_a_cell_holds_keys_and_values_of_every_layer() -> None:
    assert cell_bytes(METADATA, LlamaCppParameters()) == CELL
    assert cell_bytes(METADATA, LlamaCppParameters(type_k="f32")) == CELL * 1.5


def test_heads_of_a_width_of_their_own() -> None:
    metadata = METADATA | {"llama.attention.key_length": "128", "llama.attention.value_length": "32"}
    assert cell_bytes(metadata, LlamaCppParameters()) == 30 * 3 * (128 + 32) * 2


def test_auto_is_the_training_context_where_memory_allows(weights: Path) -> None:
    assert sizes(weights, memory=10**9).n_ctx == 8192


def test_auto_shrinks_to_what_memory_holds(weights: Path) -> None:
    assert sizes(weights, memory=CELL * 2048 + 1000).n_ctx == 2048


def test_a_sequence_is_never_longer_than_the_training_context(weights: Path) -> None:
    assert sizes(weights, n_ctx=32768).context_length == 8192
    assert sizes(weights, n_ctx=32768).n_ctx == 32768


def test_a_context_is_rounded_up_as_llama_cpp_does(weights: Path) -> None:
    assert sizes(weights, n_ctx=300).n_ctx == 512


def test_memory_is_file_and_cache(weights: Path) -> None:
    small, large = sizes(weights, n_ctx=256), sizes(weights, n_ctx=512)
    assert large.memory_bytes - small.memory_bytes == 256 * CELL
    assert small.memory_bytes > 1000 + 256 * CELL


def test_parts_of_a_split_file_count_together(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(b"x" * 10 * part)
    assert file_bytes(tmp_path / "m-00001-of-00002.gguf") == 30


def test_a_file_without_a_context_length_is_no_language_model(weights: Path) -> None:
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source="x")
    with pytest.raises(ValueError, match="no language model"):
        Sizes.of(weights, {"general.architecture": "clip"}, spec, LlamaCppParameters())


def test_with_cells_of_its_own_a_sequence_has_its_share(weights: Path) -> None:
    got = sizes(weights, n_ctx=8000, n_seq_max=8, kv_unified=False)
    assert (got.n_ctx, got.context_length, got.partitioned) == (8192, 1024, True)
    whole = sizes(weights, n_seq_max=2, kv_unified=False, memory=10**12)
    assert (whole.n_ctx, whole.context_length) == (16384, 8192)


@pytest.mark.parametrize(
    ("parameters", "partitioned"),
    [
        ({"n_ctx": 16384}, True),
        ({"n_ctx": 16383}, False),
        ({}, False),
        ({"n_ctx": 16384, "prefix_cache": True}, False),
        ({"n_ctx": 16384, "speculation": "lookup"}, False),
        ({"n_ctx": 16384, "draft_model": WeightsFile(source="x.gguf")}, False),
        ({"n_ctx": 16384, "kv_unified": True}, False),
        ({"n_ctx": 512, "kv_unified": False, "prefix_cache": True}, True),
        ({"n_ctx": 512, "reproducible": True}, True),
    ],
)
def test_cells_are_divided_where_nobody_loses_by_it(
    weights: Path, parameters: dict[str, object], partitioned: bool
) -> None:
    settings = {"n_seq_max": 2, "prefix_cache": False, "speculation": "off", **parameters}
    assert sizes(weights, **settings).partitioned is partitioned


def test_reproducible_answers_cannot_share_cells(weights: Path) -> None:
    with pytest.raises(ValueError, match="kv_unified"):
        sizes(weights, reproducible=True, kv_unified=True)
