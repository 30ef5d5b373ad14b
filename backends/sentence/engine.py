"""The engine: padded batches through an encoder model, pooled and normalised.

Owns everything that touches torch. Gets batches already cut to a token budget and sorted by length; must
not queue, split or time anything itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from backends.base import BatchEngine
from backends.protocol import EmbeddingResult, Result
from backends.sentence.files import ModelFacts, Pooling, batch_tokens
from backends.sentence.prepare import SentenceItem
from backends.torch_model import NotFinite, out_of_memory, read_model, use_threads
from config.parameters import SentenceParameters


class SentenceEngine(BatchEngine[SentenceItem]):
    def __init__(
        self, model: Any, facts: ModelFacts, *, device: str, normalize: bool, max_cost: int, max_items: int
    ) -> None:
        self._model = model
        self._facts = facts
        self._device = torch.device(device)
        self._normalize = normalize
        self.max_batch_cost = max_cost
        self.max_batch_items = max_items

    @classmethod
    def load(
        cls, folder: Path, facts: ModelFacts, parameters: SentenceParameters, device: str
    ) -> "SentenceEngine":
        """The model on `device`. Raises ValueError for files that are broken or not whole."""
        use_threads(parameters.n_threads)
        with out_of_memory():
            # The pooler of an encoder is never used here.
            model = read_model(AutoModel, folder, parameters.dtype, ["pooler."]).to(device)
        return cls(
            model.eval(),
            facts,
            device=device,
            normalize=parameters.normalize,
            max_cost=batch_tokens(parameters, device),
            max_items=parameters.batch_items,
        )

    def warm_up(self) -> None:
        self.forward([None], [SentenceItem([self._facts.pad_token_id] * 8)])

    def cost(self, item: SentenceItem) -> int:
        return len(item.ids)

    def forward(self, job_parameters: Sequence[Any], items: Sequence[SentenceItem]) -> list[Result]:
        """One vector an item. Raises NotFinite if any is no vector, so that the caller finds which."""
        with out_of_memory(), torch.inference_mode():
            ids, mask = _pad([item.ids for item in items], self._facts.pad_token_id)
            ids, mask = ids.to(self._device), mask.to(self._device)
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors = _pool(states.float(), mask, self._facts.pooling)
            if self._normalize:
                vectors = torch.nn.functional.normalize(vectors, dim=1)
            rows = vectors.cpu().numpy().astype("<f4", copy=False)
        if not bool(torch.isfinite(vectors).all()):
            raise NotFinite("the model's result is not a finite number")
        return [
            EmbeddingResult(vector=row.tobytes(), dimensions=len(row), prompt_tokens=len(item.ids))
            for row, item in zip(rows, items, strict=True)
        ]


def _pad(sequences: list[list[int]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, both [items, longest], padded on the right."""
    longest = max(map(len, sequences))
    ids = torch.tensor([row + [pad_token_id] * (longest - len(row)) for row in sequences])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in sequences])
    return ids, mask


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[items, tokens, dimensions] to [items, dimensions]: the first token, or the mean of the unpadded."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
