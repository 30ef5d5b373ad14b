"""Deadlines in order, and dropped ones that cost no memory."""

from gateway.engine.timers import Timers


def test_deadlines_come_due_in_order_and_once() -> None:
    timers = Timers()
    for at in (3.0, 1.0, 2.0):
        timers.set(at, "job", f"j{at:g}")
    assert timers.next_at() == 1.0
    assert timers.due(2.0) == [("job", "j1"), ("job", "j2")]
    assert timers.due(2.0) == []
    assert timers.next_at() == 3.0


def test_a_dropped_deadline_does_not_come() -> None:
    timers = Timers()
    timers.set(1.0, "job", "a")
    timers.set(1.0, "load", "a")
    timers.drop("job", "a")
    assert timers.due(5.0) == [("load", "a")]


def test_dropped_deadlines_do_not_pile_up() -> None:
    timers = Timers()
    timers.set(10.0, "job", "stays")
    for number in range(100_000):
        timers.set(1000.0, "job", str(number))
        timers.drop("job", str(number))
    assert len(timers) < 3000
    assert timers.due(10.0) == [("job", "stays")]
