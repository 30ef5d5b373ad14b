"""Owners of the library's handles: a model file, its vocabulary, and a decoding context.

Each owner frees its handle in close(). Knows nothing of jobs, sequences' text or scheduling.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.llama_cpp.library import C, complaints

TokenArray = npt.NDArray[np.int32]

GGUF_MAGIC = b"GGUF"
_NO_ROOM = ("failed to allocate", "unable to allocate", "out of memory")
"""What llama.cpp and ggml write when an allocation fails; the load only says that it has failed."""


def open_model(path: Path, **settings: Any) -> "Model":
    """Load a GGUF file; `settings` are fields of llama_model_params.

    Raises ValueError if it is none, MemoryError where the device has no room for it.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if magic != GGUF_MAGIC:
        raise ValueError(f"{path.name} is not a GGUF file")
    params = C.llama_model_default_params()
    for name, value in settings.items():
        setattr(params, name, value)
    with complaints() as heard:
        handle = C.llama_model_load_from_file(str(path).encode(), params)
    if not handle:
        if any(sign in line for line in heard for sign in _NO_ROOM):
            raise MemoryError(f"llama.cpp found no room for {path.name}")
        raise ValueError(f"llama.cpp cannot load {path.name}; its log says why")
    return Model(handle)


class Model:
    """One loaded model file, perhaps of its vocabulary only."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.vocabulary = Vocabulary(C.llama_model_get_vocab(handle))

    def metadata(self) -> dict[str, str]:
        """The file's scalar metadata."""
        pairs: dict[str, str] = {}
        for index in range(C.llama_model_meta_count(self.handle)):
            key = self._string(C.llama_model_meta_key_by_index, index)
            pairs[key] = self._string(C.llama_model_meta_val_str_by_index, index)
        return pairs

    def chat_template(self) -> str | None:
        text = C.llama_model_chat_template(self.handle, None)
        return text.decode("utf-8", "replace") if text else None

    def close(self) -> None:
        if self.handle:
            C.llama_model_free(self.handle)
            self.handle = None

    def _string(self, function: Any, index: int) -> str:
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = function(self.handle, index, buffer, size)
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1


class Vocabulary:
    """Text to token ids and back. Belongs to its model."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.size = int(C.llama_vocab_n_tokens(handle))
        self.bos = int(C.llama_vocab_bos(handle))
        self.eos = int(C.llama_vocab_eos(handle))
        self.add_bos = bool(C.llama_vocab_get_add_bos(handle))
        self._pieces: dict[int, bytes] = {}

    def tokenize(self, text: str, *, parse_special: bool, add_special: bool = False) -> TokenArray:
        """Ids of `text`. Control tokens are seen only if `parse_special`.

        `add_special`: with what the vocabulary puts around a text (BOS, EOS, SEP).
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            ids = np.empty(room, dtype=np.int32)
            pointer = ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            count = int(
                C.llama_tokenize(self.handle, data, len(data), pointer, room, add_special, parse_special)
            )
            if count >= 0:
                return ids[:count].copy()
            room = -count

    def detokenize(self, ids: TokenArray) -> str:
        """The text of these tokens, control tokens as they are written; half characters become U+FFFD."""
        pointer = ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        room = 8 * len(ids) + 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            length = int(C.llama_detokenize(self.handle, pointer, len(ids), buffer, room, False, True))
            if length >= 0:
                return buffer.raw[:length].decode("utf-8", "replace")
            room = -length

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; none for control tokens."""
        cached = self._pieces.get(token)
        if cached is None:
            cached = self._pieces[token] = self._read_piece(token)
        return cached

    def text(self, token: int) -> str:
        """How the vocabulary writes a token, control tokens too; empty if there is no such token."""
        if not 0 <= token < self.size:
            return ""
        return str(C.llama_vocab_get_text(self.handle, token).decode("utf-8", "replace"))

    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a generation."""
        return frozenset(token for token in range(self.size) if C.llama_vocab_is_eog(self.handle, token))

    def suppressed_tokens(self) -> list[int]:
        """Tokens that the model's author forbids."""
        count = ctypes.c_int32(0)
        tokens = C.llama_vocab_get_suppress_tokens(self.handle, ctypes.byref(count))
        return [int(tokens[index]) for index in range(count.value)]

    def control_tokens(self) -> list[int]:
        """Tokens that are no text."""
        special = C.LLAMA_TOKEN_ATTR_CONTROL | C.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes = C.llama_vocab_get_attr
        return [token for token in range(self.size) if attributes(self.handle, token) & special]

    def infill_tokens(self) -> tuple[int, int, int] | None:
        """What stands before a prefix, before a suffix and before what goes between them."""
        read = (C.llama_vocab_fim_pre, C.llama_vocab_fim_suf, C.llama_vocab_fim_mid)
        before, after, between = (int(token(self.handle)) for token in read)
        return (before, after, between) if min(before, after, between) >= 0 else None

    def control_texts(self) -> list[str]:
        """Texts that `parse_special` would turn into a control token."""
        return [text for text in map(self.text, self.control_tokens()) if text]

    def pieces(self) -> list[bytes]:
        """How each token is written, control tokens too."""
        return [self._read_piece(token, special=True) for token in range(self.size)]

    def written(self, token: int) -> bytes:
        """How a token is written, also if it is a control token."""
        return self._read_piece(token, special=True)

    def _read_piece(self, token: int, *, special: bool = False) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = int(C.llama_token_to_piece(self.handle, token, buffer, size, 0, special))
            if length >= 0:
                return buffer.raw[:length]
            size = -length


