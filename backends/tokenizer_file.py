"""Opens a model folder's `tokenizer.json` so that texts stay texts and nothing is cut off.

Must not import torch or transformers: the prepare helper starts often and has to be quick.
"""

from pathlib import Path

from tokenizers import Tokenizer


def open_tokenizer(folder: Path) -> Tokenizer:
    """Without the truncation and padding that the file may ask for. Raises ValueError."""
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


def special_ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer's post-processor puts before and after a text."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    start = mask.index(0) if 0 in mask else len(mask)
    end = len(mask) - (mask[::-1].index(0) if 0 in mask else 0)
    return list(encoding.ids[:start]), list(encoding.ids[end:])
