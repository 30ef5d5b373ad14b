"""Waiting until something is so."""

import asyncio

import pytest

from gateway.engine.changes import Changes


async def test_every_waiter_sees_each_change() -> None:
    changes, seen = Changes(), [0]
    waiters = [asyncio.create_task(changes.until(lambda n=n: len(seen) > n, 10)) for n in (0, 1, 2)]  # type: ignore[misc]
    for number in (1, 2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(number)
        changes.note()
    assert await asyncio.gather(*waiters) == [True, True, True]


async def test_the_wait_has_an_end() -> None:
    assert not await Changes().until(lambda: False, 0)


async def test_what_the_condition_raises_comes_through() -> None:
    def gone() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        await Changes().until(gone, 10)
