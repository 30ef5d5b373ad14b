"""What workers report of their jobs."""

from backends.protocol import (
    Failed,
    Finished,
    ItemDone,
    Requeue,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    Dispatch,
    JobEnded,
)
from tests.unit.gateway.engine.desk import RESULT, Desk, failure, of


def test_a_finished_job_leaves_and_the_next_goes() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    commands = desk.frame(1, Started("a"), ItemDone("a", 0, RESULT), Finished("a"))
    assert JobEnded("a") in commands
    assert not desk.fleet.jobs


def test_a_handed_back_job_goes_first_again() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1, free=1)
    desk.frame(1, Requeue("a"), free=-9)
    desk.job("b")
    assert [c.job.id for c in of(Dispatch, desk.frame(1, free=4))] == ["a", "b"]


def test_the_kind_of_a_failure_becomes_the_error() -> None:
    kinds = {
        "invalid_request": errors.BadRequest,
        "timeout": errors.RequestTimeout,
        "out_of_memory": errors.NoRoom,
        "worker_died": errors.WorkerDied,
        "internal": errors.InternalError,
        "aborted": errors.InternalError,
    }
    for kind, expected in kinds.items():
        desk = Desk()
        desk.job("a")
        desk.ready(1)
        error = failure(desk.frame(1, Failed("a", kind, "why", "stop", "bad_stop")), "a")  # type: ignore[arg-type]
        assert (type(error), error.param, error.code) == (expected, "stop", "bad_stop")
