"""What the chat measurement found: a record for each server, number of streams and round, and a summary.

Owns the figures' definitions and their table; sends nothing.
"""

from collections.abc import Sequence

from msgspec import Struct

from benchmarks import report
from benchmarks.figures import median, ratios, spread
from benchmarks.machine import CpuUse, Machine, disturbance
from benchmarks.openai_stream import Reading


class Plan(Struct, frozen=True):
    streams: list[int]
    rounds: int
    requests_per_stream: int
    max_tokens: int
    prompt_words: int
    seed: int
    timeout_s: float
    """Of one request."""


class Slot(Struct, frozen=True):
    """One server at one number of streams in one round."""

    side: str
    streams: int
    round: int


class Measure(Struct, frozen=True):
    slot: Slot
    tokens_per_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    itl_p50_s: float
    itl_p99_s: float
    prompt_tokens: int
    completion_tokens: int
    pieces: int
    """Events that carried text."""
    wall_s: float
    errors: int
    first_error: str
    cpu: CpuUse


class Result(Struct, frozen=True):
    machine: Machine
    plan: Plan
    commands: dict[str, list[str]]
    measures: list[Measure]


def measured(slot: Slot, readings: Sequence[Reading], wall_s: float, cpu: CpuUse) -> Measure:
    errors = [reading.error for reading in readings if reading.error]
    ttft = spread([reading.ttft_s for reading in readings if reading.ttft_s is not None])
    itl = spread([gap for reading in readings for gap in reading.gaps_s])
    tokens = sum(reading.completion_tokens for reading in readings)
    return Measure(
        slot=slot,
        tokens_per_s=tokens / wall_s,
        ttft_p50_s=ttft.p50,
        ttft_p99_s=ttft.p99,
        itl_p50_s=itl.p50,
        itl_p99_s=itl.p99,
        prompt_tokens=sum(reading.prompt_tokens for reading in readings),
        completion_tokens=tokens,
        pieces=sum(reading.pieces for reading in readings),
        wall_s=wall_s,
        errors=len(errors),
        first_error=errors[0] if errors else "",
        cpu=cpu,
    )


def progress(measure: Measure) -> str:
    cpu, slot = measure.cpu, measure.slot
    trouble = f"  {measure.errors} ERRORS: {measure.first_error}" if measure.errors else ""
    return (
        f"round {slot.round + 1}  {slot.streams:2} streams  {slot.side:12}  {measure.tokens_per_s:6.1f} tok/s"
        f"  cpu s: server {cpu.measured_s:.2f}, client {cpu.client_s:.2f}, idle side {cpu.idle_side_s:.2f},"
        f" others {cpu.others_pct:.0f} %, steal {cpu.steal_pct:.1f} %{trouble}"
    )


def summary(result: Result) -> str:
    """Medians over the rounds, side by side, and the ratio of tokens/s within each round."""
    sides = list(result.commands)
    head = [
        "streams",
        "server",
        "tok/s",
        "TTFT p50 ms",
        "TTFT p99",
        "ITL p50 ms",
        "ITL p99",
        "errors",
        "client cpu",
    ]
    head += ["others %", "steal %"]
    rows, lines = [], []
    for streams in result.plan.streams:
        taken = {
            s: [m for m in result.measures if m.slot.streams == streams and m.slot.side == s] for s in sides
        }
        rows += [_row(streams, side, taken[side]) for side in sides]
        if len(sides) == 2:
            speeds = [[m.tokens_per_s for m in taken[side]] for side in sides]
            by_round = ratios(speeds[0], speeds[1])
            shown = " ".join(f"{ratio:.2f}" for ratio in by_round)
            lines.append(f"{streams:2} streams: {sides[0]} / {sides[1]} = {median(by_round):.2f}  ({shown})")
    warning = disturbance([m.cpu for m in result.measures])
    return "\n".join(["", report.table(head, rows), "", warning, *lines])


def _row(streams: int, side: str, taken: Sequence[Measure]) -> list[str]:
    durations = ("ttft_p50_s", "ttft_p99_s", "itl_p50_s", "itl_p99_s")
    return [
        str(streams),
        side,
        f"{median([m.tokens_per_s for m in taken]):.1f}",
        *(report.milliseconds(median([getattr(m, name) for m in taken])) for name in durations),
        str(sum(m.errors for m in taken)),
        f"{median([m.cpu.client_s / m.wall_s for m in taken]):.2f}",
        f"{median([m.cpu.others_pct for m in taken]):.0f}",
        f"{median([m.cpu.steal_pct for m in taken]):.1f}",
    ]
