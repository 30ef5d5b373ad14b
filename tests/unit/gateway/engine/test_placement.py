"""Where a model goes and who leaves for it."""

from math import inf
from typing import Any

from gateway.engine.placement import Device, NoRoomFor, Plan, Resident, Share, Target, place
from gateway.engine.splitting import SPLIT_BYTES

CPU = Device("cpu", 100)
GPUS = [Device("cuda:0", 40), Device("cuda:1", 80)]
BOTH = ("cuda", "cpu")
NOW = 1000.0
GB = 1024**3


def resident(worker_id: int, device: str, memory: int, **more: Any) -> Resident:
    facts: dict[str, Any] = {"idle": True, "last_used": 0.0} | more
    return Resident(worker_id, facts.pop("model", f"m{worker_id}"), (Share(device, memory),), **facts)


def decide(target: Target, held: list[Resident], devices: list[Device]) -> Plan | NoRoomFor:
    return place(target, held, devices, NOW)


def on(device: str, size: int, *evict: int, awaited: tuple[int, ...] = ()) -> Plan:
    return Plan((Share(device, size),), evict, awaited)


def test_the_tightest_fit_wins() -> None:
    assert decide(Target("m", 30, kinds=BOTH), [], [*GPUS, CPU]) == on("cuda:0", 30)


def test_a_better_kind_with_eviction_beats_a_worse_one() -> None:
    full = [resident(1, "cuda:0", 40), resident(2, "cuda:1", 80, idle=False)]
    assert decide(Target("m", 30, kinds=BOTH), full, [*GPUS, CPU]) == on("cuda:0", 30, 1)


def test_the_cpu_takes_what_no_gpu_can() -> None:
    assert decide(Target("m", 90, kinds=BOTH), [], [*GPUS, CPU]) == on("cpu", 90)


def test_a_pin_is_kept() -> None:
    assert decide(Target("m", 10, pinned="cuda:1", kinds=("cuda",)), [], GPUS) == on("cuda:1", 10)


def test_what_was_learned_of_a_kind_of_device_counts_there() -> None:
    target = Target("m", 30, kinds=BOTH, learned_bytes={"cuda": 90, "cpu": 20})
    assert decide(target, [], [*GPUS, CPU]) == on("cpu", 30)


class TestLearnedBeyondReach:
    def test_a_peak_that_no_device_can_give_is_tried_with_all_there_is(self) -> None:
        assert decide(Target("m", 1, learned_bytes={"cpu": 104}), [], [CPU]) == on("cpu", 100)

    def test_everybody_leaves_for_it(self) -> None:
        here = [resident(1, "cpu", 5)]
        assert decide(Target("m", 1, learned_bytes={"cpu": 104}), here, [CPU]) == on("cpu", 100, 1)

    def test_what_other_processes_always_hold_does_not_keep_it_out(self) -> None:
        there = [Device("cpu", 85, full_bytes=100)]
        assert decide(Target("m", 1, learned_bytes={"cpu": 95}), [], there) == on("cpu", 85)

    def test_it_is_not_squeezed_in_where_others_hold_much(self) -> None:
        there = [Device("cpu", 20, full_bytes=100)]
        verdict = decide(Target("m", 1, learned_bytes={"cpu": 95}), [], there)
        assert verdict == NoRoomFor(75, 20, ever=False, crowded=True)

    def test_the_estimate_is_believed(self) -> None:
        verdict = decide(Target("m", 101, learned_bytes={"cpu": 104}), [], [CPU])
        assert verdict == NoRoomFor(101, 100, ever=False)

    def test_devices_that_it_can_be_split_over_count_together(self) -> None:
        gpus = [Device("cuda:0", 10 * GB), Device("cuda:1", 10 * GB)]
        target = Target("m", GB, kinds=("cuda",), splits=True, learned_bytes={"cuda": 15 * GB})
        plan = decide(target, [], gpus)
        assert isinstance(plan, Plan)
        assert len(plan.shares) == 2
        assert sum(share.memory_bytes for share in plan.shares) > 15 * GB


def test_room_that_only_other_processes_take_is_told_apart() -> None:
    there = [Device("cpu", 50, full_bytes=100)]
    assert decide(Target("m", 60), [], there) == NoRoomFor(60, 50, ever=False, crowded=True)
    assert decide(Target("m", 101), [], there) == NoRoomFor(101, 50, ever=False)


