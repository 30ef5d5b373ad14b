"""Decides what the next decode holds: who takes part, who joins, who must step back.

Pure: no library, no clock. Running sequences stand in order of rank, the most deserving first.
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

    @property
    def answering(self) -> bool:
        """It has computed its prompt: what it lacks are the newest tokens of its answer."""


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


def plan(
    running: Sequence[Row],
    waiting: Sequence[Row],
    limits: Limits,
    prefill_tokens: int,
    *,
    cells: Sequence[int] | None = None,
    stepping: Sequence[bool] | None = None,
) -> Plan:
    """One step: every sequence that lacks only its newest tokens decodes; the rest is prefill in a budget.

    `prefill_tokens` bounds the prefill where something decodes; the caller knows what a token costs. `cells`:
    what each running sequence needs beside what those before it hold; default: its whole length. `stepping`:
    who may take part in this step; default: all.
    """
    needs = [row.length for row in running] if cells is None else cells
    stay = _that_fit(needs, limits.cells)
    preempt = list(range(stay, len(running)))
    taking_part = [i for i in range(stay) if stepping is None or stepping[i]]
    decode, budget = _decoding(running, taking_part, limits.batch_tokens)
    budget = min(prefill_tokens, budget)
    prefill: list[tuple[int, int]] = []
    for index in taking_part:
        lacking = running[index].length - running[index].held
        if not running[index].answering and budget > 0:
            prefill.append((index, min(lacking, budget)))
            budget -= min(lacking, budget)
    admit = 0
    if not preempt:
        admit = _admissible(sum(needs), len(running), waiting, limits, budget)
        for offset in range(admit):
            tokens = min(waiting[offset].length - waiting[offset].held, budget)
            prefill.append((stay + offset, tokens))
            budget -= tokens
    return Plan(preempt, decode, prefill, admit)


def plan_apart(
    running: Sequence[Row],
    waiting: Sequence[Row],
    limits: Limits,
    chunk: int,
    *,
    stepping: Sequence[bool] | None = None,
) -> Plan:
    """One step in which nothing depends on company: the next piece of one prompt alone, or all answers.

    Prompts are cut at multiples of `chunk`, wherever they are computed. Every sequence has cells of its own.
    `stepping` as in `plan`.
    """
    taking_part = [i for i in range(len(running)) if stepping is None or stepping[i]]
    for index in taking_part:
        if not running[index].answering:
            return Plan([], [], [(index, _piece(running[index], chunk))], 0)
    if waiting and len(running) < limits.sequences:
        return Plan([], [], [(len(running), _piece(waiting[0], chunk))], 1)
    return Plan([], taking_part, [], 0)


def _piece(row: Row, chunk: int) -> int:
    return min(row.length - row.held, chunk - row.held % chunk)


def _decoding(running: Sequence[Row], taking_part: Sequence[int], batch_tokens: int) -> tuple[list[int], int]:
    """Those that decode, as far as a batch holds what they lack, and what is left of the batch."""
    decode = []
    for index in taking_part:
        lacking = running[index].length - running[index].held
        if running[index].answering and lacking <= batch_tokens:
            decode.append(index)
            batch_tokens -= lacking
    return decode, batch_tokens


def _that_fit(needs: Sequence[int], cells: int) -> int:
    """How many from the head fit with their whole history; at least one, which always fits alone."""
    used = 0
    for count, need in enumerate(needs):
        used += need
        if used > cells and count > 0:
            return count
    return len(needs)


def _admissible(used: int, running: int, waiting: Sequence[Row], limits: Limits, budget: int) -> int:
    """How many of the waiting can start now, in their order: nobody overtakes one that does not fit."""
    count = 0
    for row in waiting:
        present = running + count
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