class Context:
    """A KV cache and the right to decode into it. Must be closed before its model."""

    def __init__(self, model: Model, params: Any) -> None:
        self.model = model
        self.handle = C.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise MemoryError("llama.cpp cannot make a context of this size")
        self.n_ctx = int(C.llama_n_ctx(self.handle))
        self.n_batch = int(C.llama_n_batch(self.handle))
        self.n_ctx_seq = int(C.llama_n_ctx_seq(self.handle))
        """Cells that one sequence may hold."""
        self.n_seq_max = int(params.n_seq_max)
        self._memory = C.llama_get_memory(self.handle)
        self._row_type = ctypes.c_float * model.vocabulary.size

    def decode_whole(self, batch: Any) -> int:
        """As `decode`, of rows that all see each other, whatever their order."""
        C.llama_set_causal_attn(self.handle, False)
        try:
            return self.decode(batch)
        finally:
            C.llama_set_causal_attn(self.handle, True)

    def decode(self, batch: Any) -> int:
        """0: done. 1: no room in the cache, nothing changed. 2 or negative: failed, perhaps half done."""
        return int(C.llama_decode(self.handle, batch))

    def sample(self, chain: Any, row: int) -> int:
        """Next token from the logits of a batch row; the chain has accepted it."""
        return int(C.llama_sampler_sample(chain, self.handle, row))

    def accept(self, chain: Any, token: int) -> None:
        """Tell a chain of a token that it did not choose."""
        C.llama_sampler_accept(chain, token)

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """A copy of a batch row's logits."""
        return self.live_logits(row).copy()

    def live_logits(self, row: int) -> npt.NDArray[np.float32]:
        """A batch row's logits as `sample` will see them, until the next decode."""
        first = C.llama_get_logits_ith(self.handle, row).contents
        # np.ctypeslib.as_array makes a new type for each call, which takes longer than looking at all logits.
        values: Any = self._row_type.from_address(ctypes.addressof(first))
        logits: npt.NDArray[np.float32] = np.frombuffer(values, dtype=np.float32)
        return logits

    def copy(self, source: int, target: int, end: int = -1) -> None:
        """Let `target`, which is empty, hold the first `end` positions of `source` too (-1: all).

        In a partitioned cache only all of them can be copied: llama.cpp ends the process otherwise.
        """
        C.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def state(self, seq_id: int) -> memoryview:
        """What the cache holds of a sequence, as bytes for `restore`."""
        size = int(C.llama_state_seq_get_size_ext(self.handle, seq_id, 0))
        data = np.empty(size, dtype=np.uint8)
        written = C.llama_state_seq_get_data_ext(self.handle, _bytes_of(data), size, seq_id, 0)
        return data[: int(written)].data

    def restore(self, seq_id: int, data: bytes | bytearray | memoryview) -> bool:
        """Fill an empty sequence from a state. False: there is no room, or the state is of another kind."""
        array = np.frombuffer(data, dtype=np.uint8)
        return bool(C.llama_state_seq_set_data_ext(self.handle, _bytes_of(array), len(array), seq_id, 0))

    def remove(self, seq_id: int, start: int = 0) -> bool:
        """Free a sequence's cells from position `start`. False: this cache can only be freed whole."""
        return bool(C.llama_memory_seq_rm(self._memory, seq_id, start, -1))

    def held(self, seq_id: int) -> int:
        """Positions that the cache holds of a sequence."""
        return int(C.llama_memory_seq_pos_max(self._memory, seq_id)) + 1

    def close(self) -> None:
        if self.handle:
            C.llama_free(self.handle)
            self.handle = None


def _bytes_of(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
