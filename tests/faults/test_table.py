"""The table's rows in their small form, as part of `make test`; `make faults` runs them in full."""

from pathlib import Path

import pytest

from tests.faults.rows import ROWS
from tests.faults.table import Row, Stage

QUICK = [entry for entry in ROWS if entry.quick]


@pytest.mark.parametrize("entry", QUICK, ids=[f"{entry.number}-{entry.run.__name__}" for entry in QUICK])
def test_row(entry: Row, tmp_path: Path) -> None:
    broken = [figure for figure in entry.run(Stage(tmp_path, full=False)) if not figure.holds]
    assert not broken
