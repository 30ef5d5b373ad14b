"""Counts a prompt's tokens as the text encoders read them, so that none is cut off in silence.

Must not import torch or transformers: the prepare helper starts often and has to be quick.
"""

from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from backends.tokenizer_file import open_tokenizer

_AROUND = 2
"""The tokens that begin and end every text."""
_PIECES = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class PromptReader:
    """The tokenizers of a pipeline: where there are two, the longer count is what counts."""

    def __init__(self, folder: Path, most: int) -> None:
        names = [name for name in ("tokenizer", "tokenizer_2") if (folder / name).is_dir()]
        self._tokenizers = [_open(folder / name) for name in names]
        self.most = most - _AROUND
        """Longest text, tokens."""

    def count(self, text: str) -> int:
        return max(len(one.encode(text, add_special_tokens=False)) for one in self._tokenizers)


def _open(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from `tokenizer.json`, or from the older pair of files. Raises ValueError."""
    if (folder / "tokenizer.json").exists():
        return open_tokenizer(folder)
    try:
        vocabulary, merges = BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # tokenizers raises bare Exception for a missing or broken file
        raise ValueError(
            f"{folder}: neither tokenizer.json nor vocab.json and merges.txt: {error}"
        ) from error
    tokenizer = Tokenizer(
        BPE(
            vocabulary,
            merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer
