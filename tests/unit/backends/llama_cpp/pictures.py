"""Pictures for the simulated model: a prompt's numbers from FIRST on show one each, as rows of embeddings.

Each row says which it is, so that the decoder notices one that is lost, doubled or at a wrong position.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from backends.llama_cpp.backend import PreparedMedia, PreparedPrompt, PromptPart
from backends.llama_cpp.encoder import Prompts, Reading
from backends.llama_cpp.media_prompt import ChunkNumbers, MediaPrompt, MediaSpan

FIRST = 1000
_SEEN = 2000
"""Where the numbers of rows begin."""
_MOST_ROWS = 16


def shows(prompt: Iterable[int]) -> bool:
    return any(token >= FIRST for token in prompt)


def rows_of(picture: int) -> list[int]:
    """What a model sees of it, a number a row."""
    count = (picture - FIRST) % (_MOST_ROWS - 1) + 1
    return [_SEEN + (picture - FIRST) * _MOST_ROWS + row for row in range(count)]


def seen(prompt: Iterable[int]) -> list[int]:
    """The prompt as the model has it in the end."""
    return [value for token in prompt for value in (rows_of(token) if token >= FIRST else [token])]


def prepared(prompt: Sequence[int]) -> PreparedPrompt:
    media = [PreparedMedia("image", token, 1, b"%d" % token, b"") for token in prompt if token >= FIRST]
    numbers = iter(range(len(media)))
    parts = [
        PromptPart(media=next(numbers)) if token >= FIRST else PromptPart(chr(token)) for token in prompt
    ]
    return PreparedPrompt(b"", parts=parts, media=media)


class SlowReading(Reading):
    """Done when it has been asked about often enough."""

    def __init__(self, prompts: Prompts, questions: int) -> None:
        super().__init__()
        self.future.set_result(prompts)
        self._questions = questions

    def wait(self, timeout_s: float) -> bool:
        self._questions -= 1
        return self._questions < 0


class FakeReader:
    """`mrope`: a picture takes fewer positions than rows. `whole`: its rows see each other."""

    def __init__(self, *, mrope: bool = False, whole: bool = False) -> None:
        self._mrope = mrope
        self._whole = whole
        self._numbers = ChunkNumbers(4)
        self._by_id: dict[int, int] = {}
        self._count = 0
        self.closed = False

    def begin(self, items: Sequence[PreparedPrompt]) -> Reading:
        self._count += 1
        return SlowReading([self._prompt(item) if item.media else None for item in items], self._count % 5)

    def warm_up(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def values(self, tokens: Sequence[int]) -> list[int]:
        """What the cache must hold for these tokens of a history."""
        result: list[int] = []
        for token in tokens:
            if token >= 0:
                result.append(token)
            elif token % 2:
                result.append(rows_of(self._by_id[token])[0])
            else:
                result.append(result[-1] + 1)
        return result

    def _prompt(self, item: PreparedPrompt) -> MediaPrompt:
        tokens: list[int] = []
        spans: list[MediaSpan] = []
        position = 0
        for part in item.parts:
            if part.media < 0:
                tokens.append(ord(part.text))
                position += 1
                continue
            picture = item.media[part.media].width
            ids = self._numbers.ids(picture, len(rows_of(picture)))
            self._by_id[int(ids[0])] = picture
            spans.append(self._span(picture, len(tokens), position))
            position = spans[-1].after
            tokens += ids.tolist()
        return MediaPrompt(np.array(tokens, dtype=np.int32), spans)

    def _span(self, picture: int, start: int, position: int) -> MediaSpan:
        values = rows_of(picture)
        count = len(values)
        after = position + (max(count // 2, 1) if self._mrope else count)
        rows = np.array([(value, after, count) for value in values], dtype=np.float32)
        step = 0 if self._mrope else 1
        places = position + step * np.arange(count, dtype=np.int32)
        positions = np.tile(places, (4 if self._mrope else 1, 1))
        return MediaSpan(start, rows, positions, after, causal=not self._whole)
