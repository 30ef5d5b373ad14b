"""What the model wrote about one window, cut at its timestamps.

Pure. Times are seconds from the window's beginning. A timestamp token stands for a multiple of 20 ms.
"""

from collections.abc import Sequence

from msgspec import Struct

TIMESTAMP_S = 0.02
_REST_S = 1.0
"""Less than this is left alone at a window's end."""


class Piece(Struct, frozen=True):
    """One segment of a window."""

    start_s: float
    end_s: float
    tokens: list[int]
    """As written, with its timestamps."""
    text_tokens: list[int]


class Cut(Struct, frozen=True):
    pieces: list[Piece]
    rest_s: float | None
    """Where the model stopped and said that there is more; None: it wrote about all of the window."""


def cut(tokens: Sequence[int], first_timestamp: int, end_of_text: int, duration_s: float) -> Cut:
    """The window's segments. A text without an end of its own goes to the window's end.

    Two timestamps at the very end mean that a segment began there which the model did not write.
    """
    pieces: list[Piece] = []
    start_s, begin = 0.0, 0
    for index, token in enumerate(tokens):
        if token < first_timestamp:
            continue
        at_s = min((token - first_timestamp) * TIMESTAMP_S, duration_s)
        if _has_text(tokens[begin:index], end_of_text):
            pieces.append(_piece(tokens[begin : index + 1], start_s, at_s, end_of_text))
            begin = index + 1
        else:
            begin = index
        start_s = at_s
    if _has_text(tokens[begin:], end_of_text):
        pieces.append(_piece(tokens[begin:], start_s, duration_s, end_of_text))
        return Cut(pieces, None)
    goes_on = len(tokens) > 1 and min(tokens[-2:]) >= first_timestamp and duration_s - start_s > _REST_S
    return Cut(pieces, start_s if pieces and goes_on else None)


def _has_text(tokens: Sequence[int], end_of_text: int) -> bool:
    return any(token < end_of_text for token in tokens)


def _piece(tokens: Sequence[int], start_s: float, end_s: float, end_of_text: int) -> Piece:
    text = [token for token in tokens if token < end_of_text]
    return Piece(start_s, max(start_s, end_s), list(tokens), text)
