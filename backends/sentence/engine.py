"""The engine: padded batches through an encoder model, pooled and normalised.

Owns everything that touches torch. Gets batches already cut to a token budget and sorted by length; must
not queue, split or time anything itself.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from backends.base import BatchEngine, OutOfMemory
from backends.protocol import EmbeddingResult, Result
from backends.sentence.files import ModelFacts, Pooling, batch_tokens
from backends.sentence.prepare import SentenceItem
from config.schema import SentenceParameters


class NotFinite(ArithmeticError):
    """The model gave NaN or infinity: an answer that must not go out as numbers."""


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
        torch.set_num_threads(_threads(parameters))
        with _out_of_memory():
            model = _read_model(folder, parameters.dtype).to(device)
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
        with _out_of_memory(), torch.inference_mode():
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


def _read_model(folder: Path, dtype: str) -> Any:
    """The network from safetensors only: no pickle, no code of the model's own, nothing downloaded."""
    transformers_logging.disable_progress_bar()
    try:
        model, found = AutoModel.from_pretrained(
            str(folder),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder}: {error}") from error
    # Transformers makes up random weights for what a file lacks. Only the pooler's are never used here.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"{folder}: the files hold no weights for {', '.join(missing[:3])}")
    return model


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


def _threads(parameters: SentenceParameters) -> int:
    if parameters.n_threads != "auto":
        return parameters.n_threads
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """Torch's ways of saying that there is no room, as the contract's OutOfMemory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise OutOfMemory(str(error)) from error
        raise
