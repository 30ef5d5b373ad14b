"""What the scheduler decides about sessions."""

from backends.protocol import (
    Capacity,
    EndInput,
    Feed,
    Finished,
    Frame,
    Job,
    Output,
    Requeue,
    SessionParameters,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    DrainStarted,
    FailJob,
    FrameReceived,
    InputGiven,
    JobArrived,
    JobEnded,
    KillWorker,
    ModelWanted,
    SendInput,
)
from tests.unit.gateway.engine.desk import Desk, failure, of

FEED = Feed("s", b"\0\0")


class Sessions(Desk):
    """A desk with one worker that is ready."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.inputs = 0
        self.tell(ModelWanted("m"))

    def session(self, job_id: str = "s", timeout_s: float = 600.0) -> list[Command]:
        job = Job(job_id, "m", "listen", SessionParameters(), [], True, timeout_s=timeout_s)
        return self.tell(JobArrived(job, "key"))

    def opened(self) -> None:
        self.ready(1)
        self.session()
        self.answer(Started("s"))

    def feed(self, message: Feed = FEED) -> list[Command]:
        return self.tell(InputGiven(message))

    def answer(self, *outputs: Output, inputs: int = 0, listening: bool = False) -> list[Command]:
        self.inputs += inputs
        capacity = Capacity(4, -1, 0, 99, self.inputs, listening)
        return self.tell(FrameReceived(1, Frame(list(outputs), capacity)))


def test_what_comes_before_a_worker_is_there_follows_the_job() -> None:
    desk = Sessions()
    desk.session()
    assert desk.feed() == []
    commands = desk.ready(1)
    assert [type(command) for command in commands] == [Dispatch, SendInput]
    assert desk.feed() == [SendInput(1, FEED)]


def test_input_of_a_session_that_has_ended_goes_nowhere() -> None:
    desk = Sessions()
    desk.opened()
    assert of(JobEnded, desk.answer(Finished("s")))
    assert desk.feed() == []


def test_an_idle_session_owes_no_progress() -> None:
    desk = Sessions(step_s=10.0)
    desk.opened()
    assert desk.tick(100) == []
    desk.feed()
    desk.answer(inputs=1)
    assert desk.tick(100) == []


def test_a_worker_that_does_not_take_its_input_is_hung() -> None:
    desk = Sessions(step_s=10.0)
    desk.opened()
    desk.tick(100)
    desk.feed()
    assert desk.tick(9) == []
    assert of(KillWorker, desk.tick(2))


def test_a_worker_that_took_its_input_and_makes_nothing_of_it_is_hung() -> None:
    desk = Sessions(step_s=10.0)
    desk.opened()
    desk.feed()
    desk.tick(5)
    desk.answer(inputs=1, listening=True)
    assert desk.tick(6) == []
    assert of(KillWorker, desk.tick(6))


def test_one_watchdog_is_set_however_often_a_session_is_fed() -> None:
    desk = Sessions(step_s=10.0)
    desk.opened()
    before = len(desk.fleet.timers)
    for _ in range(100):
        desk.feed()
        desk.answer(inputs=1)
    assert len(desk.fleet.timers) <= before + 1


def test_a_session_is_never_replayed() -> None:
    desk = Sessions()
    desk.ready(1)
    desk.session()
    assert isinstance(failure(desk.die(1), "s"), errors.WorkerDied)


def test_a_session_that_a_worker_gives_back_has_failed() -> None:
    desk = Sessions()
    desk.opened()
    assert isinstance(failure(desk.answer(Requeue("s")), "s"), errors.WorkerDied)


def test_a_session_too_long_is_told_so() -> None:
    desk = Sessions()
    desk.ready(1)
    desk.session(timeout_s=30)
    desk.answer(Started("s"))
    commands = desk.tick(31)
    assert isinstance(failure(commands, "s"), errors.SessionExpired)
    assert of(AbortJob, commands)


def test_sessions_are_limited_by_model() -> None:
    desk = Sessions(per_key=999)
    desk.ready(1)
    limit = desk.fleet.models["m"].spec.max_sessions
    for number in range(limit):
        assert of(Dispatch, desk.session(f"s{number}"))
    assert failure(desk.session("more"), "more").code == "too_many_sessions"
    desk.answer(Finished("s0"))
    assert of(Dispatch, desk.session("again"))


def test_sessions_take_no_room_from_jobs() -> None:
    desk = Sessions()
    desk.opened()
    assert of(Dispatch, desk.job("a", items=4))


def test_a_drain_lets_sessions_end_what_was_said() -> None:
    desk = Sessions()
    desk.opened()
    assert desk.tell(DrainStarted()) == [SendInput(1, EndInput("s"))]
    assert desk.tell(DrainStarted()) == []


def test_a_drain_ends_sessions_that_wait() -> None:
    desk = Sessions()
    desk.session()
    assert isinstance(failure(desk.tell(DrainStarted()), "s"), errors.Draining)


def test_sessions_of_dead_workers_are_no_suspects() -> None:
    """What was said in them is not known here, and their parameters are everybody's."""
    desk = Sessions()
    for worker_id in (1, 2):
        desk.ready(worker_id)
        desk.session(f"s{worker_id}")
        desk.frame(worker_id, Started(f"s{worker_id}"))
        assert isinstance(failure(desk.die(worker_id), f"s{worker_id}"), errors.WorkerDied)
        desk.tick(2.0)
    assert not of(FailJob, desk.session("s3"))
