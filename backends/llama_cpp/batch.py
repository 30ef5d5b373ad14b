"""The arrays of one decode call, of tokens allocated once and filled through numpy.

Owns the llama_batch and checks it: what llama.cpp would answer with an assert (and the end of the process)
is a ValueError here.
"""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.llama_cpp.library import C
from backends.llama_cpp.media_prompt import MediaSpan

_INT32 = ctypes.POINTER(ctypes.c_int32)


class Batch:
    """Rows of (token, position, sequence); `raw` is what llama_decode takes."""

    def __init__(self, capacity: int, n_seq_max: int, n_vocab: int) -> None:
        self.capacity = capacity
        self._n_seq_max = n_seq_max
        self._n_vocab = n_vocab
        self.tokens = np.zeros(capacity, dtype=np.int32)
        self.positions = np.zeros(capacity, dtype=np.int32)
        self.seq_ids = np.zeros(capacity, dtype=np.int32)
        self.wanted = np.zeros(capacity, dtype=np.int8)
        """1 where the row's logits are wanted."""
        self._ones = np.ones(capacity, dtype=np.int32)
        # llama.cpp wants a pointer for each row: row i points at seq_ids[i] for good.
        start, width = self.seq_ids.ctypes.data, self.seq_ids.itemsize
        self._pointers = np.arange(start, start + capacity * width, width, dtype=np.uintp)
        self.raw = self._make_raw()

    def __len__(self) -> int:
        return int(self.raw.n_tokens)

    def clear(self) -> None:
        self.raw.n_tokens = 0

    def add(self, seq_id: int, tokens: npt.NDArray[np.int32], position: int, *, want_last: int) -> int:
        """Append consecutive tokens of one sequence; the index of their last row.

        Raises ValueError, and then the batch is as it was.

        `want_last`: how many of the last rows get logits.
        """
        start = len(self)
        end = start + len(tokens)
        if start == end or end > self.capacity:
            raise ValueError(f"{len(tokens)} tokens after {start} do not fit a batch of {self.capacity}")
        if not 0 <= seq_id < self._n_seq_max or position < 0:
            raise ValueError(f"no sequence {seq_id} or position {position}")
        if int(tokens.min()) < 0 or int(tokens.max()) >= self._n_vocab:
            raise ValueError("a token outside the vocabulary")
        self.tokens[start:end] = tokens
        self.positions[start:end] = np.arange(position, position + end - start, dtype=np.int32)
        self.seq_ids[start:end] = seq_id
        self.wanted[start:end] = 0
        self.wanted[end - want_last : end] = 1
        self.raw.n_tokens = end
        return end - 1

    def add_one(self, seq_id: int, token: int, position: int) -> int:
        """As `add` of one token whose logits are wanted, as decoding asks for: a tenth of the time."""
        row = int(self.raw.n_tokens)
        if row >= self.capacity or not 0 <= token < self._n_vocab:
            raise ValueError(f"token {token} is none of the vocabulary, or one too many after {row}")
        if not 0 <= seq_id < self._n_seq_max or position < 0:
            raise ValueError(f"no sequence {seq_id} or position {position}")
        self.tokens[row] = token
        self.positions[row] = position
        self.seq_ids[row] = seq_id
        self.wanted[row] = 1
        self.raw.n_tokens = row + 1
        return row

    def check(self) -> None:
        """Raises ValueError if there is nothing to decode."""
        if len(self) == 0:
            raise ValueError("the batch is empty")

    def _make_raw(self) -> Any:
        raw = C.llama_batch()
        raw.n_tokens = 0
        raw.token = self.tokens.ctypes.data_as(_INT32)
        raw.pos = self.positions.ctypes.data_as(_INT32)
        raw.n_seq_id = self._ones.ctypes.data_as(_INT32)
        raw.seq_id = self._pointers.ctypes.data_as(ctypes.POINTER(_INT32))
        raw.logits = self.wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        return raw


class EmbeddingBatch:
    """Some rows of a span as a batch of their own: llama.cpp mixes no tokens and embeddings in one.

    `raw` is what llama_decode takes; it points into the span, and no row's logits are wanted.
    """

    def __init__(self, seq_id: int, span: MediaSpan, first: int, count: int) -> None:
        """Rows `first` and after. Raises ValueError where there are none."""
        if first < 0 or count < 1 or first + count > len(span.rows):
            raise ValueError(f"a span of {len(span.rows)} rows has no {count} from {first} on")
        self._rows = np.ascontiguousarray(span.rows[first : first + count])
        self._positions = np.ascontiguousarray(span.positions[:, first : first + count])
        self._ones = np.ones(count, dtype=np.int32)
        self._wanted = np.zeros(count, dtype=np.int8)
        self._seq_id = np.array([seq_id], dtype=np.int32)
        self._pointers = np.full(count, self._seq_id.ctypes.data, dtype=np.uintp)
        raw = C.llama_batch()
        raw.n_tokens = count
        raw.embd = self._rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        raw.pos = self._positions.ctypes.data_as(_INT32)
        raw.n_seq_id = self._ones.ctypes.data_as(_INT32)
        raw.seq_id = self._pointers.ctypes.data_as(ctypes.POINTER(_INT32))
        raw.logits = self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        self.raw = raw
