"""Results for people and for programs: an aligned table on standard output, JSON in benchmarks/out/.

Owns the writing. Results are structs of the measuring modules; nothing is computed here.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

OUT = Path(__file__).parent / "out"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first one to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}" if seconds < 0.1 else f"{seconds * 1000:.0f}"


def _digits(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}"


MILLISECONDS = milliseconds
WHOLE, ONE_DIGIT, TWO_DIGITS, THREE_DIGITS = map(_digits, range(4))
"""How a figure of a table is written."""


def say(text: str) -> None:
    print(text, flush=True)


def write(name: str, result: msgspec.Struct, folder: Path = OUT) -> Path:
    """Writes one run's result and returns its file; a run never overwrites another."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path
