"""One generation in the engine, and the job it belongs to: their state, and what a new token does to it.

A sequence's history is prompt and answer together; the cache holds the first `held` tokens of it. Decoding,
prefill and taking up again after a preemption are all the same: bring `held` up to `length`, then sample.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from backends.llama_cpp.answer import FinishReason, GrowingAnswer
from backends.llama_cpp.cache import Holder
from backends.llama_cpp.guide import Guide
from backends.llama_cpp.media_prompt import MediaPrompt
from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.sampling import Greedy
from backends.protocol import Delta, GenerateParameters, GenerationResult, Job, Timings, TokenLogprob


class JobState:
    """A job's sequences and when its phases began, seconds of the engine's clock."""

    def __init__(self, job: Job, added_at: float) -> None:
        assert isinstance(job.parameters, GenerateParameters)
        self.job = job
        self.parameters: GenerateParameters = job.parameters
        self.sequences: list[Sequence] = []
        self.added_at = added_at
        self.started_at: float | None = None
        self.first_token_at: float | None = None
        self.open_answers = job.result_count

    def timings(self, now: float) -> Timings:
        """Of a job that ends now; what it shows was read in the time before its first token."""
        started_at = self.started_at if self.started_at is not None else now
        first_at = self.first_token_at if self.first_token_at is not None else now
        return Timings(
            queue_s=started_at - self.added_at, prefill_s=first_at - started_at, decode_s=now - first_at
        )


class Sequence:
    """`seq_id` is -1 while it holds no place in the cache."""

    def __init__(
        self,
        owner: JobState,
        index: int,
        prompt: TokenArray,
        max_new: int,
        answer: GrowingAnswer,
        *,
        make_chain: Callable[[], Any],
        make_guide: Callable[[], Guide | None],
        greedy: Greedy | None = None,
        key: str = "",
        echo: str = "",
        visible: frozenset[int] = frozenset(),
        media: MediaPrompt | None = None,
    ) -> None:
        self.owner = owner
        self.index = index
        self.prompt_tokens = len(prompt)
        self.media = media
        """Pictures and sound in its prompt."""
        self.shift = 0 if media is None else media.shift
        """What is added to an index in its answer to make a position."""
        self.history = np.empty(len(prompt) + max_new, dtype=np.int32)
        self.history[: len(prompt)] = prompt
        self.length = len(prompt)
        self.held = 0
        self.seq_id = -1
        self.rank = (0, 0)
        """(-priority, order of arrival): the smaller the more deserving."""
        self.max_new = max_new
        self.key = key
        """What its cells depend on beside its tokens: the adapters."""
        self.chain: Any = None
        self.make_chain = make_chain
        self.greedy = greedy
        """Chooses as its chain would, where that is simple."""
        self.guide: Guide | None = None
        self.make_guide = make_guide
        self.answer = answer
        self.echo = echo
        self.visible = visible
        self.logprobs = owner.parameters.logprobs
        self.prompt_logprobs: list[TokenLogprob] | None = (
            [] if owner.parameters.echo and self.logprobs is not None else None
        )
        """Of an echoed prompt; every row of it needs logits, so nothing of it may come from elsewhere."""
        self.cached: int | None = None
        """Prompt tokens that were there when it first joined."""
        self.forced = 0
        """Newest tokens that the grammar chose: they are still to be decoded."""
        self.draft: list[int] = []
        """Tokens foretold for this step."""
        self.drafted = 0
        self.finish_reason: FinishReason | None = None

    @property
    def new_tokens(self) -> int:
        return self.length - self.prompt_tokens

    @property
    def answering(self) -> bool:
        """Nothing but its newest tokens is missing in the cache."""
        return self.length - self.held <= 1 + self.forced

    @property
    def room(self) -> int:
        """Tokens that it may still write."""
        return self.max_new - self.new_tokens

    def position(self, index: int) -> int:
        """Where a token of its history stands for the decoder."""
        return index if self.media is None else self.media.position(index)

    def holder(self) -> Holder:
        return Holder(self.seq_id, self.history[: self.held], self.key)

    def begin(self) -> Delta | None:
        """Its prompt is computed: what the answer shows of it."""
        if not self.echo and not self.prompt_logprobs:
            return None
        logprobs, self.prompt_logprobs = self.prompt_logprobs or [], None
        echo, self.echo = self.echo, ""
        return self.answer.echo(echo, logprobs)

    def append(self, token: int, piece: bytes, logprob: TokenLogprob | None = None) -> Delta | None:
        """Take a token that ends nothing; what a stream may now show."""
        self.history[self.length] = token
        self.length += 1
        delta = self.answer.feed(piece, logprob)
        if self.answer.stopped:
            self.finish_reason = "stop"
        elif self.room <= 0:
            self.finish_reason = "length"
        return delta

    def result(self) -> GenerationResult:
        """Of a finished sequence. What went out as deltas is not in it."""
        assert self.finish_reason is not None
        result = self.answer.result(
            self.finish_reason,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.new_tokens,
            cached=self.cached or 0,
            drafted=self.drafted,
        )
        return result if self.media is None else replace(result, audio_tokens=self.media.audio_tokens)
