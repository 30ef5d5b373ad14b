"""Turns the items of an embedding job into the model's token ids.

Owns tokenising, the meaning of integer input and the length check. Must not import torch or transformers:
the prepare helper starts often and has to be quick.

Control tokens inside a text (a typed `[SEP]`) stay text. Nothing is ever truncated: `tokenizer.json` may
carry truncation and padding settings, which are switched off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from backends.base import JobError, PreparedItem, Preparer
from backends.protocol import Chat, EmbedParameters, Infill, Item, Job, Text, Tokens
from backends.sentence.files import ModelFacts
from backends.sentence.openai_tokens import OpenAITokens


class SentenceItem(PreparedItem, gc=False):
    """Token ids of one input, special tokens included."""

    ids: list[int]


class SentencePreparer(Preparer[SentenceItem]):
    def __init__(self, folder: Path, facts: ModelFacts, token_input: Literal["model", "cl100k"]) -> None:
        self._facts = facts
        self._tokenizer = _open_tokenizer(folder)
        self._prefix, self._suffix = _special_ends(self._tokenizer)
        self._openai_tokens = OpenAITokens() if token_input == "cl100k" else None

    def prepare(self, job: Job) -> list[SentenceItem]:
        """One item of ids for each text or token list. Raises JobError naming the input at fault."""
        self._check_dimensions(job)
        pieces = [self._resolve(item, index) for index, item in enumerate(job.items)]
        texts = [piece for piece in pieces if isinstance(piece, str)]
        encoded = iter(self._encode(texts))
        ids = [next(encoded) if isinstance(piece, str) else piece for piece in pieces]
        for index, sequence in enumerate(ids):
            self._check_length(sequence, index)
        return [SentenceItem(sequence) for sequence in ids]

    def _check_dimensions(self, job: Job) -> None:
        wanted = job.parameters.dimensions if isinstance(job.parameters, EmbedParameters) else None
        if wanted not in (None, self._facts.dimensions):
            raise JobError(
                f"This model's embeddings have {self._facts.dimensions} dimensions; "
                "it was not trained to have them cut.",
                param="dimensions",
            )

    def _resolve(self, item: Item, index: int) -> str | list[int]:
        """An item as text still to be encoded, or as the model's own ids."""
        match item:
            case Text(text=text):
                return text
            case Tokens(ids=ids) if self._openai_tokens is not None:
                return self._openai_tokens.decode(ids, index)
            case Tokens(ids=ids):
                return self._own_ids(ids, index)
            case Chat() | Infill():
                raise JobError(f"Input {index} is no plain text; embeddings take text.", param="input")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if self._facts.lower_case:
            texts = [text.lower() for text in texts]
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]

    def _own_ids(self, ids: Sequence[int], index: int) -> list[int]:
        """Ids of the model's vocabulary, put between its special tokens unless they stand there already."""
        size = self._facts.vocabulary_size
        if any(not 0 <= token < size for token in ids):
            wrong = next(token for token in ids if not 0 <= token < size)
            raise JobError(
                f"Input {index} has the token id {wrong}, but integer input must be this model's own token "
                f"ids, 0 to {size - 1} (not OpenAI's). Send text instead, or set `token_input: cl100k` on "
                "the model.",
                param="input",
                code="invalid_token_id",
            )
        sequence = list(ids)
        before, after = self._prefix, self._suffix
        framed = (
            len(sequence) >= len(before) + len(after)
            and sequence[: len(before)] == before
            and sequence[len(sequence) - len(after) :] == after
        )
        return sequence if framed else before + sequence + after

    def _check_length(self, ids: Sequence[int], index: int) -> None:
        limit = self._facts.max_tokens
        if not ids:
            raise JobError(f"Input {index} is empty, and this model cannot embed nothing.", param="input")
        if limit and len(ids) > limit:
            raise JobError(
                f"Input {index} has {len(ids)} tokens, but this model takes at most {limit}. "
                "Split the text into shorter inputs.",
                param="input",
                code="context_length_exceeded",
            )


def _open_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for a missing or broken file
        raise ValueError(f"{path}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Despite its name: encode the special tokens' *spelling* as ordinary text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _special_ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer's post-processor puts before and after a text."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    start = mask.index(0) if 0 in mask else len(mask)
    end = len(mask) - (mask[::-1].index(0) if 0 in mask else 0)
    return list(encoding.ids[:start]), list(encoding.ids[end:])
