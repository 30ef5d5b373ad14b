"""What every backend asks of the inputs of an embedding job, whatever tokenises them.

Owns the meaning of integer input, the special tokens around it, and the checks of length and dimensions.
Must not know any tokenizer or model library.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from backends.base import JobError
from backends.openai_tokens import OpenAITokens
from backends.protocol import EmbedParameters, Item, Job, Text, Tokens


class InputLimits(Struct, frozen=True):
    """What a model takes, and the tokens that stand around every input."""

    vocabulary_size: int
    dimensions: int
    max_tokens: int
    """Longest input, special tokens counted; 0: no limit."""
    before: list[int]
    after: list[int]


class EmbeddingInputs:
    """Turns the items of a job into token ids, in order."""

    def __init__(
        self,
        limits: InputLimits,
        token_input: Literal["model", "cl100k"],
        encode: Callable[[list[str]], list[list[int]]],
    ) -> None:
        """`encode`: texts to ids with the special tokens around them; control tokens in a text stay text."""
        self._limits = limits
        self._encode = encode
        self._openai_tokens = OpenAITokens() if token_input == "cl100k" else None

    def token_ids(self, job: Job) -> list[list[int]]:
        """Ids of every input, special tokens included. Raises JobError naming the input at fault."""
        self._check_dimensions(job)
        pieces = [self._resolve(item, index) for index, item in enumerate(job.items)]
        encoded = iter(self._encode([piece for piece in pieces if isinstance(piece, str)]))
        sequences = [next(encoded) if isinstance(piece, str) else piece for piece in pieces]
        for index, sequence in enumerate(sequences):
            self._check_length(sequence, index)
        return sequences

    def _check_dimensions(self, job: Job) -> None:
        wanted = job.parameters.dimensions if isinstance(job.parameters, EmbedParameters) else None
        if wanted not in (None, self._limits.dimensions):
            raise JobError(
                f"This model's embeddings have {self._limits.dimensions} dimensions; "
                "it was not trained to have them cut.",
                param="dimensions",
            )

    def _resolve(self, item: Item, index: int) -> str | list[int]:
        """An item as text still to be encoded, or as the model's own ids."""
        if isinstance(item, Text):
            return item.text
        if not isinstance(item, Tokens):
            raise JobError(f"Input {index} is no plain text; embeddings take text.", param="input")
        if self._openai_tokens is not None:
            return self._openai_tokens.decode(item.ids, index)
        return self._own_ids(item.ids, index)

    def _own_ids(self, ids: Sequence[int], index: int) -> list[int]:
        """Ids of the model's vocabulary, put between its special tokens unless they stand there already."""
        size, before, after = self._limits.vocabulary_size, self._limits.before, self._limits.after
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise JobError(
                f"Input {index} has the token id {wrong}, but integer input must be this model's own token "
                f"ids, 0 to {size - 1} (not OpenAI's). Send text instead, or set `token_input: cl100k` on "
                "the model.",
                param="input",
                code="invalid_token_id",
            )
        sequence = list(ids)
        framed = (
            len(sequence) >= len(before) + len(after)
            and sequence[: len(before)] == before
            and sequence[len(sequence) - len(after) :] == after
        )
        return sequence if framed else before + sequence + after

    def _check_length(self, ids: Sequence[int], index: int) -> None:
        limit = self._limits.max_tokens
        if not ids:
            raise JobError(f"Input {index} is empty, and this model cannot embed nothing.", param="input")
        if limit and len(ids) > limit:
            raise JobError(
                f"Input {index} has {len(ids)} tokens, but this model takes at most {limit}. "
                "Split the text into shorter inputs.",
                param="input",
                code="context_length_exceeded",
            )
