"""Writes GGUF files that hold a vocabulary and a chat template, and no weights."""

from collections.abc import Sequence
from pathlib import Path

import gguf

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]


def write_vocabulary_gguf(
    path: Path, template: str, control: Sequence[str], user_defined: Sequence[str] = ()
) -> None:
    """Every byte is a token; so are the texts given. The first control token is both BOS and EOS."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = [*_byte_texts(), *control, *user_defined]
    kinds = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * len(control)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds + [gguf.TokenType.USER_DEFINED] * len(user_defined))
    writer.add_token_merges(["z z"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(256)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _byte_texts() -> list[str]:
    """How GPT-2's vocabulary writes bytes: those that do not print as characters from U+0100 on."""
    others = [byte for byte in range(256) if byte not in _PRINTABLE]
    return [chr(byte) if byte in _PRINTABLE else chr(0x100 + others.index(byte)) for byte in range(256)]
