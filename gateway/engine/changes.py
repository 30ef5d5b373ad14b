"""Waiting until something about models or workers is so.

Owns those who wait. The run loop notes each change; nobody polls.
"""

import asyncio
import contextlib
from collections.abc import Callable


class Changes:
    def __init__(self) -> None:
        self._noted = asyncio.Event()

    def note(self) -> None:
        """Something may have changed."""
        self._noted.set()
        self._noted = asyncio.Event()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds; False: it did not within the time. What it raises comes through."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._noted.wait()
                return True
        return condition()
