"""The engine: batches of pictures through BLIP, captions written token by token together.

Owns everything that touches torch. A batch holds pictures of any requests whose prompts have the same number
of tokens, so that nothing is padded and a caption does not depend on its company.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import BlipForConditionalGeneration

from backends.base import BatchEngine
from backends.blip.files import BlipFacts
from backends.blip.prepare import BlipItem
from backends.protocol import CaptionResult, Result
from backends.tokenizer_file import open_tokenizer
from backends.torch_model import out_of_memory, read_model, use_threads
from backends.vision.files import batch_items, seen_at_once
from backends.vision.tensors import pixel_values, seen
from config.parameters import BlipParameters


class BlipEngine(BatchEngine[BlipItem]):
    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        facts: BlipFacts,
        *,
        device: str,
        num_beams: int,
        max_items: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._facts = facts
        self._device = torch.device(device)
        self._num_beams = num_beams
        self._seen_at_once = seen_at_once(device, facts.vision)
        self.max_batch_items = max_items
        self.max_batch_cost = max_items

    @classmethod
    def load(
        cls, folder: Path, facts: BlipFacts, parameters: BlipParameters, device: str, dtype: str
    ) -> "BlipEngine":
        """The model on `device`. Raises ValueError for files that are broken or not whole."""
        use_threads(parameters.n_threads)
        with out_of_memory():
            model = read_model(BlipForConditionalGeneration, folder, dtype).to(device).eval()
        return cls(
            model,
            open_tokenizer(folder),
            facts,
            device=device,
            num_beams=parameters.num_beams,
            max_items=batch_items(device, parameters),
        )

    def warm_up(self) -> None:
        grey = bytes([128]) * self._facts.preprocessing.pixel_bytes
        self.forward([None], [BlipItem(grey, [self._facts.begin], 2)])

    def batch_key(self, item: BlipItem) -> Hashable:
        return len(item.ids), item.max_tokens

    def forward(self, job_parameters: Sequence[Any], items: Sequence[BlipItem]) -> list[Result]:
        with out_of_memory(), torch.inference_mode():
            rows = self._write(items).cpu().tolist()
        return [self._result(row[len(item.ids) :], item) for row, item in zip(rows, items, strict=True)]

    def _write(self, items: Sequence[BlipItem]) -> torch.Tensor:
        """Token ids of the captions with what they begin with, filled up behind the token that ends them."""
        pixels = pixel_values([item.pixels for item in items], self._facts.preprocessing, self._device)
        states = seen(self._look, pixels.to(self._model.dtype), self._seen_at_once)
        ids = torch.tensor([item.ids for item in items], device=self._device)
        # As the whole model's `generate` does it, which would encode all pictures together.
        written: torch.Tensor = self._model.text_decoder.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:-1], dtype=torch.long, device=self._device),
            eos_token_id=self._facts.end,
            pad_token_id=self._facts.pad,
            max_new_tokens=items[0].max_tokens,
            num_beams=self._num_beams,
            do_sample=False,
        )
        return written

    def _look(self, pixels: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._model.vision_model(pixel_values=pixels).last_hidden_state
        return states

    def _result(self, written: list[int], item: BlipItem) -> CaptionResult:
        ended = self._facts.end in written
        kept = written[: written.index(self._facts.end)] if ended else written
        prompt = item.ids[1:]
        text = self._tokenizer.decode([*prompt, *kept], skip_special_tokens=True).strip()
        return CaptionResult(text, len(prompt), len(kept), "stop" if ended else "length")
