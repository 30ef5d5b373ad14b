"""Who goes next of those that wait: classes, ageing, turns between keys."""

import math
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.protocol import Chat, ChatMessage, GenerateParameters, Job, LocalFile, Media, Text, Tokens
from gateway.engine.fair_queue import FairQueue
from gateway.engine.job_queue import JobEntry, JobQueue, cost_of
from gateway.engine.priorities import CLASSES, LEVELS, class_of

_ids = count()


def entry(key: str = "", priority: int = 0, now: float = 0.0, items: int = 1) -> JobEntry:
    job = Job(f"j{next(_ids)}", "m", "generate", GenerateParameters(), [Text("")] * items, priority=priority)
    return JobEntry(job, key, now, math.inf, math.inf)


def push(queue: JobQueue, *entries: JobEntry) -> None:
    for one in entries:
        queue.push(one)


def drain(queue: JobQueue, now: float = 0.0) -> list[JobEntry]:
    """All in the order in which they go."""
    gone = []
    while (one := queue.first(now)) is not None:
        queue.take(one)
        gone.append(one)
    return gone


def test_one_key_is_served_in_order_of_arrival() -> None:
    queue, jobs = JobQueue(), [entry("a") for _ in range(5)]
    push(queue, *jobs)
    assert drain(queue) == jobs
    assert len(queue) == 0


def test_classes_go_one_after_the_other() -> None:
    queue = JobQueue()
    batch, normal, interactive = (entry(priority=LEVELS[name]) for name in reversed(CLASSES))
    push(queue, batch, normal, interactive)
    assert queue.lengths() == {"interactive": 1, "normal": 1, "batch": 1}
    assert list(queue) == drain(queue) == [interactive, normal, batch]


def test_any_number_is_a_class() -> None:
    assert [class_of(number) for number in (99, 1, 0, -1, -99)] == [
        "interactive",
        "interactive",
        "normal",
        "batch",
        "batch",
    ]


def test_keys_take_turns() -> None:
    queue = JobQueue()
    crowd, single = [entry("a") for _ in range(1000)], entry("b")
    push(queue, *crowd, single)
    assert drain(queue)[:3] == [crowd[0], single, crowd[1]]


def test_a_turn_costs_what_the_job_costs() -> None:
    queue = JobQueue()
    large = [entry("a", items=3) for _ in range(2)]
    small = [entry("b") for _ in range(5)]
    push(queue, *large, *small)
    assert [one.key for one in drain(queue)] == ["a", "b", "b", "b", "a", "b", "b"]


def test_nobody_saves_up_turns() -> None:
    queue = JobQueue()
    push(queue, *(entry("a") for _ in range(10)))
    for _ in range(5):
        queue.take(queue.first(0.0))  # type: ignore[arg-type]
    push(queue, *(entry("b") for _ in range(5)))
    assert [one.key for one in drain(queue)] == ["b", "a"] * 5


def test_what_is_taken_back_costs_no_turn() -> None:
    queue = JobQueue()
    regretted = [entry("a") for _ in range(50)]
    kept, other = entry("a"), entry("b")
    push(queue, *regretted, kept, other)
    assert all(queue.remove(one) for one in regretted)
    assert drain(queue) == [kept, other]


def test_a_waiting_job_rises_class_by_class() -> None:
    queue = JobQueue(ageing_s=10.0)
    old = entry(priority=LEVELS["batch"])
    push(queue, old)
    young = [entry(priority=priority, now=9.0) for priority in (0, 1)]
    push(queue, *young)
    assert queue.first(9.0) is young[1]
    assert queue.lengths() == {"interactive": 1, "normal": 1, "batch": 1}
    assert queue.first(10.0) is young[1]
    assert queue.lengths() == {"interactive": 1, "normal": 2, "batch": 0}
    queue.first(20.0)
    assert queue.lengths() == {"interactive": 3, "normal": 0, "batch": 0}


