"""Turns the items of an embedding job into the model's token ids.

Owns tokenising by the folder's `tokenizer.json`. Must not import torch or transformers: the prepare helper
starts often and has to be quick.

Control tokens inside a text (a typed `[SEP]`) stay text. Nothing is ever truncated: `tokenizer.json` may
carry truncation and padding settings, which are switched off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from backends.base import JobError, PreparedItem, Preparer
from backends.embedding_inputs import EmbeddingInputs, InputLimits
from backends.protocol import Chat, Item, Job, Result, Text, TokenizeParameters
from backends.sentence.files import ModelFacts
from backends.tokenizer_file import open_tokenizer, special_ends
from backends.tokens import answer


class SentenceItem(PreparedItem, gc=False):
    """Token ids of one input, special tokens included."""

    ids: list[int]


class SentencePreparer(Preparer[SentenceItem]):
    def __init__(self, folder: Path, facts: ModelFacts, token_input: Literal["model", "cl100k"]) -> None:
        self._lower_case = facts.lower_case
        self._size = facts.vocabulary_size
        self._tokenizer = open_tokenizer(folder)
        before, after = special_ends(self._tokenizer)
        limits = InputLimits(facts.vocabulary_size, facts.dimensions, facts.max_tokens, before, after)
        self._inputs = EmbeddingInputs(limits, token_input, self._encode)

    def prepare(self, job: Job) -> list[SentenceItem]:
        """One item of ids for each text or token list. Raises JobError naming the input at fault."""
        return [SentenceItem(ids) for ids in self._inputs.token_ids(job)]

    def answer(self, job: Job) -> list[Result]:
        return answer(job, SentenceTokenizer(self._tokenizer, self._size, self._lower_case))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if self._lower_case:
            texts = [text.lower() for text in texts]
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]


class SentenceTokenizer:
    """The folder's tokenizer as tokenize and detokenize jobs see it; see backends.tokens.Tokenizer."""

    def __init__(self, tokenizer: Tokenizer, size: int, lower_case: bool) -> None:
        self.size = size
        self._tokenizer = tokenizer
        self._lower_case = lower_case

    def encode(self, item: Item, parameters: TokenizeParameters) -> list[int]:
        if isinstance(item, Chat):
            raise JobError("this model takes texts, no conversations", param="messages")
        if not isinstance(item, Text):
            raise JobError("only a text becomes tokens", param="prompt")
        text = item.text.lower() if self._lower_case else item.text
        self._tokenizer.encode_special_tokens = not parameters.parse_special
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=parameters.add_special).ids)
        finally:
            self._tokenizer.encode_special_tokens = True

    def piece(self, token: int) -> bytes:
        return (self._tokenizer.id_to_token(token) or "").encode()

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
