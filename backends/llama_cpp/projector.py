"""Owner of libmtmd's context: lays prompts with media out, and encodes pictures and sound.

libmtmd gets pixels and samples that the prepare helper has decoded, never a file. Not to be called by two
threads at once. Knows nothing of jobs, caches or scheduling.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from backends.llama_cpp.devices import Device
from backends.llama_cpp.library import C, complaints, load_mtmd
from backends.llama_cpp.media_prompt import FloatArray
from backends.llama_cpp.model import GGUF_MAGIC, Model, TokenArray

SAMPLE_RATE = 16_000
"""Hertz, of all sound: what the prepare helper gives."""
_SECTIONS = 4
"""Numbers in a position of M-RoPE."""
_KINDS = ("text", "image", "audio")


class Senses(Struct, frozen=True):
    """What a projector file takes."""

    image: bool
    audio: bool


class Shown(Struct, frozen=True):
    """A picture's or recording's measures, and what it holds where that is needed."""

    kind: Literal["image", "audio"]
    width: int
    """Pixels, or samples."""
    height: int = 1
    data: bytes = b""
    """RGB, row by row, or float32 samples; empty: its measures are enough."""


class Chunk(Struct, frozen=True):
    """A run of a prompt that is all text or all of one picture, tile or stretch of sound."""

    tokens: TokenArray
    """Of text; else empty."""
    count: int
    """Tokens in the cache."""
    length: int
    """Positions that it takes up."""
    media: int = -1
    """Which of the prompt's media; -1: it is text."""
    positions: TokenArray = np.empty((1, 0), dtype=np.int32)
    """Of its tokens, absolute."""
    causal: bool = True


def senses_of(path: Path) -> Senses:
    """From the file's header. Raises ValueError for a file that is no projector."""
    _check_magic(path)
    with complaints() as said:
        found = load_mtmd().mtmd_get_cap_from_file(str(path).encode())
    if not found.inp_vision and not found.inp_audio:
        raise ValueError(f"{path.name} takes neither pictures nor sound{_reason(said)}")
    return Senses(bool(found.inp_vision), bool(found.inp_audio))


