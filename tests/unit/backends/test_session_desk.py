"""The worker's account of sessions."""

import pytest

from backends.base import JobError
from backends.fake import FakeParameters, FakeStepEngine
from backends.fake_sessions import FakeSessionEngine
from backends.protocol import (
    INPUT_CREDIT,
    MAX_FEED_BYTES,
    Credit,
    Failed,
    Feed,
    Job,
    SessionParameters,
    input_cost,
)
from backends.session_desk import SessionDesk

JOB = Job("s", "m", "listen", SessionParameters(voice_activity=None), [], stream=True)
FEED = Feed("s", bytes(MAX_FEED_BYTES))


def opened() -> tuple[SessionDesk, FakeSessionEngine]:
    engine = FakeSessionEngine(FakeParameters())
    desk = SessionDesk(engine)
    desk.open(JOB)
    return desk, engine


def test_an_engine_without_sessions_refuses_them() -> None:
    with pytest.raises(JobError):
        SessionDesk(FakeStepEngine(FakeParameters())).open(JOB)


def test_credit_grows_only_as_audio_is_worked_off() -> None:
    desk, engine = opened()
    for _ in range(8):
        desk.take(FEED)
    assert desk.has_work()
    assert desk.after([]) == []
    while desk.has_work():
        engine.step()
    assert desk.after([]) == [Credit("s", 8 * input_cost(FEED) + INPUT_CREDIT)]
    assert desk.after([]) == []
    assert desk.inputs == 8


def test_a_session_that_has_ended_is_forgotten() -> None:
    desk, engine = opened()
    desk.after([Failed("s", "aborted", "")])
    desk.take(FEED)
    assert engine.backlog_bytes("s") == 0
    assert not desk.has_work()
