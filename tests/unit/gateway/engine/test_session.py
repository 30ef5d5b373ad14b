"""A session's holder: what may be sent, and when."""

import asyncio

import pytest

from backends.protocol import (
    INPUT_CREDIT,
    MAX_FEED_BYTES,
    Cleared,
    Commit,
    Credit,
    Feed,
    Job,
    SessionInput,
    SessionParameters,
    input_cost,
)
from gateway.engine.errors import WorkerDied
from gateway.engine.session import SessionStream

JOB = Job("s", "m", "listen", SessionParameters(), [], stream=True)


def opened() -> tuple[SessionStream, list[SessionInput]]:
    given: list[SessionInput] = []
    return SessionStream(JOB, lambda job_id, reason: None, given.append), given


async def test_long_audio_goes_in_pieces() -> None:
    stream, given = opened()
    await stream.feed(bytes(2 * MAX_FEED_BYTES + 10))
    assert [len(piece.data) for piece in given if isinstance(piece, Feed)] == [
        MAX_FEED_BYTES,
        MAX_FEED_BYTES,
        10,
    ]


async def test_no_more_is_sent_than_the_credit_covers() -> None:
    stream, given = opened()
    feeding = asyncio.ensure_future(stream.feed(bytes(4 * INPUT_CREDIT)))
    await asyncio.sleep(0)
    assert INPUT_CREDIT - MAX_FEED_BYTES - 1000 < sum(map(input_cost, given)) <= INPUT_CREDIT
    stream.hear(Credit("s", 2 * INPUT_CREDIT))
    await asyncio.sleep(0)
    assert INPUT_CREDIT < sum(map(input_cost, given)) <= 2 * INPUT_CREDIT
    stream.hear(Credit("s", 5 * INPUT_CREDIT))
    await feeding
    assert not feeding.cancelled()


async def test_tiny_messages_count_too() -> None:
    stream, given = opened()
    committing = asyncio.ensure_future(_for_ever(stream))
    await asyncio.sleep(0)
    assert len(given) == INPUT_CREDIT // input_cost(Commit("s"))
    stream.end()
    committing.cancel()


async def _for_ever(stream: SessionStream) -> None:
    while True:
        await stream.commit("")


async def test_a_session_that_fails_frees_its_writer_with_the_error() -> None:
    stream, _ = opened()
    feeding = asyncio.ensure_future(stream.feed(bytes(2 * INPUT_CREDIT)))
    await asyncio.sleep(0)
    stream.fail(WorkerDied("gone"))
    with pytest.raises(WorkerDied):
        await feeding


async def test_a_session_that_has_ended_takes_what_comes_and_forgets_it() -> None:
    stream, given = opened()
    stream.end()
    await stream.feed(bytes(2 * INPUT_CREDIT))
    assert given == []


async def test_outputs_reach_the_reader_but_for_credit() -> None:
    stream, _ = opened()
    stream.hear(Credit("s", 1))
    stream.hear(Cleared("s"))
    assert await stream.next() == [Cleared("s")]
