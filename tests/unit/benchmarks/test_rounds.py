"""Rounds, their summary and their ratios."""

import argparse
from pathlib import Path

import pytest

from benchmarks.client import Address
from benchmarks.machine import CpuUse
from benchmarks.report import MILLISECONDS, WHOLE
from benchmarks.rounds import WARM_UP, Column, Contest, Measure, Ratio, Seen, Slot, hold, ratio_line, summary
from benchmarks.servers import Server

QUIET = CpuUse(client_s=0.1, measured_s=1.0, idle_side_s=0.0, others_pct=1.0, steal_pct=0.5)
COLUMNS = [Column("per_s", "/s", WHOLE), Column("p50_s", "p50 ms", MILLISECONDS)]


def measure(side: str, case: str, round_index: int, **values: float) -> Measure:
    return Measure(Slot(side, case, round_index), values, 0, "", QUIET)


class Recorder:
    """A measuring that notes what it is asked for."""

    def __init__(self, errors: list[str]) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self._errors = errors

    async def __call__(self, side: Server, case: str, round_index: int) -> Seen:
        self.asked.append((side.name, case, round_index))
        return Seen({"per_s": 1.0}, self._errors)


def run(recorder: Recorder, rounds: int, out: Path) -> None:
    sides = [Server(name, Address("", 0), 0, [name]) for name in ("a", "b")]
    contest = Contest("unit", ["x", "y"], recorder, COLUMNS, [Ratio("per_s", ("a", "x"), ("b", "x"))])
    hold(contest, argparse.Namespace(rounds=rounds, deadline_s=10.0), sides, out)


def test_the_order_turns_with_every_round_after_a_warm_up(tmp_path: Path) -> None:
    recorder = Recorder([])
    run(recorder, 2, tmp_path)
    forth = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    assert [asked[:2] for asked in recorder.asked if asked[2] == 0] == forth
    assert [asked[:2] for asked in recorder.asked if asked[2] == 1] == forth[::-1]
    assert recorder.asked[:2] == [("a", "y", WARM_UP), ("b", "y", WARM_UP)]
    assert len(list(tmp_path.glob("unit-*.json"))) == 1


def test_errors_are_written_and_end_with_a_bad_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="4 errors"):
        run(Recorder(["broken"]), 1, tmp_path)
    assert "1 ERRORS: broken" in capsys.readouterr().out


def test_a_ratio_is_the_median_of_the_rounds_that_both_have() -> None:
    measures = [
        *(measure("a", "x", n, per_s=value) for n, value in enumerate([10.0, 20.0, 90.0])),
        *(measure("b", "x", n, per_s=10.0) for n in range(2)),
    ]
    line = ratio_line(measures, Ratio("per_s", ("a", "x"), ("b", "x"), "at least 1"))
    assert line == "per_s: a, x / b, x = 1.50  (1.00 2.00)  target at least 1"


def test_a_ratio_without_a_partner_is_not_shown() -> None:
    assert not ratio_line([measure("a", "x", 0, per_s=1.0)], Ratio("per_s", ("a", "x"), ("b", "x")))


def test_the_summary_has_a_row_for_what_was_measured_and_leaves_figures_empty_that_were_not() -> None:
    measures = [
        measure("a", "x", 0, per_s=10.0, p50_s=0.5),
        measure("a", "y", 0, per_s=7.0),
        measure("b", "y", 0),
    ]
    lines = summary(measures, COLUMNS, []).splitlines()
    assert lines[1].split()[:5] == ["case", "server", "/s", "p50", "ms"]
    assert [line.split()[:4] for line in lines[3:5]] == [["x", "a", "10", "500"], ["y", "a", "7", "0"]]
    assert len([line for line in lines if line]) == 4
