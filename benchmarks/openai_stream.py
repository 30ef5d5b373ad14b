"""What a streamed or whole OpenAI-style answer says: tokens, time of each piece of text, the error if any.

Owns the reading of response bodies after the measurement. Must not run while the clock does.
"""

import msgspec
from msgspec import Struct, field

from benchmarks.client import Answer
from benchmarks.figures import gaps


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta = field(default_factory=_Delta)


class _Chunk(Struct):
    choices: list[_Choice] = field(default_factory=list)
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class Reading(Struct, frozen=True):
    """One streamed chat answer."""

    ttft_s: float | None
    """From sending to the first piece of text."""
    gaps_s: list[float]
    """From each piece of text to the next."""
    pieces: int
    prompt_tokens: int
    completion_tokens: int
    error: str
    """Empty if the stream came whole."""


_chunks = msgspec.json.Decoder(_Chunk)


def read_chat(answer: Answer) -> Reading:
    """Reads a streamed chat answer; an HTTP error, an in-band error or a missing end is in `error`."""
    text_at: list[float] = []
    usage = _Usage()
    error = answer.failure
    if not error and answer.status != 200:
        error = f"HTTP {answer.status}: {answer.body[:300].decode(errors='replace')}"
    complete = False
    for at, payload in answer.events:
        if payload == b"[DONE]":
            complete = True
            continue
        chunk = _chunks.decode(payload)
        if bytes(chunk.error) not in (b"", b"null"):
            error = error or f"in-band: {bytes(chunk.error)[:300].decode(errors='replace')}"
        usage = chunk.usage or usage
        if any(choice.delta.content for choice in chunk.choices):
            text_at.append(at)
    if not complete:
        error = error or "stream ended without [DONE]"
    return Reading(
        ttft_s=text_at[0] - answer.sent_at if text_at else None,
        gaps_s=gaps(text_at),
        pieces=len(text_at),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        error=error,
    )


def read_whole(answer: Answer) -> str:
    """The error of an answer that was not streamed; empty if it is a 200."""
    if answer.failure:
        return answer.failure
    if answer.status != 200:
        return f"HTTP {answer.status}: {answer.body[:300].decode(errors='replace')}"
    return ""
