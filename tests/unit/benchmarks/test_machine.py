"""Reading the processor's times."""

from benchmarks.machine import _TICKS_PER_S, parse_stat


def test_steal_is_neither_busy_nor_idle() -> None:
    times = parse_stat("cpu  100 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    ticks = [round(seconds * _TICKS_PER_S) for seconds in (times.busy_s, times.idle_s, times.steal_s)]
    assert ticks == [163, 450, 8]
