"""What is kept of a child's stderr."""

import pytest

from gateway.engine.launcher.stderr_lines import KEPT_LINES, LINE_CHARS, StderrLines


def kept(line: bytes, **environment: str) -> str:
    lines = StderrLines(environment)
    lines.add(line)
    return lines.last()[0]


def test_the_last_lines_are_kept_and_long_ones_cut() -> None:
    lines = StderrLines({})
    for number in range(KEPT_LINES + 5):
        lines.add(b"%d\n" % number)
    assert lines.last(2) == [str(KEPT_LINES + 3), str(KEPT_LINES + 4)]
    assert len(lines.last()) == KEPT_LINES
    assert len(kept(b"x" * 10_000)) == LINE_CHARS


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"cannot fetch https://me:pass@hub.example/x", "cannot fetch https://[removed]@hub.example/x"),
        (b"Authorization: Bearer abc.def", "Authorization: Bearer [removed]"),
        (b"key sk-cortex-0123456789abcdef", "key [removed]"),
        (b"HF_TOKEN=swordfish!", "HF_TOKEN=[removed]"),
        (b"\xff broken", "\N{REPLACEMENT CHARACTER} broken"),
        (b"path /usr/lib/x.so: no such file", "path /usr/lib/x.so: no such file"),
    ],
)
def test_secrets_are_taken_out(line: bytes, shown: str) -> None:
    assert kept(line, HF_TOKEN="swordfish!", HOME="/usr", MY_KEY="no") == shown
