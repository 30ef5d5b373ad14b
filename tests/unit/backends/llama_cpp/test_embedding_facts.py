"""What a file's metadata means for its embeddings, worked out by hand."""

from pathlib import Path

import pytest

from backends.llama_cpp.embedding.facts import EmbeddingFacts
from config.parameters import LlamaCppEmbeddingParameters
from config.schema import ModelSpec

ENCODER = {
    "general.architecture": "bert",
    "bert.context_length": "8192",
    "bert.embedding_length": "100",
    "bert.attention.causal": "false",
    "bert.block_count": "0",
}
DECODER = {
    "general.architecture": "qwen3",
    "qwen3.context_length": "32768",
    "qwen3.embedding_length": "100",
    "qwen3.block_count": "2",
    "qwen3.attention.head_count": "1",
}


def facts(tmp_path: Path, metadata: dict[str, str], **parameters: object) -> EmbeddingFacts:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"x" * 1000)
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["embed"], source="x")
    return EmbeddingFacts.of(path, metadata, 50, spec, LlamaCppEmbeddingParameters(**parameters))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metadata", "pooling"),
    [
        (ENCODER, "mean"),
        (ENCODER | {"bert.pooling_type": "0"}, "mean"),
        (ENCODER | {"bert.pooling_type": "2"}, "cls"),
        (DECODER, "last"),
        (DECODER | {"qwen3.pooling_type": "0"}, "last"),
        (DECODER | {"qwen3.pooling_type": "1"}, "mean"),
    ],
)
def test_pooling_is_the_files_own_or_fits_the_kind_of_model(
    tmp_path: Path, metadata: dict[str, str], pooling: str
) -> None:
    assert facts(tmp_path, metadata).pooling == pooling
    assert facts(tmp_path, metadata, pooling="last").pooling == "last"


def test_an_encoder_computes_an_input_in_one_piece(tmp_path: Path) -> None:
    found = facts(tmp_path, ENCODER)
    assert (found.context_length, found.call_tokens, found.in_pieces) == (2048, 2048, False)
    longer = facts(tmp_path, ENCODER, n_ctx=8192)
    assert (longer.context_length, longer.call_tokens) == (8192, 8192)
    assert facts(tmp_path, ENCODER, n_ctx=100).call_tokens == 512


def test_a_causal_model_pooled_by_its_last_token_takes_all_it_was_trained_for(tmp_path: Path) -> None:
    found = facts(tmp_path, DECODER)
    assert (found.context_length, found.call_tokens, found.in_pieces) == (32768, 512, True)
    mean = facts(tmp_path, DECODER, pooling="mean")
    assert (mean.context_length, mean.call_tokens, mean.in_pieces) == (2048, 2048, False)


def test_memory_is_the_file_the_tokens_of_a_call_and_the_cache(tmp_path: Path) -> None:
    base = 1000 + 64 * 1024 * 1024
    assert facts(tmp_path, ENCODER, n_ctx=512).memory_bytes == base + 512 * 4 * (50 + 16 * 100)
    cache = 600 * 2 * 2 * 100 * 2
    assert facts(tmp_path, DECODER, n_ctx=600).memory_bytes == base + 512 * 4 * (100 + 1600) + cache


def test_a_vector_may_be_longer_than_the_model_is_wide(tmp_path: Path) -> None:
    assert facts(tmp_path, ENCODER | {"bert.embedding_length_out": "768"}).dimensions == 768


def test_some_architectures_are_never_causal(tmp_path: Path) -> None:
    metadata = {
        "general.architecture": "gemma-embedding",
        "gemma-embedding.context_length": "2048",
        "gemma-embedding.embedding_length": "768",
    }
    assert not facts(tmp_path, metadata).causal


@pytest.mark.parametrize(
    ("metadata", "parameters", "message"),
    [
        (ENCODER | {"bert.pooling_type": "4"}, {}, "is a reranker"),
        (ENCODER | {"bert.pooling_type": "4"}, {"pooling": "mean"}, "is a reranker"),
        (DECODER, {"pooling": "cls"}, "use last or mean"),
        (ENCODER, {"n_ctx": 8193}, "trained for 8192"),
        ({"general.architecture": "clip"}, {}, "no context length"),
    ],
)
def test_what_gives_no_embeddings_is_refused(
    tmp_path: Path, metadata: dict[str, str], parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        facts(tmp_path, metadata, **parameters)
