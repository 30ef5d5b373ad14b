"""Feeds parsers, and puts what they give together again."""

from collections.abc import Iterable, Sequence
from itertools import count, pairwise

from backends.chat.answer import AnswerFormat, CallFormat, CallPiece, Piece, ReasoningPiece
from backends.chat.parsers import parser_for
from backends.protocol import ToolCall

TOOLS = ["get_weather", "get", "add-two"]
Told = list[str | tuple[str, str] | ToolCall]
"""Text, ("reasoning", text) and calls, in order."""


def answer_format(
    calls: CallFormat, *, think: bool = False, in_reasoning: bool = False, lead: str = ""
) -> AnswerFormat:
    tags = ("<think>", "</think>") if think else ("", "")
    return AnswerFormat(calls, TOOLS, *tags, in_reasoning, lead)


def pieces_of(format: AnswerFormat, parts: Iterable[str]) -> list[Piece]:
    numbers = count()
    parser = parser_for(format, lambda: f"call_00000000{next(numbers)}")
    pieces = [piece for part in parts for piece in parser.feed(part)]
    return pieces + parser.finish()


def told(format: AnswerFormat, parts: str | Iterable[str]) -> Told:
    """What an answer that comes in these parts is; a string comes letter by letter."""
    result: Told = []
    for piece in pieces_of(format, parts):
        if isinstance(piece, CallPiece):
            _add_call(result, piece)
        elif isinstance(piece, ReasoningPiece):
            last = result[-1] if result else ""
            before = last[1] if isinstance(last, tuple) else ""
            result[len(result) - bool(before) :] = [("reasoning", before + piece.text)]
        elif result and isinstance(result[-1], str):
            result[-1] += piece.text
        else:
            result.append(piece.text)
    return result


def split(text: str, cuts: Sequence[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


def _add_call(result: Told, piece: CallPiece) -> None:
    if piece.name:
        assert piece.index == sum(isinstance(part, ToolCall) for part in result)
        result.append(ToolCall(piece.id, piece.name, piece.arguments))
        return
    open_call = result[-1]
    assert isinstance(open_call, ToolCall), "arguments belong to the call before them"
    assert not piece.id
    result[-1] = ToolCall(open_call.id, open_call.name, open_call.arguments + piece.arguments)