def test_a_job_that_comes_back_goes_first_and_keeps_what_it_had_risen_to() -> None:
    queue = JobQueue(ageing_s=10.0)
    first, second, other = entry("a", LEVELS["batch"]), entry("a", LEVELS["batch"]), entry("b", 1, now=25.0)
    push(queue, first, second)
    assert queue.first(25.0) is first
    queue.take(first)
    push(queue, other)
    queue.push(first, front=True)
    assert drain(queue, 25.0)[0] is first


def test_jobs_that_come_back_keep_their_order() -> None:
    queue = JobQueue()
    jobs = [entry("a"), entry("b"), entry("a"), entry("b")]
    push(queue, *jobs)
    gone = drain(queue)
    waiting = entry("a")
    push(queue, waiting)
    for one in reversed(gone):
        queue.push(one, front=True)
    assert drain(queue) == [*jobs, waiting]


def test_a_job_that_came_back_does_not_rise_twice() -> None:
    queue = JobQueue(ageing_s=10.0)
    job = entry(priority=LEVELS["batch"])
    push(queue, job)
    queue.take(job)
    queue.push(job, front=True)
    queue.first(10.0)
    assert queue.lengths()["normal"] == 1


def test_a_held_key_is_passed_over_until_it_is_released() -> None:
    queue = JobQueue()
    mine, theirs = entry("a"), entry("b")
    queue.hold("a")
    push(queue, mine, theirs)
    assert drain(queue) == [theirs]
    assert len(queue) == 1
    queue.release("a")
    assert drain(queue) == [mine]


def test_what_does_not_wait_is_not_removed() -> None:
    queue, job = JobQueue(), entry()
    assert not queue.remove(job)
    push(queue, job)
    assert queue.remove(job)
    assert not queue.remove(job)
    assert queue.of_key("") == 0


def test_a_place_in_the_queue() -> None:
    queue = JobQueue()
    crowd = [entry("a") for _ in range(10)]
    mine = [entry("b") for _ in range(2)]
    urgent = entry("c", LEVELS["interactive"])
    push(queue, *crowd, *mine, urgent)
    assert [queue.position(one) for one in (urgent, crowd[0], crowd[9], mine[1])] == [1, 3, 13, 5]
    assert queue.position(entry()) is None
    assert queue.ahead(0, "new") == 1 + 2
    assert queue.ahead(0, "a") == 1 + 10 + 2


def test_jobs_of_a_held_key_are_ahead_of_nobody() -> None:
    queue = JobQueue()
    own = entry("b")
    push(queue, *(entry("a") for _ in range(5)), *(entry("a", LEVELS["interactive"]) for _ in range(5)), own)
    assert queue.ahead(0, "new") == 5 + 1 + 1
    queue.hold("a")
    assert queue.ahead(0, "new") == 1
    assert queue.position(own) == 1
    queue.release("a")
    assert queue.ahead(0, "new") == 5 + 1 + 1


def test_what_comes_and_leaves_without_a_turn_costs_no_memory() -> None:
    """Nobody looks for the first of a class while higher ones have jobs to go."""
    fair = FairQueue[JobEntry]()
    last = entry("a")
    last.number = 1
    fair.push(last)
    for number in range(2, 10_000):
        one = entry("b")
        one.number = number
        fair.push(one)
        fair.drop(one)
        fair.hold("a")
        fair.release("a")
    assert len(fair._heads) < 2000
    assert fair.first() is last


def test_the_cost_of_a_job_is_its_results_and_its_prompts() -> None:
    def cost(*items: object, n: int = 1) -> float:
        return cost_of(Job("j", "m", "generate", GenerateParameters(n=n), list(items)))  # type: ignore[arg-type]

    assert cost(Text("")) == 1
    assert cost(Text(""), Text(""), n=3) == 6
    assert cost(Text("x" * 8000)) == cost(Tokens([1] * 2000)) == 3
    assert cost(Chat([ChatMessage("user", "x" * 4000)] * 2)) == 3
    assert cost(Media(LocalFile("/x"))) == 1
    assert cost() == 1, "a session has no items"


# --- properties ---------------------------------------------------------------------------------------

