"""What a streamed or whole OpenAI-style answer says: tokens, time of each piece of text, the error if any.

Owns the reading of response bodies after the measurement. Must not run while the clock does.
"""

import msgspec
from msgspec import Struct, field

from benchmarks.client import Answer
from benchmarks.figures import gaps


class _PromptDetails(Struct):
    cached_tokens: int = 0


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


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
    text_at: list[float]
    """When each piece of text came, `perf_counter` seconds."""
    text: str
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, those that the server says it had not to compute."""
    completion_tokens: int
    """As the server counts them; where it does not, its pieces of text."""
    error: str
    """Empty if the stream came whole."""

    @property
    def pieces(self) -> int:
        return len(self.text_at)

    @property
    def gaps_s(self) -> list[float]:
        """From each piece of text to the next."""
        return gaps(self.text_at)


_chunks = msgspec.json.Decoder(_Chunk)


def read_chat(answer: Answer, *, cut: bool = False) -> Reading:
    """Reads a streamed chat answer; an HTTP error, an in-band error or a missing end is in `error`.

    `cut`: the client itself has ended it, so it has no end.
    """
    text_at: list[float] = []
    texts: list[str] = []
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
        if text := "".join(choice.delta.content or "" for choice in chunk.choices):
            text_at.append(at)
            texts.append(text)
    if not complete and not cut:
        error = error or "stream ended without [DONE]"
    return Reading(
        ttft_s=text_at[0] - answer.sent_at if text_at else None,
        text_at=text_at,
        text="".join(texts),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0,
        completion_tokens=usage.completion_tokens or len(text_at),
        error=error,
    )


def read_whole(answer: Answer) -> str:
    """The error of an answer that was not streamed; empty if it is a 200."""
    if answer.failure:
        return answer.failure
    if answer.status != 200:
        return f"HTTP {answer.status}: {answer.body[:300].decode(errors='replace')}"
    return ""
