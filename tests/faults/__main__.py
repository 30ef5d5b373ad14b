"""`python -m tests.faults [ROW …]`: run the fault table and print it. Exit status 0 if every row holds."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.rows import ROWS
from tests.faults.table import Models, Stage, line, measure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="numbers; all where none is given")
    parser.add_argument("--models", choices=["fake", "starter", "both"], default="both")
    parser.add_argument("--quick", action="store_true", help="in the small form that `make test` runs")
    asked = parser.parse_args()
    kinds: list[Models] = ["fake", "starter"] if asked.models == "both" else [asked.models]
    failed = 0
    print("| row | what | figure | bound | |\n|---|---|---|---|---|", flush=True)
    for entry in sorted(ROWS, key=lambda entry: entry.number):
        if asked.rows and entry.number not in asked.rows:
            continue
        for models in kinds:
            if models == "starter" and not entry.starter:
                continue
            started_at = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="llm-cortex-faults-") as folder:
                figures = measure(entry, Stage(Path(folder), models, not asked.quick))
            failed += not all(figure.holds for figure in figures)
            print(line(entry, models, figures), flush=True)
            print(
                f"row {entry.name(models)}: {time.monotonic() - started_at:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
