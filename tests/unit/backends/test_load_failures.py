"""What the gateway is told of a load that failed."""

import pytest

from backends.base import OutOfMemory
from backends.serve import load_failed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no such tensor"), "invalid_model"),
        (FileNotFoundError("no such file"), "invalid_model"),
        (ArithmeticError("not a finite number"), "invalid_model"),
        (OutOfMemory("no room"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (KeyError("a bug"), "internal"),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error: Exception, kind: str) -> None:
    assert load_failed(error).kind == kind
