"""One answer of the fake engine: its tokens one by one, as deltas or kept for the result."""

from collections.abc import Iterator

from backends.fake_answers import FakeItem, Piece, directives, length, logprob, pieces, prompt_logprobs
from backends.protocol import Delta, GenerateParameters, GenerationResult, Job, TokenLogprob, ToolCall


class FakeSequence:
    """One answer on its way. `tokens`, `step_ms`: what the model is set to; `ids` are for calls."""

    def __init__(
        self, job: Job, index: int, item: FakeItem, ids: Iterator[str], *, tokens: int, step_ms: float
    ) -> None:
        assert isinstance(job.parameters, GenerateParameters)
        asked = job.parameters
        self.job = job
        self.index = index
        self.answer = index % asked.n
        self.item = item
        self.script = directives(item.text)
        wanted = length(item, self.script.get("tokens", tokens))
        self.limit = wanted if asked.max_tokens is None else min(wanted, asked.max_tokens)
        self.cut = self.limit < wanted
        self.step_s = self.script.get("slow", step_ms) / 1000
        self.done = 0
        self._pieces = pieces(item, self.answer, asked.adapters, ids)
        self._stop = asked.stop
        self._top = asked.logprobs
        self._kept: list[Delta] = []
        if asked.echo:
            logprobs = [] if self._top is None else prompt_logprobs(item.text, self._top)
            self._kept.append(Delta(job.id, index, item.text, 0, logprobs=logprobs))

    def advance(self) -> list[Delta]:
        """What goes out of the next token: nothing, while it is kept for the result."""
        piece = next(self._pieces)
        if self._stop and any(stop in piece.text for stop in self._stop):
            self.limit = self.done
            self.cut = False
        else:
            self.done += 1
            self._kept.append(self._delta(piece))
        if not self.job.stream:
            return []
        out, self._kept = self._kept, []
        return out

    def result(self) -> GenerationResult:
        calls: dict[int, ToolCall] = {}
        for call in [call for delta in self._kept for call in delta.calls]:
            before = calls.get(call.index, ToolCall(call.id, call.name, ""))
            calls[call.index] = ToolCall(before.id, before.name, before.arguments + call.arguments)
        called = bool(self.item.calls) and not self.cut
        return GenerationResult(
            "".join(delta.text for delta in self._kept),
            "length" if self.cut else "tool_calls" if called else "stop",
            self.item.tokens,
            self.done,
            min(self.script.get("cached", 0), self.item.tokens),
            "".join(delta.reasoning for delta in self._kept),
            list(calls.values()),
            min(self.item.think, self.done),
            [logprob for delta in self._kept for logprob in delta.logprobs],
            min(self.script.get("drafts", 0), self.done),
        )

    def _delta(self, piece: Piece) -> Delta:
        logprobs: list[TokenLogprob] = []
        if self._top is not None:
            logprobs.append(logprob(piece.token, self.answer, self._top))
        calls = [piece.call] if piece.call else []
        return Delta(self.job.id, self.index, piece.text, 1, piece.reasoning, calls, logprobs)
