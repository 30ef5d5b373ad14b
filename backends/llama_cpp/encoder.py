"""Turns prompts with pictures and sound into what the engine decodes, beside the step loop.

Owns the projector, the one thread that calls it, so that running answers go on while something is encoded,
and the embeddings of what was encoded lately: the same picture in a later turn costs nothing. Must not touch
the decoding context. What a request did wrong is a JobError.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Protocol

import numpy as np

from backends.base import JobError
from backends.llama_cpp.backend import PreparedMedia, PreparedPrompt
from backends.llama_cpp.media_prompt import ChunkNumbers, FloatArray, MediaPrompt, MediaSpan
from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.projector import SAMPLE_RATE, Chunk, Senses, Shown

Prompts = list[MediaPrompt | None]
"""Of a job's items, in order; None for one that is only text."""

_WARM_UP_SIDE = 64


class Reading:
    """One job's prompts on their way."""

    def __init__(self) -> None:
        self.given_up = Event()
        self.future: Future[Prompts] = Future()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is done, after at most that long."""
        return bool(wait([self.future], timeout_s).done)

    def result(self) -> Prompts:
        """Of a reading that is done. Raises JobError, and RuntimeError where the projector failed."""
        return self.future.result(0)

    def give_up(self) -> None:
        """Nobody wants it any more; what is being encoded now is encoded to its end."""
        self.given_up.set()


class MediaReader(Protocol):
    """What an engine needs of an Encoder; a test may put something in its place."""

    def begin(self, items: Sequence[PreparedPrompt]) -> Reading: ...
    def warm_up(self) -> None: ...
    def close(self) -> None: ...


class Projects(Protocol):
    """What is needed of a Projector."""

    @property
    def senses(self) -> Senses: ...
    def layout(self, parts: Sequence[tuple[str, bool] | int], media: Sequence[Shown]) -> list[Chunk]: ...
    def encode(self, one: Shown) -> Iterable[FloatArray]: ...
    def close(self) -> None: ...


class Encoder:
    """`whole_tokens`: most tokens of a picture that all see each other. `cache_bytes`: of embeddings."""

    def __init__(
        self, projector: Projects, *, context_length: int, whole_tokens: int, cache_bytes: int
    ) -> None:
        self._projector = projector
        self._context_length = context_length
        self._whole_tokens = whole_tokens
        self._cache = EncodedCache(cache_bytes)
        self._numbers = ChunkNumbers()
        self._pool = ThreadPoolExecutor(1, "encoder")

    def begin(self, items: Sequence[PreparedPrompt]) -> Reading:
        """Read a job's prompts; the files that they lie in are removed, whatever comes of it."""
        reading = Reading()
        reading.future = self._pool.submit(self._read, items, reading.given_up)
        return reading

    def warm_up(self) -> None:
        """Encode something of each kind: a projector that fails, or ends the process, does so at the load.

        Raises ValueError for one that gives other tokens elsewhere in a prompt: what was encoded once could
        not be used again.
        """
        senses = self._projector.senses
        if senses.image:
            grey = bytes([128]) * (3 * _WARM_UP_SIDE * _WARM_UP_SIDE)
            self._pool.submit(self._try, Shown("image", _WARM_UP_SIDE, _WARM_UP_SIDE, grey)).result()
        if senses.audio:
            silence = np.zeros(SAMPLE_RATE, dtype=np.float32).tobytes()
            self._pool.submit(self._try, Shown("audio", SAMPLE_RATE, data=silence)).result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._projector.close()

    # --- on the encoder's own thread ---------------------------------------------------------------------

    def _try(self, one: Shown) -> None:
        counts = [len(rows) for rows in self._projector.encode(one)]
        text = ("a", True)
        places: list[list[tuple[str, bool] | int]] = [[0], [text, 0], [text, text, 0]]
        for parts in places:
            chunks = self._projector.layout(parts, [one])
            _check_tokens(chunks)
            if [chunk.count for chunk in chunks if chunk.media >= 0] != counts:
                raise ValueError("the projector's output depends on a picture's place: that is not supported")

    def _read(self, items: Sequence[PreparedPrompt], given_up: Event) -> Prompts:
        try:
            return [self._prompt(item, given_up) if item.media else None for item in items]
        finally:
            for item in items:
                item.discard()
                item.media = []  # the sequences keep the items, but not what is in the pictures

    def _prompt(self, item: PreparedPrompt, given_up: Event) -> MediaPrompt:
        chunks = self._layout(item)
        counts: list[list[int]] = [[] for _ in item.media]
        for chunk in chunks:
            if chunk.media >= 0:
                counts[chunk.media].append(chunk.count)
        rows = [
            iter(self._encoded(one, count, given_up)) for one, count in zip(item.media, counts, strict=True)
        ]
        tokens: list[TokenArray] = []
        spans: list[MediaSpan] = []
        ordinals = [0] * len(rows)
        start = position = 0
        for chunk in chunks:
            position += chunk.length
            if chunk.media < 0:
                tokens.append(chunk.tokens)
            else:
                key = (item.media[chunk.media].digest, ordinals[chunk.media], chunk.count, chunk.length)
                ordinals[chunk.media] += 1
                tokens.append(self._numbers.ids(key, chunk.count))
                embeddings = next(rows[chunk.media])
                kind = item.media[chunk.media].kind
                spans.append(MediaSpan(start, embeddings, chunk.positions, position, kind, chunk.causal))
            start += chunk.count
        return MediaPrompt(np.concatenate(tokens), spans)

    def _layout(self, item: PreparedPrompt) -> list[Chunk]:
        parts = [part.media if part.media >= 0 else (part.text, part.literal) for part in item.parts]
        shown = [Shown(one.kind, one.width, one.height) for one in item.media]
        try:
            chunks = self._projector.layout(parts, shown)
            _check_tokens(chunks)
        except ValueError as error:
            raise JobError(str(error), param="messages") from error
        total = sum(chunk.count for chunk in chunks)
        if total >= self._context_length:
            raise JobError(
                f"This model's maximum context length is {self._context_length} tokens. However, your "
                f"messages have {total} tokens, pictures and sound included, and an answer needs one more.",
                param="messages",
                code="context_length_exceeded",
            )
        if chunks[-1].media >= 0:
            raise JobError("the model's chat template ends these messages with a picture", param="messages")
        for chunk in chunks:
            if not chunk.causal and chunk.count > self._whole_tokens:
                raise JobError(
                    f"The picture has {chunk.count} tokens that must be decoded together; this server "
                    f"decodes at most {self._whole_tokens} (n_ubatch).",
                    param=item.media[chunk.media].param,
                    code="image_too_large",
                )
        return chunks

    def _encoded(self, one: PreparedMedia, counts: list[int], given_up: Event) -> list[FloatArray]:
        """Of one picture or recording, a chunk each; the whole of it again after it was forgotten."""
        found = self._cache.get(one.digest)
        if found is not None:
            return found
        made: list[FloatArray] = []
        try:
            for rows in self._projector.encode(Shown(one.kind, one.width, one.height, one.read())):
                made.append(rows)
                if given_up.is_set():
                    raise JobError("given up")
        except ValueError as error:
            raise JobError(str(error), param=one.param) from error
        if [len(rows) for rows in made] != counts:
            raise RuntimeError("the projector gave another number of tokens than it had said")
        self._cache.put(one.digest, made)
        return made


def _check_tokens(chunks: Sequence[Chunk]) -> None:
    """libmtmd looks some tokens up by their text. Raises ValueError where the model has no such token."""
    if any((chunk.tokens < 0).any() for chunk in chunks):
        raise ValueError("the model's vocabulary lacks tokens that the projector wants around pictures")


class EncodedCache:
    """Embeddings by what was encoded; the least recently used go where they are more than `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, list[FloatArray]] = OrderedDict()
        self.used_bytes = 0
        self.found = 0
        """Times that something asked for was there."""

    def get(self, digest: bytes) -> list[FloatArray] | None:
        rows = self._kept.get(digest)
        if rows is not None:
            self._kept.move_to_end(digest)
            self.found += 1
        return rows

    def put(self, digest: bytes, rows: list[FloatArray]) -> None:
        self._kept[digest] = rows
        self.used_bytes += _bytes(rows)
        while self.used_bytes > self._most_bytes:
            self.used_bytes -= _bytes(self._kept.popitem(last=False)[1])


def _bytes(rows: list[FloatArray]) -> int:
    return sum(one.nbytes for one in rows)
