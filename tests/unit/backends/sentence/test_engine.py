"""The arithmetic around the model, with a model of one line in place of the network."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backends.base import OutOfMemory
from backends.protocol import EmbeddingResult
from backends.sentence.engine import SentenceEngine
from backends.sentence.files import Pooling, read_facts
from backends.sentence.prepare import SentenceItem
from backends.torch_model import NotFinite
from config.parameters import SentenceParameters

Model = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def position_and_id(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Hidden state of a token: (its position + 1, its id)."""
    positions = torch.arange(1, input_ids.shape[1] + 1).expand_as(input_ids)
    return torch.stack([positions, input_ids], dim=-1).float()


def make_engine(
    folder: Path, model: Model = position_and_id, pooling: Pooling = "mean", normalize: bool = False
) -> SentenceEngine:
    def network(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=model(input_ids, attention_mask))

    facts = read_facts(folder, SentenceParameters(pooling=pooling))
    return SentenceEngine(network, facts, device="cpu", normalize=normalize, max_cost=64, max_items=4)


def vectors(engine: SentenceEngine, *ids: list[int]) -> list[list[float]]:
    results = engine.forward([None] * len(ids), [SentenceItem(sequence) for sequence in ids])
    embeddings = [result for result in results if isinstance(result, EmbeddingResult)]
    assert len(embeddings) == len(ids)
    return [np.frombuffer(embedding.vector, "<f4").tolist() for embedding in embeddings]


def test_mean_pooling_ignores_padding(model_folder: Path) -> None:
    assert vectors(make_engine(model_folder), [4, 8], [5], [1, 2, 3]) == [[1.5, 6.0], [1.0, 5.0], [2.0, 2.0]]


def test_cls_pooling_takes_the_first_token(model_folder: Path) -> None:
    assert vectors(make_engine(model_folder, pooling="cls"), [4, 8], [5]) == [[1.0, 4.0], [1.0, 5.0]]


def test_normalised_vectors_have_length_one(model_folder: Path) -> None:
    engine = make_engine(model_folder, pooling="cls", normalize=True)
    assert np.linalg.norm(vectors(engine, [4, 8], [5]), axis=1) == pytest.approx([1.0, 1.0])


def test_results_say_what_was_read(model_folder: Path) -> None:
    engine = make_engine(model_folder)
    results = engine.forward([None, None], [SentenceItem([4, 8, 1]), SentenceItem([5])])
    assert [(r.dimensions, r.prompt_tokens) for r in results if isinstance(r, EmbeddingResult)] == [
        (2, 3),
        (2, 1),
    ]


def test_cost_is_the_padded_token_count(model_folder: Path) -> None:
    engine = make_engine(model_folder)
    assert engine.cost(SentenceItem([1, 2, 3])) == 3
    assert engine.padded_cost([1, 3]) == 6


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_result_that_is_no_number_fails(model_folder: Path, poison: float) -> None:
    def model(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = position_and_id(input_ids, attention_mask)
        return states.masked_fill((input_ids == 7).unsqueeze(-1), poison)

    engine = make_engine(model_folder, model)
    with pytest.raises(NotFinite):
        engine.forward([None, None], [SentenceItem([4]), SentenceItem([7])])
    assert vectors(engine, [4]) == [[1.0, 4.0]]


def test_no_room_is_said_as_such(model_folder: Path) -> None:
    def model(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(OutOfMemory, match="allocate"):
        make_engine(model_folder, model).warm_up()


def test_other_faults_of_torch_stay_what_they_are(model_folder: Path) -> None:
    def model(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.zeros(2, 3) @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        make_engine(model_folder, model).warm_up()
