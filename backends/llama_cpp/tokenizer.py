"""A GGUF vocabulary as tokenize and detokenize jobs see it. Holds no weights."""

from collections.abc import Callable, Sequence

import numpy as np

from backends.base import JobError
from backends.llama_cpp.model import TokenArray, Vocabulary
from backends.protocol import Chat, Item, Text, TokenizeParameters


class VocabularyTokenizer:
    """See backends.tokens.Tokenizer."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        before: Sequence[int],
        after: Sequence[int],
        render: Callable[[Chat], TokenArray] | None = None,
    ) -> None:
        """`before` and `after`: what the model's other jobs put around a text.

        `render`: a conversation's tokens, ready to be answered.
        """
        self.size = vocabulary.size
        self._vocabulary = vocabulary
        self._before = list(before)
        self._after = list(after)
        self._render = render

    def encode(self, item: Item, parameters: TokenizeParameters) -> list[int]:
        if isinstance(item, Chat):
            if self._render is None:
                raise JobError("this model takes texts, no conversations", param="messages")
            return list(self._render(item).tolist())
        if not isinstance(item, Text):
            raise JobError("only a text or a conversation becomes tokens", param="prompt")
        vocabulary = self._vocabulary
        ids: list[int] = vocabulary.tokenize(item.text, parse_special=parameters.parse_special).tolist()
        if not parameters.add_special:
            return ids
        begun = bool(self._before) and ids[: len(self._before)] == self._before
        return [*([] if begun else self._before), *ids, *self._after]

    def piece(self, token: int) -> bytes:
        return self._vocabulary.piece(token) or self._vocabulary.text(token).encode()

    def decode(self, ids: Sequence[int]) -> str:
        return self._vocabulary.detokenize(np.array(ids, dtype=np.int32))
