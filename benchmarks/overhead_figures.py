"""The cases of the overhead measurement, what is read from their answers, and the summary.

Owns the figures' definitions and their table; sends nothing.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from benchmarks import report
from benchmarks.client import Answer
from benchmarks.figures import median, ratios, spread
from benchmarks.machine import CpuUse, Machine, disturbance
from benchmarks.openai_stream import read_chat, read_whole

PACE_S = 0.02
"""Between the pieces of a paced stream."""


class Case(Struct, frozen=True):
    name: str
    clients: int
    requests: int
    """By each client, one after another."""
    tokens: int
    streamed: bool
    model: str = "free"


CASES = [
    Case("latency, 1 client", clients=1, requests=1000, tokens=1, streamed=False),
    Case("32 clients", clients=32, requests=180, tokens=1, streamed=False),
    Case("8 streams", clients=8, requests=4, tokens=2000, streamed=True),
    Case("64 paced streams", clients=64, requests=1, tokens=150, streamed=True, model="paced"),
]


class Seen(Struct, frozen=True):
    """What the answers of one case say."""

    done: int
    """Whole answers, or pieces of streamed ones."""
    times_s: list[float]
    lost: int
    errors: list[str]


class Measure(Struct, frozen=True):
    case: str
    side: str
    round: int
    per_s: float
    """Requests, or pieces of streams."""
    per_core_s: float
    """The same for each second of processor time that the server with its workers used."""
    p50_s: float
    p99_s: float
    """Of a request; of a piece after the one before; where streams are paced, of its lateness."""
    lost: int
    """Pieces that never came."""
    errors: int
    first_error: str
    cpu: CpuUse


class Result(Struct, frozen=True):
    machine: Machine
    cases: list[Case]
    commands: dict[str, list[str]]
    measures: list[Measure]


def body(case: Case) -> dict[str, Any]:
    plain = {
        "model": case.model,
        "max_tokens": case.tokens,
        "messages": [{"role": "user", "content": "Hello."}],
    }
    return {**plain, "stream": True, "stream_options": {"include_usage": True}} if case.streamed else plain


def see(case: Case, answers: Sequence[Answer]) -> Seen:
    return _see_streams(case, answers) if case.streamed else _see_whole(answers)


def _see_whole(answers: Sequence[Answer]) -> Seen:
    errors = [error for error in map(read_whole, answers) if error]
    return Seen(len(answers) - len(errors), [a.ended_at - a.sent_at for a in answers], 0, errors)


def _see_streams(case: Case, answers: Sequence[Answer]) -> Seen:
    readings = [read_chat(answer) for answer in answers]
    pieces = sum(reading.pieces for reading in readings)
    pace_s = PACE_S if case.model == "paced" else 0.0
    times = [gap - pace_s for reading in readings for gap in reading.gaps_s]
    errors = [reading.error for reading in readings if reading.error]
    return Seen(pieces, times, len(answers) * case.tokens - pieces, errors)


def measured(case: Case, side: str, round_index: int, *, seen: Seen, wall_s: float, cpu: CpuUse) -> Measure:
    times = spread(seen.times_s)
    return Measure(
        case=case.name,
        side=side,
        round=round_index,
        per_s=seen.done / wall_s,
        per_core_s=seen.done / cpu.measured_s if cpu.measured_s else 0.0,
        p50_s=times.p50,
        p99_s=times.p99,
        lost=seen.lost,
        errors=len(seen.errors),
        first_error=seen.errors[0] if seen.errors else "",
        cpu=cpu,
    )


def progress(measure: Measure) -> str:
    trouble = f"  {measure.errors} ERRORS: {measure.first_error}" if measure.errors else ""
    return (
        f"round {measure.round + 1}  {measure.case:18} {measure.side:8} {measure.per_s:9.0f} /s"
        f"  p50 {report.milliseconds(measure.p50_s)} ms  p99 {report.milliseconds(measure.p99_s)} ms"
        f"  cpu s: server {measure.cpu.measured_s:.2f}, client {measure.cpu.client_s:.2f},"
        f" others {measure.cpu.others_pct:.0f} %, steal {measure.cpu.steal_pct:.1f} %{trouble}"
    )


def summary(result: Result) -> str:
    """Medians over the rounds, and gateway against yardstick within each round."""
    head = [
        "case",
        "server",
        "/s",
        "/s and core",
        "p50 ms",
        "p99 ms",
        "lost",
        "errors",
        "others %",
        "steal %",
    ]
    rows, lines = [], []
    for case in result.cases:
        taken = {
            s: [m for m in result.measures if m.case == case.name and m.side == s] for s in result.commands
        }
        rows += [_row(case.name, side, taken[side]) for side in taken]
        if len(taken) == 2:
            lines.append(_comparison(case.name, *taken.values()))
    warning = disturbance([m.cpu for m in result.measures])
    return "\n".join(["", report.table(head, rows), "", warning, *lines])


def _row(case: str, side: str, taken: Sequence[Measure]) -> list[str]:
    return [
        case,
        side,
        f"{median([m.per_s for m in taken]):.0f}",
        f"{median([m.per_core_s for m in taken]):.0f}",
        report.milliseconds(median([m.p50_s for m in taken])),
        report.milliseconds(median([m.p99_s for m in taken])),
        str(sum(m.lost for m in taken)),
        str(sum(m.errors for m in taken)),
        f"{median([m.cpu.others_pct for m in taken]):.0f}",
        f"{median([m.cpu.steal_pct for m in taken]):.1f}",
    ]


def _comparison(case: str, gateway: Sequence[Measure], bare: Sequence[Measure]) -> str:
    added_p50, added_p99 = (
        median([getattr(g, name) - getattr(b, name) for g, b in zip(gateway, bare, strict=True)])
        for name in ("p50_s", "p99_s")
    )
    per_core = median(ratios([m.per_core_s for m in gateway], [m.per_core_s for m in bare]))
    per_s = median(ratios([m.per_s for m in gateway], [m.per_s for m in bare]))
    return (
        f"{case:18} added p50 {added_p50 * 1000:+.2f} ms, p99 {added_p99 * 1000:+.2f} ms;"
        f" gateway / bare: {per_s:.2f} by second, {per_core:.2f} by processor second"
    )
