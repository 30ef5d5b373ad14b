"""The model's tokens: which are control tokens, what text stands for, which words they make.

Owns tokenising for Whisper. Must not import ctranslate2: the prepare helper uses it too.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import tokenizers

PROMPT_TOKENS = 223
"""The most text that can stand before a transcript: half of the model's 448 positions, less the token that
announces it."""
MAX_TOKENS = 448
_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue"}
"""Languages written without spaces: every character that is whole counts as a word."""
_BROKEN = "\ufffd"


class Vocabulary:
    def __init__(self, folder: Path, multilingual: bool) -> None:
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception for a missing or broken file
            raise ValueError(f"{path}: {error}") from error
        self._tokenizer.encode_special_tokens = True  # a spelled control token stays text
        self.multilingual = multilingual
        self.end = self._id("<|endoftext|>")
        """Ids below are text."""
        self._start = self._id("<|startoftranscript|>")
        self._previous = self._id("<|startofprev|>")
        self.first_timestamp = self._id("<|notimestamps|>") + 1

    def prompt(self, text: str) -> list[int]:
        """Tokens of what is taken to stand before the transcript."""
        text = text.strip()
        return list(self._tokenizer.encode(" " + text, add_special_tokens=False).ids) if text else []

    def start(self, language: str, translate: bool) -> list[int]:
        """The tokens that tell the model what to do."""
        if not self.multilingual:
            return [self._start]
        task = "translate" if translate else "transcribe"
        return [self._start, self._id(f"<|{language}|>"), self._id(f"<|{task}|>")]

    def context(self, prompt: Sequence[int], language: str, translate: bool) -> list[int]:
        """All that a window's transcript begins with."""
        before = [self._previous, *prompt] if prompt else []
        return [*before, *self.start(language, translate)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; control tokens and timestamps say nothing."""
        return str(self._tokenizer.decode([token for token in tokens if token < self.end]))

    def token_bytes(self, token: int) -> bytes:
        """What one token stands for, perhaps part of a character."""
        written = self._tokenizer.id_to_token(token) or ""
        table = _written_bytes()
        return b"".join(table.get(character, character.encode()) for character in written)

    def words(self, tokens: Sequence[int], language: str) -> list[tuple[str, int]]:
        """The words of text tokens, each with the number of its tokens."""
        pieces = self._characters(tokens)
        if language in _UNSPACED:
            return pieces
        words: list[tuple[str, int]] = []
        for text, count in pieces:
            if words and not text.startswith(" ") and not _is_punctuation(text):
                before, so_far = words[-1]
                words[-1] = (before + text, so_far + count)
            else:
                words.append((text, count))
        return words

    def _characters(self, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """The fewest tokens at a time that make whole characters, with their number."""
        pieces: list[tuple[str, int]] = []
        begin = 0
        for end in range(1, len(tokens) + 1):
            text = self.decode(tokens[begin:end])
            if _BROKEN not in text or end - begin >= _MOST_TOKENS_A_CHARACTER or end == len(tokens):
                pieces.append((text, end - begin))
                begin = end
        return pieces

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the vocabulary has no {token}")
        return int(found)


_MOST_TOKENS_A_CHARACTER = 4
"""UTF-8 has at most four bytes a character."""


def _is_punctuation(text: str) -> bool:
    return bool(text.strip()) and not any(character.isalnum() for character in text)


@lru_cache
def _written_bytes() -> dict[str, bytes]:
    """How byte-level vocabularies write bytes: printable ones as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): bytes([byte]) for byte in printable}
    return table | {chr(0x100 + place): bytes([byte]) for place, byte in enumerate(others)}
