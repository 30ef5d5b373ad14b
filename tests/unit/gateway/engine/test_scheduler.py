"""The scheduler's decisions, fed event by event on a clock of our own."""

from typing import Any

import pytest

from backends.protocol import (
    Capacity,
    Delta,
    Description,
    Failed,
    Finished,
    Frame,
    GenerateParameters,
    GenerationResult,
    ItemDone,
    Job,
    Output,
    Requeue,
    Started,
    Text,
)
from config.schema import LimitsConfig, ModelSpec, TimeoutsConfig
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    DrainStarted,
    Event,
    FailJob,
    FrameReceived,
    JobAborted,
    JobArrived,
    JobEnded,
    KillWorker,
    ModelBroken,
    ModelDescribed,
    ModelWanted,
    ReplayJob,
    StartWorker,
    StopWorker,
    Tick,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.placement import Device
from gateway.engine.scheduler import LOOK_AHEAD_ITEMS, Scheduler

DESCRIPTION = Description(["generate"], [], memory_bytes=60)
RESULT = GenerationResult("", "stop", 1, 1)


class Desk:
    """A scheduler with one or more models, and short words for what happens to it."""

    def __init__(self, *models: str, replicas: int = 1, **settings: Any) -> None:
        specs = [
            ModelSpec(name=name, backend="fake", tasks=["generate"], source="x", replicas=replicas)
            for name in models or ("m",)
        ]
        limits = LimitsConfig(
            queued_jobs_per_model=settings.pop("queue", 10), jobs_per_key=settings.pop("per_key", 99)
        )
        self.scheduler = Scheduler(specs, [Device("cpu", 100)], limits, TimeoutsConfig(**settings))
        self.now = 1000.0
        self.received = 0
        for spec in specs:
            self.tell(ModelDescribed(spec.name, DESCRIPTION))

    def tell(self, event: Event) -> list[Command]:
        return self.scheduler.handle(event, self.now)

    def job(
        self,
        job_id: str,
        model: str = "m",
        *,
        stream: bool = True,
        items: int = 1,
        answers: int = 1,
        **more: Any,
    ) -> list[Command]:
        parameters = GenerateParameters(n=answers)
        job = Job(job_id, model, "generate", parameters, [Text("x")] * items, stream, **more)
        return self.tell(JobArrived(job, "key"))

    def ready(self, worker_id: int, free: int = 4) -> list[Command]:
        return self.tell(WorkerReady(worker_id, Capacity(free, -1, 0, 0), 1.0))

    def frame(
        self, worker_id: int, *outputs: Output, free: int = 4, queued: int = 0, received: int = 99
    ) -> list[Command]:
        return self.tell(FrameReceived(worker_id, Frame(list(outputs), Capacity(free, -1, queued, received))))

    def die(self, worker_id: int, **more: Any) -> list[Command]:
        return self.tell(WorkerDied(worker_id, "exited with status 9", **more))

    def tick(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.tell(Tick())


def failure(commands: list[Command], job_id: str) -> errors.GatewayError:
    return next(c.error for c in commands if isinstance(c, FailJob) and c.job_id == job_id)


def of(kind: type, commands: list[Command]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]


def test_a_cold_model_is_started_once_and_gets_its_jobs_when_ready() -> None:
    desk = Desk()
    assert desk.job("a") == [StartWorker(1, "m", "cpu")]
    assert desk.job("b") == []
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["a", "b"]


def test_a_wanted_model_is_started_without_jobs() -> None:
    assert Desk().tell(ModelWanted("m")) == [StartWorker(1, "m", "cpu")]


def test_no_more_is_sent_than_fits_and_a_little_ahead() -> None:
    desk = Desk(queue=50)
    for i in range(20):
        desk.job(str(i))
    assert len(of(Dispatch, desk.ready(1, free=4))) == 4 + LOOK_AHEAD_ITEMS
    assert not of(Dispatch, desk.frame(1, Started("0"), free=3, queued=5, received=6)), "enough lies there"
    assert len(of(Dispatch, desk.frame(1, Finished("0"), free=3, queued=2, received=6))) == 3


def test_every_answer_takes_a_place() -> None:
    desk = Desk(queue=50)
    for i in range(20):
        desk.job(str(i), items=2, answers=3)
    sent = of(Dispatch, desk.ready(1, free=16))
    assert len(sent) == -(-(16 + LOOK_AHEAD_ITEMS) // 6)


def test_what_is_on_its_way_counts() -> None:
    desk = Desk(queue=50)
    desk.job("0")
    desk.ready(1, free=1)
    for i in range(1, 9):
        desk.job(str(i))
    assert not of(Dispatch, desk.frame(1, free=1, received=0)), "three are on their way"


def test_a_finished_job_leaves_and_the_next_goes() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    commands = desk.frame(1, Started("a"), ItemDone("a", 0, RESULT), Finished("a"))
    assert JobEnded("a") in commands
    assert not desk.scheduler.jobs


def test_replicas_share_by_free_room() -> None:
    desk = Desk(replicas=2)
    desk.scheduler.models["m"].spec = ModelSpec(
        name="m", backend="fake", tasks=["generate"], source="x", replicas=2, memory_bytes=10
    )
    assert of(StartWorker, desk.job("a")) == [StartWorker(1, "m", "cpu")]
    assert of(StartWorker, desk.job("b")) == [StartWorker(2, "m", "cpu")]
    desk.ready(1, free=2)
    desk.ready(2, free=4)
    assert [c.worker_id for c in of(Dispatch, desk.job("c"))] == [2]


def test_higher_priority_goes_first() -> None:
    desk = Desk()
    desk.job("low")
    desk.job("high", priority=5)
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["high", "low"]


def test_a_full_queue_refuses_with_a_time_to_wait() -> None:
    desk = Desk(queue=1)
    desk.job("a")
    error = failure(desk.job("b"), "b")
    assert isinstance(error, errors.QueueFull)
    assert error.retry_after_s == 1.0


def test_the_time_to_wait_follows_the_rate_of_ends() -> None:
    desk = Desk(queue=6)
    for i in range(5):
        desk.job(f"early{i}")
    desk.ready(1, free=8)
    for i in range(5):
        desk.now += 2
        desk.frame(1, Started(f"early{i}"), Finished(f"early{i}"), free=-9)
    for i in range(6):
        desk.job(f"late{i}")
    assert failure(desk.job("more"), "more").retry_after_s == pytest.approx(6.0)


def test_a_key_over_its_bound_is_refused_and_freed_again() -> None:
    desk = Desk(per_key=1)
    desk.job("a")
    assert isinstance(failure(desk.job("b"), "b"), errors.LimitExceeded)
    desk.tell(JobAborted("a", errors.InternalError("gone")))
    assert not of(FailJob, desk.job("c"))


def test_draining_refuses() -> None:
    desk = Desk()
    desk.tell(DrainStarted())
    assert isinstance(failure(desk.job("a"), "a"), errors.Draining)


def test_an_abort_reaches_the_worker_and_its_late_outputs_are_ignored() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    desk.frame(1, Started("a"))
    commands = desk.tell(JobAborted("a", errors.InternalError("gone")))
    assert AbortJob(1, "a") in commands
    assert desk.scheduler.workers[1].running == 1, "the worker still holds it"
    assert not desk.frame(1, Delta("a", 0, "x"), Failed("a", "aborted", "aborted"))
    assert desk.scheduler.workers[1].running == 0


def test_an_abort_in_the_queue_is_no_business_of_the_worker() -> None:
    desk = Desk()
    desk.job("a")
    assert not of(AbortJob, desk.tell(JobAborted("a", errors.InternalError("gone"))))
    assert not of(Dispatch, desk.ready(1))


def test_an_abort_of_an_ended_job_is_nothing() -> None:
    assert Desk().tell(JobAborted("never", errors.InternalError("gone"))) == []


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


class TestDeath:
    def test_unstarted_jobs_are_queued_again_in_order(self) -> None:
        desk = Desk()
        desk.job("a")
        desk.job("b")
        desk.ready(1)
        assert not of(FailJob, desk.die(1))
        desk.tick(1.0)
        assert [c.job.id for c in of(Dispatch, desk.ready(2))] == ["a", "b"]

    def test_a_stream_that_has_begun_fails(self) -> None:
        desk = Desk()
        desk.job("a")
        desk.ready(1)
        desk.frame(1, Started("a"), Delta("a", 0, "x"))
        assert isinstance(failure(desk.die(1), "a"), errors.WorkerDied)

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_started_job_that_nobody_has_seen_is_replayed_once(self, stream: bool) -> None:
        desk = Desk()
        desk.job("a", stream=stream)
        desk.ready(1)
        desk.frame(1, Started("a"))
        if not stream:
            desk.frame(1, ItemDone("a", 0, RESULT))
        assert ReplayJob("a") in desk.die(1)
        desk.tick(1.0)
        desk.ready(2)
        desk.frame(2, Started("a"))
        error = failure(desk.die(2), "a")
        assert isinstance(error, errors.PoisonRequest)
        assert error.should_retry is False

    def test_two_deaths_from_outside_do_not_blame_the_request(self) -> None:
        desk = Desk()
        desk.job("a", stream=False)
        for worker_id in (1, 2):
            desk.ready(worker_id)
            desk.frame(worker_id, Started("a"))
            commands = desk.die(worker_id, external=True)
            desk.tick(2.0)
        error = failure(commands, "a")
        assert isinstance(error, errors.WorkerDied)
        assert error.retry_after_s

    def test_back_off_doubles_and_five_deaths_fail_the_model(self) -> None:
        desk = Desk()
        desk.job("a")
        waits = []
        for worker_id in range(1, 5):
            assert not of(StartWorker, desk.die(worker_id))
            wake = desk.scheduler.models["m"].retry_at
            waits.append(wake - desk.now)
            assert of(StartWorker, desk.tick(wake - desk.now)) == [StartWorker(worker_id + 1, "m", "cpu")]
        assert waits == [1, 2, 4, 8]
        assert isinstance(failure(desk.die(5), "a"), errors.ModelFailed)
        error = failure(desk.job("b"), "b")
        assert isinstance(error, errors.ModelFailed)
        assert error.retry_after_s == 60
        assert of(StartWorker, [*desk.tick(61), *desk.job("c")]), "tried again after the cool-down"

    def test_old_deaths_are_forgotten(self) -> None:
        desk = Desk()
        desk.tell(ModelWanted("m"))
        for worker_id in range(1, 8):
            desk.ready(worker_id)
            desk.die(worker_id)
            desk.tick(61)
        assert desk.scheduler.models["m"].state(desk.now) == "starting"

    @pytest.mark.parametrize(
        ("kind", "expected"), [("invalid_model", errors.ModelFailed), ("out_of_memory", errors.NoRoom)]
    )
    def test_a_load_that_cannot_work_fails_at_once(
        self, kind: str, expected: type[errors.GatewayError]
    ) -> None:
        desk = Desk()
        desk.job("a")
        assert isinstance(failure(desk.die(1, kind=kind), "a"), expected)
        assert isinstance(failure(desk.job("b"), "b"), expected)

    def test_broken_weights_are_said(self) -> None:
        desk = Desk()
        desk.tell(ModelBroken("m", errors.ModelFailed("pull it")))
        assert failure(desk.job("a"), "a").message == "pull it"
        desk.tell(ModelDescribed("m", DESCRIPTION))
        assert of(StartWorker, desk.job("b")), "somebody has mended it"


class TestRoom:
    def test_an_idle_model_is_evicted_and_the_newcomer_waits_for_its_end(self) -> None:
        desk = Desk("a", "b")
        desk.tell(ModelWanted("a"))
        desk.ready(1)
        assert desk.job("x", "b") == [StopWorker(1)]
        assert desk.job("y", "b") == []
        assert desk.die(1) == [StartWorker(2, "b", "cpu")]
        assert not desk.scheduler.models["a"].deaths, "an eviction is no fault"

    def test_a_busy_model_is_waited_for(self) -> None:
        desk = Desk("a", "b")
        desk.job("x", "a")
        desk.ready(1)
        desk.frame(1, Started("x"))
        assert desk.job("y", "b") == []
        assert StopWorker(1) in desk.frame(1, Finished("x"))

    def test_what_never_fits_is_refused(self) -> None:
        desk = Desk()
        desk.tell(ModelDescribed("m", Description(["generate"], [], memory_bytes=200)))
        assert isinstance(failure(desk.job("a"), "a"), errors.NoRoom)


class TestTime:
    def test_waiting_too_long(self) -> None:
        desk = Desk(queue_s=5.0)
        desk.job("a")
        assert not desk.tick(4.9)
        assert isinstance(failure(desk.tick(0.2), "a"), errors.QueueTimeout)

    def test_running_too_long(self) -> None:
        desk = Desk()
        desk.job("a", timeout_s=5.0)
        desk.ready(1)
        commands = desk.tick(5.1)
        assert isinstance(failure(commands, "a"), errors.RequestTimeout)
        assert AbortJob(1, "a") in commands

    def test_a_dispatched_job_is_past_the_queue_limit(self) -> None:
        desk = Desk(queue_s=5.0)
        desk.job("a")
        desk.ready(1)
        assert not of(FailJob, desk.tick(6))

    def test_loading_too_long(self) -> None:
        desk = Desk(load_s=7.0)
        desk.job("a")
        assert isinstance(desk.tick(7.1)[0], KillWorker)

    def test_no_progress(self) -> None:
        desk = Desk(step_s=3.0)
        desk.job("a")
        desk.ready(1)
        desk.now += 2
        desk.frame(1, Started("a"))
        assert not desk.tick(2.5), "the last frame is what counts"
        assert isinstance(desk.tick(0.6)[0], KillWorker)
        assert desk.scheduler.models["m"].live_workers() == []

    def test_an_idle_worker_is_not_watched(self) -> None:
        desk = Desk(step_s=3.0)
        desk.tell(ModelWanted("m"))
        desk.ready(1)
        assert not desk.tick(1000)

    def test_a_load_longer_than_the_queue_limit_goes_on_without_the_client(self) -> None:
        desk = Desk(queue_s=5.0)
        desk.tell(ModelWanted("m"))
        desk.tell(WorkerReady(1, Capacity(1, -1, 0, 0), 30.0))
        desk.die(1)
        assert isinstance(failure(desk.job("a"), "a"), errors.ModelLoading)
        assert of(StartWorker, desk.tick(1.0))

    def test_the_next_wake_is_the_nearest_deadline(self) -> None:
        desk = Desk(queue_s=5.0, load_s=3.0)
        assert desk.scheduler.next_wake() is None
        desk.job("a")
        assert desk.scheduler.next_wake() == desk.now + 3.0
