"""Prompts with pictures on their way through the encoder's thread."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from backends.base import JobError
from backends.llama_cpp.backend import PreparedMedia, PreparedPrompt, PromptPart
from backends.llama_cpp.encoder import EncodedCache, Encoder
from backends.llama_cpp.media_prompt import FloatArray, MediaPrompt
from backends.llama_cpp.projector import Chunk, Senses, Shown


class FakeProjector:
    """A picture becomes as many tiles as it is high, each of as many tokens as it is wide."""

    senses = Senses(image=True, audio=True)

    def __init__(self) -> None:
        self.encoded: list[Shown] = []
        self.closed = False
        self.refuses = self.lies = False
        self.whole = False

    def layout(self, parts: Sequence[tuple[str, bool] | int], media: Sequence[Shown]) -> list[Chunk]:
        assert not any(one.data for one in media[1:])
        if self.refuses:
            raise ValueError("not that")
        chunks: list[Chunk] = []
        for part in parts:
            if isinstance(part, int):
                one = media[part]
                places = np.zeros((1, one.width), dtype=np.int32)
                made = Chunk(np.empty(0, np.int32), one.width, 1, part, places, not self.whole)
                chunks += [made] * one.height
            else:
                tokens = np.array([ord(letter) for letter in part[0]], dtype=np.int32)
                chunks.append(Chunk(tokens, len(tokens), len(tokens)))
        return chunks

    def encode(self, one: Shown) -> Iterable[FloatArray]:
        self.encoded.append(one)
        if one.data == b"broken":
            raise ValueError("cannot be encoded")
        for tile in range(one.height):
            yield np.full((one.width + self.lies, 4), tile, dtype=np.float32)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def projector() -> FakeProjector:
    return FakeProjector()


@pytest.fixture
def encoder(projector: FakeProjector) -> Iterator[Encoder]:
    made = Encoder(projector, context_length=100, whole_tokens=8, cache_bytes=1000)
    yield made
    made.close()
    assert projector.closed


def picture(data: bytes = b"pixels", width: int = 3, height: int = 1, path: str = "") -> PreparedMedia:
    return PreparedMedia("image", width, height, data, b"" if path else data, path, "here")


def prompt(*pieces: str | PreparedMedia) -> PreparedPrompt:
    media = [one for one in pieces if isinstance(one, PreparedMedia)]
    numbers = iter(range(len(media)))
    parts = [PromptPart(one) if isinstance(one, str) else PromptPart(media=next(numbers)) for one in pieces]
    return PreparedPrompt(b"", parts=parts, media=media)


def read(encoder: Encoder, item: PreparedPrompt) -> MediaPrompt:
    reading = encoder.begin([item])
    assert reading.wait(10)
    found = reading.result()[0]
    assert found is not None
    return found


def test_spans_stand_where_pictures_do(encoder: Encoder) -> None:
    found = read(encoder, prompt("ab", picture(height=2), "c", picture(b"other"), "d"))
    assert [(span.start, len(span.rows), span.after) for span in found.spans] == [
        (2, 3, 3),
        (5, 3, 4),
        (9, 3, 6),
    ]
    assert [token if token >= 0 else "*" for token in found.tokens.tolist()] == [
        *(97, 98, "*", "*", "*", "*", "*", "*", 99, "*", "*", "*", 100),
    ]
    assert [span.rows[0, 0] for span in found.spans] == [0, 1, 0]
    assert len({found.tokens[span.start] for span in found.spans}) == 3


def test_what_is_heard_is_counted(encoder: Encoder) -> None:
    heard = PreparedMedia("audio", 5, 1, b"sound", b"sound", param="here")
    assert read(encoder, prompt("a", picture(), heard, "b")).audio_tokens == 5


def test_text_stays_what_it_is(encoder: Encoder) -> None:
    reading = encoder.begin([PreparedPrompt(b""), prompt("a", picture(), "b")])
    assert reading.wait(10)
    assert reading.result()[0] is None


def test_the_same_is_encoded_once(encoder: Encoder, projector: FakeProjector) -> None:
    first = read(encoder, prompt("a", picture(), picture(), "b"))
    second = read(encoder, prompt("a", picture(), "other"))
    assert len(projector.encoded) == 1
    assert second.tokens[:4].tolist() == first.tokens[:4].tolist()


def test_files_are_read_and_removed(encoder: Encoder, projector: FakeProjector, tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(b"in a file")
    read(encoder, prompt("a", picture(b"1", path=str(files[0])), "b"))
    assert projector.encoded[0].data == b"in a file"
    projector.refuses = True
    with pytest.raises(JobError):
        read(encoder, prompt("a", picture(b"2", path=str(files[1])), "b"))
    assert not any(file.exists() for file in files)


def test_what_was_given_up_is_not_encoded_to_its_end(encoder: Encoder, projector: FakeProjector) -> None:
    reading = encoder.begin([prompt("a", picture(b"1"), picture(b"2", height=9), "b")])
    reading.give_up()
    assert reading.wait(10)
    assert len(projector.encoded) <= 2


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (prompt("a" * 60, picture(width=39), "b"), "context_length_exceeded", "messages"),
        (prompt("a", picture()), "", "messages"),
        (prompt("a", picture(b"broken"), "b"), "", "here"),
    ],
)
def test_the_requests_own_faults(encoder: Encoder, item: PreparedPrompt, code: str, param: str) -> None:
    with pytest.raises(JobError) as caught:
        read(encoder, item)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_picture_that_must_be_whole_and_is_too_large(encoder: Encoder, projector: FakeProjector) -> None:
    projector.whole = True
    assert not read(encoder, prompt("a", picture(width=8), "b")).spans[0].causal
    with pytest.raises(JobError, match="9 tokens"):
        read(encoder, prompt("a", picture(width=9), "b"))


def test_a_projector_that_lies_fails(encoder: Encoder, projector: FakeProjector) -> None:
    projector.lies = True
    with pytest.raises(RuntimeError):
        read(encoder, prompt("a", picture(), "b"))
    with pytest.raises(ValueError, match="place"):
        encoder.warm_up()


def test_the_least_recently_used_goes() -> None:
    cache = EncodedCache(100)
    for name in (b"a", b"b"):
        cache.put(name, [np.zeros(12, dtype=np.float32)])
    assert cache.get(b"a") is not None
    cache.put(b"c", [np.zeros(12, dtype=np.float32)])
    assert (cache.get(b"b"), cache.used_bytes, cache.found) == (None, 96, 1)
    cache.put(b"d", [np.zeros(60, dtype=np.float32)])
    assert cache.used_bytes == 0
