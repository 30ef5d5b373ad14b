"""Where a model goes and who leaves for it."""

from gateway.engine.placement import Device, NoRoomFor, Plan, Resident, Target, place

CPU = Device("cpu", 100)
GPUS = [Device("cuda:0", 40), Device("cuda:1", 80)]


def resident(worker_id: int, device: str, memory: int, *, idle: bool = True, used: float = 0.0) -> Resident:
    return Resident(worker_id, device, memory, idle, used)


def test_the_tightest_fit_wins() -> None:
    assert place(Target("m", 30, kinds=("cuda", "cpu")), [], [*GPUS, CPU]) == Plan("cuda:0")


def test_a_better_kind_with_eviction_beats_a_worse_one() -> None:
    full = [resident(1, "cuda:0", 40), resident(2, "cuda:1", 80, idle=False)]
    assert place(Target("m", 30, kinds=("cuda", "cpu")), full, [*GPUS, CPU]) == Plan("cuda:0", (1,))


def test_the_cpu_takes_what_no_gpu_can() -> None:
    assert place(Target("m", 90, kinds=("cuda", "cpu")), [], [*GPUS, CPU]) == Plan("cpu")


def test_a_pin_is_kept() -> None:
    assert place(Target("m", 10, pinned="cuda:1", kinds=("cuda",)), [], GPUS) == Plan("cuda:1")


def test_the_least_recently_used_leave_and_no_more_than_needed() -> None:
    here = [resident(1, "cpu", 40, used=5), resident(2, "cpu", 30, used=1), resident(3, "cpu", 30, used=9)]
    assert place(Target("m", 50), here, [CPU]) == Plan("cpu", (2, 1))


def test_busy_models_stay() -> None:
    here = [resident(1, "cpu", 80, idle=False)]
    assert place(Target("m", 30), here, [CPU]) == NoRoomFor(30, 100, ever=True)


def test_what_never_fits_is_said() -> None:
    assert place(Target("m", 101), [], [CPU]) == NoRoomFor(101, 100, ever=False)


def test_no_device_of_a_usable_kind() -> None:
    assert place(Target("m", 1, kinds=("cuda",)), [], [CPU]) == NoRoomFor(1, 0, ever=False)
