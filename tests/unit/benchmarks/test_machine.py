"""Reading the processor's times."""

from benchmarks.machine import _TICKS_PER_S, CpuUse, disturbance, parse_stat


def test_steal_is_neither_busy_nor_idle() -> None:
    times = parse_stat("cpu  100 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    ticks = [round(seconds * _TICKS_PER_S) for seconds in (times.busy_s, times.idle_s, times.steal_s)]
    assert ticks == [163, 450, 8]


def test_a_busy_machine_is_told_and_a_quiet_one_is_not() -> None:
    quiet = CpuUse(client_s=0.1, measured_s=1.0, idle_side_s=0.0, others_pct=1.0, steal_pct=0.5)
    busy = CpuUse(client_s=0.1, measured_s=1.0, idle_side_s=0.0, others_pct=40.0, steal_pct=0.5)
    assert disturbance([quiet, quiet, busy]) == ""
    assert "40 %" in disturbance([busy, busy, quiet])
