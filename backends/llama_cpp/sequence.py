"""One generation in the engine, and the job it belongs to: their state, and what a new token does to it.

A sequence's history is prompt and answer together; the cache holds the first `held` tokens of it. Decoding,
prefill and taking up again after a preemption are all the same: bring `held` up to `length`, then sample.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.text import TextAssembler
from backends.protocol import Delta, GenerationResult, Job

FinishReason = Literal["stop", "length"]


class JobState:
    """A job's sequences and when its phases began, seconds of the engine's clock."""

    def __init__(self, job: Job, added_at: float) -> None:
        self.job = job
        self.sequences: list[Sequence] = []
        self.added_at = added_at
        self.started_at: float | None = None
        self.first_token_at: float | None = None
        self.open_items = len(job.items)


class Sequence:
    """`seq_id` is -1 while it holds no place in the cache."""

    def __init__(
        self, owner: JobState, item: int, prompt: TokenArray, max_new: int, make_chain: Callable[[], Any]
    ) -> None:
        self.owner = owner
        self.item = item
        self.prompt_tokens = len(prompt)
        self.history = np.empty(len(prompt) + max_new, dtype=np.int32)
        self.history[: len(prompt)] = prompt
        self.length = len(prompt)
        self.held = 0
        self.seq_id = -1
        self.rank = (0, 0)
        """(-priority, order of arrival): the smaller the more deserving."""
        self.max_new = max_new
        self.chain: Any = None
        self.make_chain = make_chain
        self.finish_reason: FinishReason | None = None
        self._assembler = TextAssembler(owner.job.parameters.stop)  # type: ignore[union-attr]
        self._parts: list[str] = []
        self._untold_tokens = 0

    @property
    def new_tokens(self) -> int:
        return self.length - self.prompt_tokens

    def append(self, token: int, piece: bytes) -> Delta | None:
        """Take a sampled token that ends nothing; what a stream may now show."""
        self.history[self.length] = token
        self.length += 1
        self._untold_tokens += 1
        text = self._assembler.feed(piece)
        if self._assembler.stopped:
            self.finish_reason = "stop"
        elif self.new_tokens >= self.max_new:
            text += self._assembler.finish()
            self.finish_reason = "length"
        return self._show(text)

    def end(self) -> Delta | None:
        """The model has ended its answer; what had been held back."""
        self.finish_reason = "stop"
        return self._show(self._assembler.finish())

    def result(self) -> GenerationResult:
        """Of a finished sequence. The text is there only if it did not go out as deltas."""
        assert self.finish_reason is not None
        return GenerationResult(
            "".join(self._parts), self.finish_reason, self.prompt_tokens, self.new_tokens, cached_tokens=0
        )

    def _show(self, text: str) -> Delta | None:
        if not text:
            return None
        if not self.owner.job.stream:
            self._parts.append(text)
            return None
        tokens, self._untold_tokens = self._untold_tokens, 0
        return Delta(self.owner.job.id, self.item, text, tokens)
