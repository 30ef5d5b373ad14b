"""The fault table: its rows, what a row measures, and how a measured row is printed.

Owns the registry. A row is a function that injects one kind of fault into a real gateway process and returns
figures; it must not assert, so that a failing row still shows all that was measured.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")
Models = Literal["fake", "starter"]


@dataclass(frozen=True)
class Figure:
    """One measured number and the bound that it is held to."""

    what: str
    measured: str
    bound: str
    holds: bool


def at_most(what: str, value: float, bound: float, unit: str = "") -> Figure:
    return Figure(what, _number(value, unit), f"<= {_number(bound, unit)}", value <= bound)


def at_least(what: str, value: float, bound: float, unit: str = "") -> Figure:
    return Figure(what, _number(value, unit), f">= {_number(bound, unit)}", value >= bound)


def exactly(what: str, value: object, bound: object) -> Figure:
    return Figure(what, str(value), str(bound), value == bound)


def told(what: str, value: object) -> Figure:
    """A number that has no bound of its own: what the others are to be read by."""
    return Figure(what, str(value), "-", True)


SLACK = 5.0
SLACK_S = 5.0


@dataclass(frozen=True)
class Stage:
    """What a row gets: a folder for itself, the kind of models, and whether to take its full size."""

    folder: Path
    models: Models = "fake"
    full: bool = True

    def size(self, full: T, quick: T) -> T:
        return full if self.full else quick

    def within(self, what: str, seconds: float, bound_s: float) -> Figure:
        """The small form runs beside other tests, on machines that do other things: it allows more time."""
        return at_most(what, seconds, bound_s if self.full else max(bound_s * SLACK, SLACK_S), "s")


Run = Callable[[Stage], list[Figure]]


@dataclass(frozen=True)
class Row:
    number: int
    what: str
    run: Run
    starter: bool
    """Holds on the starter models too."""
    quick: bool
    """Its small form is part of `make test`."""

    def name(self, models: Models) -> str:
        return f"{self.number} starter" if models == "starter" else str(self.number)


ROWS: list[Row] = []


def row(number: int, what: str, *, starter: bool = False, quick: bool = True) -> Callable[[Run], Run]:
    """Enter a function as a row of the table. A number may have several rows."""

    def enter(run: Run) -> Run:
        ROWS.append(Row(number, what, run, starter, quick))
        return run

    return enter


def measure(entry: Row, stage: Stage) -> list[Figure]:
    """The row's figures. What it raises is a figure too, one that fails."""
    try:
        return entry.run(stage)
    except Exception as error:  # the edge of a row: the others are still to be run
        traceback.print_exc()
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return [Figure("the row broke off", reason[0][:200], "no error", False)]


def line(entry: Row, models: Models, figures: Iterable[Figure]) -> str:
    """`| row | what | figure | bound | PASS or FAIL |`"""
    figures = list(figures)
    measured = "; ".join(f"{figure.what} {figure.measured}" for figure in figures)
    bounds = "; ".join(figure.bound for figure in figures)
    verdict = "PASS" if all(figure.holds for figure in figures) else "FAIL"
    return f"| {entry.name(models)} | {entry.what} | {measured} | {bounds} | {verdict} |"


def _number(value: float, unit: str) -> str:
    shown = (
        f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}" if value < 10 else f"{value:,.1f}"
    )
    return f"{shown} {unit}".strip()
