"""Interleaved rounds: every server at every case, one right after the other, the order turning each round.

Owns the order, the record of each measure and the summary. What a case is and which figures come of it is
each measurement's own. Ratios are taken within a round, where the machine's speed of the hour cancels out;
the figure is their median. The servers that wait are idle but run on; their processor time is reported.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import process_time

import uvloop
from msgspec import Struct

from benchmarks import machine, report
from benchmarks.figures import median, ratios
from benchmarks.machine import CpuMeter, CpuUse, Machine, disturbance
from benchmarks.servers import Server

WARM_UP = -1
"""The round that is not counted: first use of pages, connections and kernels."""


class Seen(Struct, frozen=True):
    """What one measure found: figures by name, times in seconds, and every error."""

    values: dict[str, float]
    errors: list[str]
    cpu_s: float = 0.0
    """Processor time of a program that was started, measured and awaited: no server that can be looked at."""


class Slot(Struct, frozen=True):
    """One server at one case in one round."""

    side: str
    case: str
    round: int


class Measure(Struct, frozen=True):
    slot: Slot
    values: dict[str, float]
    errors: int
    first_error: str
    cpu: CpuUse


class Column(Struct, frozen=True):
    """A figure of the table: its name in `values`, its heading, and how it is written."""

    value: str
    heading: str
    write: Callable[[float], str]


class Ratio(Struct, frozen=True):
    """One figure of a server over the same figure of another one, or of its own at another case."""

    value: str
    ours: tuple[str, str]
    """Side and case."""
    theirs: tuple[str, str]
    target: str = ""


class Result(Struct, frozen=True):
    machine: Machine
    settings: dict[str, str]
    commands: dict[str, list[str]]
    measures: list[Measure]


class Contest(Struct, frozen=True):
    """What is measured: `measuring(side, case, round)` for every case, and what is shown of it."""

    name: str
    cases: list[str]
    measuring: Callable[[Server, str, int], Awaitable[Seen]]
    columns: list[Column]
    compared: list[Ratio]


def hold(
    contest: Contest, arguments: argparse.Namespace, sides: Sequence[Server], out: Path = report.OUT
) -> None:
    """Runs the rounds, prints progress and summary, writes everything to `out`; exits with 1 after errors."""
    measures = uvloop.run(_rounds(contest, sides, arguments.rounds, arguments.deadline_s))
    settings = {setting: str(value) for setting, value in vars(arguments).items()}
    result = Result(machine.describe(), settings, {side.name: side.command for side in sides}, measures)
    report.say(summary(measures, contest.columns, contest.compared))
    report.say(f"\nwritten to {report.write(contest.name, result, out)}")
    if errors := sum(measure.errors for measure in measures):
        sys.exit(f"{errors} errors: the figures do not count")


async def _rounds(contest: Contest, sides: Sequence[Server], rounds: int, deadline_s: float) -> list[Measure]:
    measures = []
    async with asyncio.timeout(deadline_s):
        for side in sides:
            await contest.measuring(side, contest.cases[-1], WARM_UP)
        for round_index in range(rounds):
            for case, side in _order(contest.cases, sides, round_index):
                slot = Slot(side.name, case, round_index)
                measures.append(await _measure_one(slot, side, sides, contest))
                report.say(progress(measures[-1], contest.columns))
    return measures


def _order(cases: Sequence[str], sides: Sequence[Server], round_index: int) -> list[tuple[str, Server]]:
    places = [(case, side) for case in cases for side in sides]
    return places if round_index % 2 == 0 else places[::-1]


async def _measure_one(slot: Slot, side: Server, sides: Sequence[Server], contest: Contest) -> Measure:
    meter = CpuMeter(side.pid, [other.pid for other in sides if other is not side])
    cpu_before = process_time()
    seen = await contest.measuring(side, slot.case, slot.round)
    cpu = meter.read(process_time() - cpu_before, seen.cpu_s)
    return Measure(slot, seen.values, len(seen.errors), seen.errors[0] if seen.errors else "", cpu)


def progress(measure: Measure, columns: Sequence[Column]) -> str:
    cpu, slot = measure.cpu, measure.slot
    figures = "  ".join(
        f"{c.heading} {c.write(measure.values[c.value])}" for c in columns if c.value in measure.values
    )
    trouble = f"  {measure.errors} ERRORS: {measure.first_error}" if measure.errors else ""
    return (
        f"round {slot.round + 1}  {slot.case:10}  {slot.side:16}  {figures}"
        f"  cpu s: server {cpu.measured_s:.2f}, client {cpu.client_s:.2f}, idle sides {cpu.idle_side_s:.2f},"
        f" others {cpu.others_pct:.0f} %, steal {cpu.steal_pct:.1f} %{trouble}"
    )


def summary(measures: Sequence[Measure], columns: Sequence[Column], compared: Sequence[Ratio]) -> str:
    """Medians over the rounds by case and side, then each ratio with its rounds."""
    taken: dict[tuple[str, str], list[Measure]] = {}
    for measure in measures:
        taken.setdefault((measure.slot.case, measure.slot.side), []).append(measure)
    shown = [column for column in columns if any(column.value in measure.values for measure in measures)]
    head = ["case", "server", *(c.heading for c in shown), "errors", "client cpu s", "others %", "steal %"]
    rows = [_row(case, side, some, shown) for (case, side), some in taken.items() if some[0].values]
    lines = [line for ratio in compared if (line := ratio_line(measures, ratio))]
    warning = disturbance([measure.cpu for measure in measures])
    return "\n".join(["", report.table(head, rows), "", warning, *lines])


def _row(case: str, side: str, taken: Sequence[Measure], columns: Sequence[Column]) -> list[str]:
    figures = [[m.values[c.value] for m in taken if c.value in m.values] for c in columns]
    return [
        case,
        side,
        *(c.write(median(values)) if values else "" for c, values in zip(columns, figures, strict=True)),
        str(sum(m.errors for m in taken)),
        f"{median([m.cpu.client_s for m in taken]):.2f}",
        f"{median([m.cpu.others_pct for m in taken]):.0f}",
        f"{median([m.cpu.steal_pct for m in taken]):.1f}",
    ]


def ratio_line(measures: Sequence[Measure], ratio: Ratio) -> str:
    """`figure: ours / theirs = median (rounds), target`; empty where one of them was not measured."""
    by_round = [_by_round(measures, ratio.value, place) for place in (ratio.ours, ratio.theirs)]
    common = sorted(by_round[0].keys() & by_round[1].keys())
    if not common:
        return ""
    values = ratios(*([figures[number] for number in common] for figures in by_round))
    (our_side, our_case), (their_side, their_case) = ratio.ours, ratio.theirs
    ours, theirs = f"{our_side}, {our_case}", f"{their_side}, {their_case}"
    target = f"  target {ratio.target}" if ratio.target else ""
    shown = " ".join(f"{value:.2f}" for value in values)
    return f"{ratio.value}: {ours} / {theirs} = {median(values):.2f}  ({shown}){target}"


def _by_round(measures: Sequence[Measure], value: str, place: tuple[str, str]) -> dict[int, float]:
    return {
        m.slot.round: m.values[value]
        for m in measures
        if (m.slot.side, m.slot.case) == place and value in m.values
    }