AGEING_S = 5.0
arrivals = st.tuples(st.sampled_from("abc"), st.integers(-1, 1), st.integers(1, 4))
steps = st.lists(
    st.one_of(arrivals, st.sampled_from(["take", "remove", "return", "hold", "release"])), max_size=60
)


def joined_at(one: JobEntry) -> tuple[float, int]:
    """When it came into the class that it is in."""
    return one.arrived_at + AGEING_S * (one.level - one.job.priority), one.number


@settings(max_examples=200, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_nothing_is_lost_and_a_key_keeps_its_order(script: list[object], random: object) -> None:
    """Whatever comes and goes: the queue holds what came and has not gone; one key's jobs of one class go in
    the order in which they came into it."""
    queue = JobQueue(AGEING_S)
    waiting: list[JobEntry] = []
    gone: list[JobEntry] = []
    held: set[str] = set()
    for now, step in enumerate(script):
        if isinstance(step, tuple):
            waiting.append(entry(step[0], step[1], float(now), step[2]))
            queue.push(waiting[-1])
        elif step == "take":
            first = queue.first(float(now))
            assert (first is None) == all(one.key in held for one in waiting)
            if first is not None:
                same = [one for one in waiting if (one.key, one.level) == (first.key, first.level)]
                back = [one for one in same if one.returned]
                assert first is min(back or same, key=(lambda one: one.number) if back else joined_at)
                assert first.level == max(one.level for one in waiting if one.key not in held)
                queue.take(first)
                waiting.remove(first)
                gone.append(first)
        elif step == "remove" and waiting:
            assert queue.remove(waiting.pop(random.randrange(len(waiting))))  # type: ignore[attr-defined]
        elif step == "return" and gone:
            waiting.append(gone.pop(random.randrange(len(gone))))  # type: ignore[attr-defined]
            queue.push(waiting[-1], front=True)
        elif step == "hold":
            held.add("a")
            queue.hold("a")
        elif step == "release":
            held.discard("a")
            queue.release("a")
        assert len(queue) == len(waiting) == len(list(queue))
        assert sum(queue.lengths().values()) == len(waiting)
        for key in "abc":
            assert queue.of_key(key) == sum(one.key == key for one in waiting)
        assert {queue.position(one) for one in waiting} <= set(range(1, len(waiting) + 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("bcd"), st.integers(0, 1), st.integers(1, 4)), max_size=80))
def test_nothing_starves(others: list[tuple[str, int, int]]) -> None:
    """A batch job behind an endless stream of better ones goes soon after it has risen to the top: overtaken
    by what was there before, and by one job of each other key and its cost at most."""
    queue = JobQueue(AGEING_S)
    patient = entry("a", -1)
    queue.push(patient)
    overtakers = 0
    endless = [*others, *[("b", 1, 1), ("c", 1, 4), ("d", 1, 2)] * 30]
    for now, (key, priority, items) in enumerate(endless):
        queue.push(entry(key, priority, float(now), items))
        first = queue.first(float(now))
        assert first is not None
        queue.take(first)
        if first is patient:
            break
        overtakers += now > 2 * AGEING_S
    else:
        pytest.fail("the batch job never went")
    risen = int(2 * AGEING_S) + 1
    assert overtakers <= risen + 3 * 4


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=60), st.lists(st.integers(1, 6), min_size=1, max_size=60)
)
def test_two_keys_that_wait_get_equal_shares(mine: list[int], theirs: list[int]) -> None:
    """While both wait, what the one got and the other did differ by their largest jobs at most (the bound of
    start-time fair queueing)."""
    queue = JobQueue()
    push(queue, *(entry("a", items=items) for items in mine), *(entry("b", items=items) for items in theirs))
    left = {"a": len(mine), "b": len(theirs)}
    got = {"a": 0.0, "b": 0.0}
    while all(left.values()):
        first = queue.first(0.0)
        assert first is not None
        queue.take(first)
        left[first.key] -= 1
        got[first.key] += first.cost
        assert abs(got["a"] - got["b"]) <= max(mine) + max(theirs)
