"""What a pull tells the person who waits for it.

Owns the seam between fetching and showing, and the bars on a terminal. Must not fetch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Bars, one at a time."""

    def start(self, label: str, total: int | None) -> None:
        """A new bar instead of the one before; `total` in bytes, None if nobody knows yet."""

    def advance(self, count: int) -> None:
        """So many bytes more on the current bar."""

    def say(self, line: str) -> None:
        """One line for the user."""


class Silent:
    """Shows nothing: checks that run without anybody watching."""

    def start(self, label: str, total: int | None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass


class Bars:
    """Bars of the `rich` package."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None

    def start(self, label: str, total: int | None) -> None:
        self._finish()
        self._task = self._bars.add_task(label, total=total)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)

    def say(self, line: str) -> None:
        self._finish()
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars on the error stream for as long as the context lasts."""
    # Rich stays out of the server's memory: only the commands that show bars import it.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield Bars(shown)