class TestEviction:
    def test_the_least_recently_used_leave_and_no_more_than_needed(self) -> None:
        here = [
            resident(1, "cpu", 40, last_used=5),
            resident(2, "cpu", 30, last_used=1),
            resident(3, "cpu", 30, last_used=9),
        ]
        assert decide(Target("m", 50), here, [CPU]) == on("cpu", 50, 2, 1)

    def test_what_loads_fast_leaves_before_what_loads_slowly(self) -> None:
        here = [
            resident(1, "cpu", 50, last_used=NOW - 100, load_s=60),
            resident(2, "cpu", 50, last_used=NOW - 50, load_s=1),
        ]
        assert decide(Target("m", 50), here, [CPU]) == on("cpu", 50, 2)

    def test_one_that_a_later_choice_makes_needless_stays(self) -> None:
        here = [resident(1, "cpu", 10, last_used=1), resident(2, "cpu", 90, last_used=2)]
        assert decide(Target("m", 80), here, [CPU]) == on("cpu", 80, 2)

    def test_busy_models_stay_and_are_named(self) -> None:
        here = [resident(1, "cpu", 80, idle=False)]
        verdict = decide(Target("m", 30), here, [CPU])
        assert verdict == NoRoomFor(30, 100, True, (1,), (Share("cpu", 30),), 0.0)

    def test_a_model_that_has_just_come_stays_and_it_is_said_until_when(self) -> None:
        here = [resident(1, "cpu", 80, evictable_at=NOW + 3)]
        verdict = decide(Target("m", 30), here, [CPU])
        assert isinstance(verdict, NoRoomFor)
        assert (verdict.ever, verdict.in_the_way, verdict.evictable_at) == (True, (1,), NOW + 3)

    def test_one_that_is_kept_never_leaves(self) -> None:
        here = [resident(1, "cpu", 80, evictable_at=inf)]
        assert decide(Target("m", 30), here, [CPU]) == NoRoomFor(30, 100, ever=False)

    def test_one_on_its_way_out_is_waited_for_before_another_is_evicted(self) -> None:
        here = [resident(1, "cpu", 60, idle=False, leaving=True), resident(2, "cpu", 40)]
        assert decide(Target("m", 50), here, [CPU]) == on("cpu", 50, awaited=(1,))

    def test_one_that_has_jobs_to_end_is_not_waited_for_where_an_idle_one_can_go(self) -> None:
        def placed(**more: Any) -> Plan | NoRoomFor:
            leaving = resident(1, "cpu", 60, idle=False, leaving=True, **more)
            return decide(Target("m", 40), [leaving, resident(2, "cpu", 40)], [CPU])

        assert placed() == on("cpu", 40, 2)
        assert placed(yielding=True) == on("cpu", 40, awaited=(1,)), "it is as good as gone"
        assert placed(model="m") == on("cpu", 40, awaited=(1,)), "nobody leaves for a reload"

    def test_one_on_its_way_out_whose_memory_is_not_needed_is_not_waited_for(self) -> None:
        here = [resident(1, "cpu", 60, idle=False, leaving=True)]
        assert decide(Target("m", 40), here, [CPU]) == on("cpu", 40)

    def test_what_the_next_in_turn_claims_is_not_taken(self) -> None:
        claim = resident(0, "cpu", 60, idle=False, evictable_at=inf)
        assert decide(Target("m", 40), [claim], [CPU]) == on("cpu", 40)
        verdict = decide(Target("m", 50), [claim], [CPU])
        assert isinstance(verdict, NoRoomFor)
        assert verdict.ever
        assert verdict.in_the_way == ()


class TestNever:
    def test_what_never_fits_is_said(self) -> None:
        assert decide(Target("m", 101), [], [CPU]) == NoRoomFor(101, 100, ever=False)

    def test_no_device_of_a_usable_kind(self) -> None:
        assert decide(Target("m", 1, kinds=("cuda",)), [], [CPU]) == NoRoomFor(1, 0, ever=False)


