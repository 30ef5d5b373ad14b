"""Decides what the next decode holds: who takes part, who joins, who must step back.

Pure: no library, no clock. All cells of the cache are shared, and a sequence needs one for each token of its
history. Running sequences stand in order of rank, the most deserving first.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Row(Protocol):
    """What the planner looks at in a sequence."""

    @property
    def length(self) -> int:
        """Tokens of prompt and answer so far."""

    @property
    def held(self) -> int:
        """Of those, how many the cache holds."""


class Limits(Struct, frozen=True):
    """What does not change while the model is loaded."""

    cells: int
    """Tokens that the cache holds in all."""
    sequences: int
    batch_tokens: int
    headroom: int = 16
    """Cells kept free for each running sequence when another joins, so that it need not leave again soon."""


class Plan(Struct):
    """Indices into `running` and counts; `admit` sequences join from the head of the waiting line."""

    preempt: list[int]
    decode: list[int]
    prefill: list[tuple[int, int]]
    """(index, tokens); indices from len(running) on are the admitted ones, in order."""
    admit: int


def plan(running: Sequence[Row], waiting: Sequence[Row], limits: Limits, prefill_tokens: int) -> Plan:
    """One step: every sequence that only lacks its newest token decodes; the rest is prefill within a budget.

    `prefill_tokens` bounds the prefill where something decodes; the caller knows what a token costs.
    """
    stay = _that_fit(running, limits.cells)
    preempt = list(range(stay, len(running)))
    decode = [i for i in range(stay) if running[i].length - running[i].held == 1]
    budget = min(prefill_tokens, limits.batch_tokens - len(decode))
    prefill: list[tuple[int, int]] = []
    for index in range(stay):
        lacking = running[index].length - running[index].held
        if lacking > 1 and budget > 0:
            prefill.append((index, min(lacking, budget)))
            budget -= min(lacking, budget)
    admit = 0
    if not preempt:
        admit = _admissible(running, waiting, limits, budget)
        for offset in range(admit):
            tokens = min(waiting[offset].length, budget)
            prefill.append((stay + offset, tokens))
            budget -= tokens
    return Plan(preempt, decode, prefill, admit)


def _that_fit(running: Sequence[Row], cells: int) -> int:
    """How many from the head fit with their whole history; at least one, which always fits alone."""
    used = 0
    for count, row in enumerate(running):
        used += row.length
        if used > cells and count > 0:
            return count
    return len(running)


def _admissible(running: Sequence[Row], waiting: Sequence[Row], limits: Limits, budget: int) -> int:
    """How many of the waiting can start now, in their order: nobody overtakes one that does not fit."""
    used = sum(row.length for row in running)
    count = 0
    for row in waiting:
        present = len(running) + count
        needed = used + row.length + limits.headroom * (present + 1)
        if present >= limits.sequences or budget <= 0 or (present and needed > limits.cells):
            break
        used += row.length
        budget -= row.length
        count += 1
    return count


class CostModel:
    """Predicts how much prefill fits into a step, from running means of what steps took."""

    _WEIGHT = 0.2
    _SMALLEST_CHUNK = 16
    """Prefill always moves on by this much, however slow the machine."""

    def __init__(self) -> None:
        self._decode_s = 0.0
        self._prefill_token_s = 0.0

    def measured(self, step_s: float, decode_rows: int, prefill_tokens: int) -> None:
        """Learn from a step."""
        if prefill_tokens == 0:
            self._decode_s = self._mean(self._decode_s, step_s)
        elif prefill_tokens >= self._SMALLEST_CHUNK:
            alone_s = step_s - (self._decode_s if decode_rows else 0.0)
            self._prefill_token_s = self._mean(self._prefill_token_s, max(alone_s, 0.0) / prefill_tokens)

    def prefill_tokens(self, step_s: float, decode_rows: int) -> int:
        """Tokens of prefill with which a step is predicted to last `step_s`."""
        if self._prefill_token_s <= 0.0:
            return self._SMALLEST_CHUNK
        left_s = step_s - (self._decode_s if decode_rows else 0.0)
        return max(int(left_s / self._prefill_token_s), self._SMALLEST_CHUNK)

    def _mean(self, old: float, new: float) -> float:
        return new if old == 0.0 else old + self._WEIGHT * (new - old)
