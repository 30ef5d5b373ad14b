"""Waiting until something about models or workers is so.

Owns those who wait. The run loop notes each change; nobody polls.
"""

import asyncio
from collections.abc import Callable


class Changes:
    def __init__(self) -> None:
        self._noted = asyncio.Event()
        self._waiting = 0

    def note(self) -> None:
        """Something may have changed."""
        if self._waiting:
            self._noted.set()
            self._noted = asyncio.Event()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds; False: it did not within the time. What it raises comes through."""
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._noted.wait()
                return True
        except TimeoutError:
            return condition()
        finally:
            self._waiting -= 1
