"""When the scheduler wants to be woken."""

from tests.unit.gateway.engine.desk import Desk


def test_the_next_wake_is_the_nearest_deadline() -> None:
    desk = Desk(queue_s=5.0, load_s=3.0)
    assert desk.scheduler.next_wake() is None
    desk.job("a")
    assert desk.scheduler.next_wake() == desk.now + 3.0
