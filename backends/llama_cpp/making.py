"""Makes the sequences of a job: how each is sampled, bounded and read. Must not know who runs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends.base import JobError
from backends.llama_cpp.adapters import LoraSets
from backends.llama_cpp.answer import GrowingAnswer
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.encoder import Prompts
from backends.llama_cpp.guide import Guide, GuideError, Guides
from backends.llama_cpp.media_prompt import MediaPrompt
from backends.llama_cpp.model import TokenArray, Vocabulary
from backends.llama_cpp.sampling import Sampling, build_chain, choose_seed, greedy, resolve
from backends.llama_cpp.sequence import JobState, Sequence
from backends.protocol import GenerateParameters


class SequenceMaker:
    """`defaults` are the model's own sampling values."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        defaults: Mapping[str, float],
        context_length: int,
        *,
        guides: Guides | None,
        adapters: LoraSets | None,
    ) -> None:
        self._vocabulary_size = vocabulary.size
        self._end_tokens = vocabulary.end_tokens()
        self._suppressed = vocabulary.suppressed_tokens()
        self._defaults = defaults
        self._context_length = context_length
        self._guides = guides
        self._adapters = adapters

    def sequences(
        self, state: JobState, items: list[PreparedPrompt], media: Prompts | None = None
    ) -> list[Sequence]:
        """`n` answers to each item, in the order of their indices. Raises JobError.

        `media`: of items that hold any, what they became.
        """
        key = self._adapter_key(state.parameters)
        answers = state.job.answers
        made: list[Sequence] = []
        for item, shown in zip(items, media or [None] * len(items), strict=True):
            if shown is None:
                prompt = np.frombuffer(item.tokens, dtype="<i4").astype(np.int32)
                self._check_prompt(prompt)
            else:
                prompt = shown.tokens
            made += [
                self._sequence(state, len(made) + number, item, prompt, key=key, number=number, media=shown)
                for number in range(answers)
            ]
        return made

    def _sequence(
        self,
        state: JobState,
        index: int,
        item: PreparedPrompt,
        prompt: TokenArray,
        *,
        key: str,
        number: int,
        media: MediaPrompt | None,
    ) -> Sequence:
        """`number`: which of several answers to the same item it is."""
        parameters = state.parameters
        sampling = resolve(parameters, self._defaults)
        bias = self._bias(parameters)
        room = self._context_length - len(prompt)
        wanted = parameters.max_tokens or int(self._defaults.get("max_tokens", room))
        return Sequence(
            state,
            index,
            prompt,
            max(min(wanted, room), 1),
            GrowingAnswer(state.job.id, index, item.format, parameters.stop, streams=state.job.stream),
            make_chain=self._chain_maker(sampling, bias, parameters.seed, prompt, number),
            greedy=greedy(sampling, bias),
            make_guide=lambda: self._guide(item),
            key=key,
            echo=item.echo,
            visible=frozenset(item.visible),
            media=media,
        )

    def _check_prompt(self, prompt: TokenArray) -> None:
        if len(prompt) == 0 or int(prompt.min()) < 0 or int(prompt.max()) >= self._vocabulary_size:
            raise JobError("the prompt is empty or holds a token outside the vocabulary", param="prompt")
        if len(prompt) >= self._context_length:
            raise JobError(
                f"This model's maximum context length is {self._context_length} tokens. "
                f"However, your prompt has {len(prompt)} tokens.",
                param="prompt",
                code="context_length_exceeded",
            )

    def _adapter_key(self, parameters: GenerateParameters) -> str:
        if not parameters.adapters:
            return ""
        if self._adapters is None:
            raise JobError("this model has no adapters", param="lora")
        try:
            return self._adapters.key(parameters.adapters)
        except ValueError as error:
            raise JobError(str(error), param="lora") from error

    def _guide(self, item: PreparedPrompt) -> Guide | None:
        if not item.grammar:
            return None
        if self._guides is None:
            raise GuideError("this model follows no grammar")
        return self._guides.guide(item.grammar, item.triggers, item.format)

    def _bias(self, parameters: GenerateParameters) -> dict[int, float]:
        bias = dict(parameters.logit_bias) | dict.fromkeys(self._suppressed, -np.inf)
        if parameters.ignore_eos:
            bias |= dict.fromkeys(self._end_tokens, -np.inf)
        return bias

    def _chain_maker(
        self, sampling: Sampling, bias: Mapping[int, float], seed: int | None, prompt: TokenArray, number: int
    ) -> Callable[[], Any]:
        chosen = choose_seed(None if seed is None else seed + number)
        window = sampling.repeat_last_n if sampling.repeat_last_n >= 0 else len(prompt)

        def make_chain() -> Any:
            tail = prompt[max(len(prompt) - window, 0) :]
            tail = tail[tail >= 0].tolist()  # pictures are no words that could be repeated
            return build_chain(
                sampling,
                bias,
                seed=chosen,
                n_vocab=self._vocabulary_size,
                n_ctx=self._context_length,
                prompt=tail,
            )

        return make_chain