class Projector:
    """`max_tokens`: of one picture, where the projector scales; 0: as its file says.

    Raises ValueError for a file that does not fit the model. To be closed before the model.
    """

    def __init__(
        self, path: Path, model: Model, *, device: Device, threads: int, max_tokens: int = 0
    ) -> None:
        _check_magic(path)
        self._m = load_mtmd()
        params = self._m.mtmd_context_params_default()
        params.use_gpu = device.gpu
        params.device = device.handle
        params.n_threads = threads
        params.print_timings = False
        params.warmup = False  # `Encoder.warm_up` does more
        if max_tokens:
            params.image_max_tokens = max_tokens
        with complaints() as said:
            self._handle = self._m.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if not self._handle:
            raise ValueError(f"{path.name} is no projector for this model{_reason(said)}")
        self._width = int(C.llama_model_n_embd_inp(model.handle))
        self._mrope = bool(self._m.mtmd_decode_use_mrope(self._handle))
        self.senses = Senses(
            bool(self._m.mtmd_support_vision(self._handle)), bool(self._m.mtmd_support_audio(self._handle))
        )
        rate = int(self._m.mtmd_get_audio_sample_rate(self._handle))
        if self.senses.audio and rate != SAMPLE_RATE:
            self.close()
            raise ValueError(f"{path.name} hears at {rate} Hz; only {SAMPLE_RATE} Hz are supported")

    def layout(self, parts: Sequence[tuple[str, bool] | int], media: Sequence[Shown]) -> list[Chunk]:
        """How a prompt is to be decoded. `parts`: texts and whether they are literal, or which of `media`.

        Raises ValueError for what the projector cannot take.
        """
        measures = [Shown(one.kind, one.width, one.height) for one in media]
        with self._tokenized(parts, measures) as chunks:
            position = 0
            found: list[Chunk] = []
            for chunk in chunks:
                found.append(self._read(chunk, position))
                position += found[-1].length
            return found

    def encode(self, one: Shown) -> Iterator[FloatArray]:
        """Embeddings of each of its chunks, in order, one after the other. Raises ValueError."""
        with self._tokenized([0], [one]) as chunks:
            for chunk in chunks:
                if self._m.mtmd_input_chunk_get_type(chunk) == 0:
                    continue
                with complaints() as said:
                    result = self._m.mtmd_encode_chunk(self._handle, chunk)
                if result:
                    raise ValueError(f"the projector cannot encode it{_reason(said)}")
                count = int(self._m.mtmd_input_chunk_get_n_tokens(chunk))
                rows = self._m.mtmd_get_output_embd(self._handle)
                yield np.ctypeslib.as_array(rows, (count, self._width)).copy()

    def close(self) -> None:
        if self._handle:
            self._m.mtmd_free(self._handle)
            self._handle = None

    @contextmanager
    def _tokenized(
        self, parts: Sequence[tuple[str, bool] | int], media: Sequence[Shown]
    ) -> Iterator[list[Any]]:
        """The library's chunks, which live as long as the block."""
        m = self._m
        bitmaps = [self._bitmap(index, one) for index, one in enumerate(media)]
        chunks = m.mtmd_input_chunks_init()
        try:
            items, kept = self._input(parts, bitmaps)
            with complaints() as said:
                result = m.mtmd_tokenize_from_parts(self._handle, chunks, items, len(parts), False)
            if result:
                raise ValueError(f"the projector cannot take it{_reason(said)}")
            yield [m.mtmd_input_chunks_get(chunks, i) for i in range(m.mtmd_input_chunks_size(chunks))]
            del kept
        finally:
            m.mtmd_input_chunks_free(chunks)
            for bitmap in bitmaps:
                m.mtmd_bitmap_free(bitmap)

    def _bitmap(self, index: int, one: Shown) -> Any:
        """Its id is its number, by which its chunks are known again."""
        m = self._m
        if one.kind == "image":
            pixels = (ctypes.c_uint8 * len(one.data)).from_buffer_copy(one.data) if one.data else None
            bitmap = m.mtmd_bitmap_init(one.width, one.height, pixels)
        else:
            count = len(one.data) // ctypes.sizeof(ctypes.c_float)
            samples = (ctypes.c_float * count).from_buffer_copy(one.data) if count else None
            bitmap = m.mtmd_bitmap_init_from_audio(one.width, samples)
        m.mtmd_bitmap_set_id(bitmap, str(index).encode())
        return bitmap

    def _input(self, parts: Sequence[tuple[str, bool] | int], bitmaps: list[Any]) -> tuple[Any, list[Any]]:
        """The array that the library takes, and what it points at."""
        m = self._m
        kept: list[Any] = []
        for part in parts:
            if isinstance(part, int):
                kept.append(m.mtmd_input_part(None, bitmaps[part]))
                continue
            data = part[0].encode("utf-8", "replace")
            text = m.mtmd_input_text(data, len(data), False, not part[1])
            kept.append(m.mtmd_input_part(ctypes.pointer(text), None))
        pointers = [ctypes.pointer(part) for part in kept]
        return (ctypes.POINTER(m.mtmd_input_part) * len(pointers))(*pointers), [kept, pointers]

    def _read(self, chunk: Any, position: int) -> Chunk:
        m = self._m
        count = int(m.mtmd_input_chunk_get_n_tokens(chunk))
        length = int(m.mtmd_input_chunk_get_n_pos(chunk))
        kind = _KINDS[m.mtmd_input_chunk_get_type(chunk)]
        if kind == "text":
            size = ctypes.c_size_t()
            first = m.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(size))
            tokens = np.ctypeslib.as_array(first, (count,)).astype(np.int32)
            return Chunk(tokens, count, length)
        return Chunk(
            np.empty(0, dtype=np.int32),
            count,
            length,
            int(m.mtmd_input_chunk_get_id(chunk)),
            self._positions(chunk, kind, position, count),
            not m.mtmd_decode_use_non_causal(self._handle, chunk),
        )

    def _positions(self, chunk: Any, kind: str, first: int, count: int) -> TokenArray:
        ahead = np.arange(first, first + count, dtype=np.int32)
        if not self._mrope:
            return ahead[np.newaxis]
        if kind == "audio":
            return np.tile(ahead, (_SECTIONS, 1))
        found = (self._m.mtmd_decoder_pos * count)()
        tokens = self._m.mtmd_input_chunk_get_tokens_image(chunk)
        self._m.mtmd_helper_image_get_decoder_pos(tokens, first, found)
        # Fields are t, x, y, z; the decoder wants t, y, x, z.
        return np.frombuffer(found, dtype=np.int32).reshape(count, _SECTIONS).T[[0, 2, 1, 3]].copy()


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if magic != GGUF_MAGIC:
        raise ValueError(f"{path.name} is not a GGUF file")


def _reason(said: list[str]) -> str:
    return f": {said[-1]}" if said else ""
