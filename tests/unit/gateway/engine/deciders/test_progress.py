"""Whether loads and steps come forward in time."""

from backends.protocol import (
    Job,
    SessionParameters,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    JobAborted,
    JobArrived,
    KillWorker,
    ModelWanted,
)
from tests.unit.gateway.engine.desk import Desk


def test_loading_too_long() -> None:
    desk = Desk(load_s=7.0)
    desk.job("a")
    assert isinstance(desk.tick(7.1)[0], KillWorker)


def test_no_progress() -> None:
    desk = Desk(step_s=3.0)
    desk.job("a")
    desk.ready(1)
    desk.now += 2
    desk.frame(1, Started("a"))
    assert not desk.tick(2.5), "the last frame is what counts"
    assert isinstance(desk.tick(0.6)[0], KillWorker)
    assert desk.fleet.models["m"].live_workers() == []


def test_an_idle_worker_is_not_watched() -> None:
    desk = Desk(step_s=3.0)
    desk.tell(ModelWanted("m"))
    desk.ready(1)
    assert not desk.tick(1000)


def test_a_worker_that_does_not_let_go_of_a_quiet_session_is_killed() -> None:
    desk = Desk(step_s=3.0)
    desk.tell(JobArrived(Job("s", "m", "listen", SessionParameters(), [], True), "key"))
    desk.ready(1)
    desk.frame(1, Started("s"))
    assert not desk.tick(100), "nothing is said"
    desk.tell(JobAborted("s", errors.InternalError("gone")))
    assert not desk.tick(2.9)
    assert isinstance(desk.tick(0.2)[0], KillWorker)
