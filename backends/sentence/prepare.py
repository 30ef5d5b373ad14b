"""Turns the items of an embedding job into the model's token ids.

Owns tokenising by the folder's `tokenizer.json`. Must not import torch or transformers: the prepare helper
starts often and has to be quick.

Control tokens inside a text (a typed `[SEP]`) stay text. Nothing is ever truncated: `tokenizer.json` may
carry truncation and padding settings, which are switched off.
"""

from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from backends.base import PreparedItem, Preparer
from backends.embedding_inputs import EmbeddingInputs, InputLimits
from backends.protocol import Job
from backends.sentence.files import ModelFacts


class SentenceItem(PreparedItem, gc=False):
    """Token ids of one input, special tokens included."""

    ids: list[int]


class SentencePreparer(Preparer[SentenceItem]):
    def __init__(self, folder: Path, facts: ModelFacts, token_input: Literal["model", "cl100k"]) -> None:
        self._lower_case = facts.lower_case
        self._tokenizer = _open_tokenizer(folder)
        before, after = _special_ends(self._tokenizer)
        limits = InputLimits(facts.vocabulary_size, facts.dimensions, facts.max_tokens, before, after)
        self._inputs = EmbeddingInputs(limits, token_input, self._encode)

    def prepare(self, job: Job) -> list[SentenceItem]:
        """One item of ids for each text or token list. Raises JobError naming the input at fault."""
        return [SentenceItem(ids) for ids in self._inputs.token_ids(job)]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if self._lower_case:
            texts = [text.lower() for text in texts]
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]


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
