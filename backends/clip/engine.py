"""The engine: pictures and texts through CLIP's two towers.

Owns everything that touches torch, and the vectors of labels that came lately: clients ask with the same ones
again and again.
"""

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel

from backends.base import BatchEngine
from backends.clip.files import ClipFacts
from backends.clip.prepare import ClipItem
from backends.protocol import ClassifyResult, EmbeddingResult, Result
from backends.torch_model import NotFinite, out_of_memory, read_model, use_threads
from backends.vision.files import batch_items, seen_at_once
from backends.vision.tensors import pixel_values, seen
from config.parameters import ClipParameters

_KEPT_LABELS = 4096
Ids = tuple[int, ...]


class ClipEngine(BatchEngine[ClipItem]):
    def __init__(
        self, model: Any, facts: ClipFacts, *, device: str, normalize: bool, max_pictures: int, max_texts: int
    ) -> None:
        self._model = model
        self._facts = facts
        self._device = torch.device(device)
        self._normalize = normalize
        self._max_texts = max_texts
        self._seen_at_once = seen_at_once(device, facts.vision)
        self._labels: dict[Ids, torch.Tensor] = {}
        self._picture_cost = max(1, max_texts * facts.positions // max_pictures)
        self.max_batch_items = max_texts
        self.max_batch_cost = max_texts * facts.positions

    @classmethod
    def load(
        cls, folder: Path, facts: ClipFacts, parameters: ClipParameters, device: str, dtype: str
    ) -> "ClipEngine":
        """The model on `device`. Raises ValueError for files that are broken or not whole."""
        use_threads(parameters.n_threads)
        with out_of_memory():
            model = read_model(CLIPModel, folder, dtype).to(device).eval()
        pictures = batch_items(device, parameters)
        return cls(
            model,
            facts,
            device=device,
            normalize=parameters.normalize,
            max_pictures=pictures,
            max_texts=4 * pictures,
        )

    def warm_up(self) -> None:
        grey = bytes([128]) * self._facts.preprocessing.pixel_bytes
        self.forward([None, None], [ClipItem(grey), ClipItem(texts=[[0]])])

    def cost(self, item: ClipItem) -> int:
        return self._picture_cost if item.pixels else len(item.texts[0])

    def batch_key(self, item: ClipItem) -> Hashable:
        return bool(item.pixels)

    def forward(self, job_parameters: Sequence[Any], items: Sequence[ClipItem]) -> list[Result]:
        """Raises NotFinite if any result is no number, so that the caller finds which."""
        with out_of_memory(), torch.inference_mode():
            seen = iter(self._see([item.pixels for item in items if item.pixels]))
            read = iter(self._read([tuple(item.texts[0]) for item in items if not item.pixels]))
            self._learn(ids for item in items if item.pixels for ids in map(tuple, item.texts))
            return [
                self._embedding(next(read), len(item.texts[0]))
                if not item.pixels
                else self._weighed(next(seen), item.texts)
                if item.texts
                else self._embedding(next(seen), 0)
                for item in items
            ]

    def _see(self, pixels: list[bytes]) -> torch.Tensor | list[torch.Tensor]:
        """[pictures, dimensions], not normalised."""
        if not pixels:
            return []
        values = pixel_values(pixels, self._facts.preprocessing, self._device).to(self._model.dtype)
        return seen(self._look, values, self._seen_at_once)

    def _look(self, values: torch.Tensor) -> torch.Tensor:
        states = self._model.vision_model(pixel_values=values).pooler_output
        vectors: torch.Tensor = self._model.visual_projection(states).float()
        return vectors

    def _read(self, texts: list[Ids]) -> list[torch.Tensor]:
        """A vector a text, not normalised; so many at once as the engine takes."""
        parts = [texts[start : start + self._max_texts] for start in range(0, len(texts), self._max_texts)]
        return [vector for part in parts for vector in self._read_together(part)]

    def _read_together(self, texts: list[Ids]) -> torch.Tensor:
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[self._facts.pad] * (longest - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        states = self._model.text_model(
            input_ids=ids.to(self._device), attention_mask=mask.to(self._device)
        ).pooler_output
        vectors: torch.Tensor = self._model.text_projection(states).float()
        return vectors

    def _learn(self, labels: Iterator[Ids]) -> None:
        """Have the vectors of these labels; those used longest ago go where there are too many."""
        wanted = dict.fromkeys(labels)
        new = [ids for ids in wanted if ids not in self._labels]
        vectors = torch.nn.functional.normalize(torch.stack(self._read(new)), dim=1) if new else []
        self._labels |= {ids: self._labels.pop(ids) for ids in wanted if ids in self._labels}
        self._labels |= zip(new, vectors, strict=True)
        excess = len(self._labels) - max(_KEPT_LABELS, len(wanted))
        for ids in list(self._labels)[: max(0, excess)]:
            del self._labels[ids]

    def _weighed(self, picture: torch.Tensor, labels: list[list[int]]) -> ClassifyResult:
        vectors = torch.stack([self._labels[tuple(ids)] for ids in labels])
        scale = self._model.logit_scale.float().exp()
        likeness = vectors @ torch.nn.functional.normalize(picture, dim=0)
        scores = torch.softmax(scale * likeness, dim=0)
        return ClassifyResult(_bytes(scores), sum(map(len, labels)))

    def _embedding(self, vector: torch.Tensor, tokens: int) -> EmbeddingResult:
        if self._normalize:
            vector = torch.nn.functional.normalize(vector, dim=0)
        return EmbeddingResult(_bytes(vector), len(vector), tokens)


def _bytes(values: torch.Tensor) -> bytes:
    """Little-endian float32. Raises NotFinite."""
    if not bool(torch.isfinite(values).all()):
        raise NotFinite("the model's result is not a finite number")
    data: bytes = values.cpu().numpy().astype("<f4", copy=False).tobytes()
    return data