class TestExclusive:
    def test_of_a_group_one_is_loaded_wherever_it_is(self) -> None:
        here = [resident(1, "cuda:1", 10, exclusive_group="g"), resident(2, "cuda:0", 10)]
        target = Target("m", 10, kinds=("cuda",), exclusive_group="g")
        assert decide(target, here, GPUS) == on("cuda:0", 10, 1)

    def test_of_a_group_one_that_is_leaving_is_awaited(self) -> None:
        here = [resident(1, "cuda:1", 10, exclusive_group="g", idle=False, leaving=True)]
        target = Target("m", 10, kinds=("cuda",), exclusive_group="g")
        assert decide(target, here, GPUS) == on("cuda:0", 10, awaited=(1,))

    def test_a_busy_one_of_the_group_is_in_the_way(self) -> None:
        here = [resident(1, "cuda:1", 10, exclusive_group="g", idle=False)]
        verdict = decide(Target("m", 10, kinds=("cuda",), exclusive_group="g"), here, GPUS)
        assert isinstance(verdict, NoRoomFor)
        assert verdict.in_the_way == (1,)

    def test_replicas_of_a_model_do_not_exclude_each_other(self) -> None:
        here = [resident(1, "cuda:0", 10, model="m", exclusive_group="g", exclusive_device=True)]
        target = Target("m", 10, kinds=("cuda",), exclusive_group="g", exclusive_device=True)
        assert decide(target, here, GPUS) == on("cuda:0", 10)

    def test_a_model_alone_on_its_device(self) -> None:
        here = [resident(1, "cuda:0", 1)]
        assert decide(Target("m", 10, kinds=("cuda",), exclusive_device=True), here, GPUS) == on("cuda:1", 10)
        alone = [resident(1, "cuda:0", 1, exclusive_device=True, idle=False, evictable_at=inf)]
        assert decide(Target("m", 10, kinds=("cuda",)), alone, GPUS) == on("cuda:1", 10)


class TestSplit:
    LARGE = (Device("cuda:0", 24 * GB), Device("cuda:1", 48 * GB), Device("cuda:2", 8 * GB))

    def split(self, size: int, held: list[Resident], **more: Any) -> Plan | NoRoomFor:
        return decide(Target("m", size, kinds=("cuda",), splits=True, **more), held, list(self.LARGE))

    def test_a_model_that_fits_on_one_is_not_split(self) -> None:
        plan = self.split(20 * GB, [])
        assert isinstance(plan, Plan)
        assert [share.device for share in plan.shares] == ["cuda:0"]

    def test_the_fewest_devices_share_by_their_room(self) -> None:
        plan = self.split(60 * GB, [])
        assert isinstance(plan, Plan)
        assert [share.device for share in plan.shares] == ["cuda:0", "cuda:1"]
        first, second = (share.memory_bytes for share in plan.shares)
        assert first < 24 * GB
        assert second < 48 * GB
        own = SPLIT_BYTES + int(60 * GB * 0.03)
        assert abs(first + second - 2 * own - 60 * GB) < 10

    def test_all_of_them_where_two_are_too_small(self) -> None:
        plan = self.split(68 * GB, [])
        assert isinstance(plan, Plan)
        assert len(plan.shares) == 3

    def test_idle_ones_leave_for_a_split_too(self) -> None:
        plan = self.split(60 * GB, [resident(1, "cuda:1", 40 * GB)])
        assert isinstance(plan, Plan)
        assert plan.evict == (1,)

    def test_a_model_that_cannot_be_split_or_is_pinned_is_refused(self) -> None:
        assert self.split(60 * GB, [], pinned="cuda:1") == NoRoomFor(60 * GB, 48 * GB, ever=False)
        whole = Target("m", 60 * GB, kinds=("cuda",))
        assert decide(whole, [], list(self.LARGE)) == NoRoomFor(60 * GB, 48 * GB, ever=False)

    def test_the_largest_that_a_split_could_be_is_said(self) -> None:
        verdict = self.split(100 * GB, [])
        assert isinstance(verdict, NoRoomFor)
        assert not verdict.ever
        assert 60 * GB < verdict.largest_budget_bytes < 80 * GB


def test_a_model_never_evicts_its_own_replica() -> None:
    here = [resident(1, "cpu", 60, model="m")]
    assert decide(Target("m", 60), here, [CPU]) == NoRoomFor(60, 100, ever=False)
