"""What holds of every placement, whatever the devices, the models and who is there."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.engine.placement import Device, NoRoomFor, Plan, Resident, Share, Target, place

MB = 1024**2
NOW = 100.0
NAMES = ("cuda:0", "cuda:1", "cuda:2", "cpu")

devices = st.lists(st.integers(0, 4000), min_size=1, max_size=4).map(
    lambda sizes: [Device(name, size * MB) for name, size in zip(NAMES, sizes, strict=False)]
)
targets = st.builds(
    Target,
    st.just("target"),
    st.integers(0, 6000).map(lambda size: size * MB),
    pinned=st.sampled_from(["auto", "auto", "auto", "cuda:0"]),
    kinds=st.sampled_from([("cuda", "cpu"), ("cuda",), ("cpu",)]),
    splits=st.booleans(),
    exclusive_group=st.sampled_from(["", "", "g"]),
    exclusive_device=st.sampled_from([False, False, True]),
)


@st.composite
def residents(draw: st.DrawFn, known: list[Device]) -> list[Resident]:
    """Workers that fit beside each other."""
    free = {device.name: device.budget_bytes for device in known}
    found = []
    for worker_id in range(1, draw(st.integers(0, 6)) + 1):
        device = draw(st.sampled_from(known)).name
        size = draw(st.integers(0, free[device] // MB)) * MB
        free[device] -= size
        state = draw(st.sampled_from(["idle", "idle", "busy", "young", "kept", "leaving", "yielding"]))
        found.append(
            Resident(
                worker_id,
                draw(st.sampled_from(["target", "other", f"m{worker_id}"])),
                (Share(device, size),),
                idle=state in ("idle", "young", "kept", "yielding"),
                last_used=draw(st.floats(0, NOW)),
                load_s=draw(st.floats(0, 60)),
                evictable_at={"young": NOW + 1, "kept": inf}.get(state, 0.0),
                leaving=state == "leaving",
                yielding=state == "yielding",
                exclusive_group=draw(st.sampled_from(["", "", "g"])),
                exclusive_device=draw(st.sampled_from([False, False, False, True])),
            )
        )
    return found


@st.composite
def situations(draw: st.DrawFn) -> tuple[Target, list[Resident], list[Device]]:
    known = draw(devices)
    return draw(targets), draw(residents(known)), known


def excluded(target: Target, resident: Resident, names: set[str]) -> bool:
    if resident.model == target.model:
        return False
    if target.exclusive_group and target.exclusive_group == resident.exclusive_group:
        return True
    alone = target.exclusive_device or resident.exclusive_device
    return alone and any(share.device in names for share in resident.shares)


def fits(shares: tuple[Share, ...], there: list[Resident], known: list[Device]) -> bool:
    budgets = {device.name: device.budget_bytes for device in known}
    return all(
        share.memory_bytes + sum(r.bytes_on(share.device) for r in there) <= budgets[share.device]
        for share in shares
    )


@given(situations())
def test_a_plan_can_be_carried_out(situation: tuple[Target, list[Resident], list[Device]]) -> None:
    target, here, known = situation
    plan = place(target, here, known, NOW)
    if not isinstance(plan, Plan):
        return
    by_id = {resident.worker_id: resident for resident in here}
    gone = {*plan.evict, *plan.awaited}
    staying = [resident for resident in here if resident.worker_id not in gone]
    names = {share.device for share in plan.shares}
    assert fits(plan.shares, staying, known)
    assert not any(excluded(target, resident, names) for resident in staying)
    assert len(set(plan.evict)) == len(plan.evict)
    for worker_id in plan.evict:
        resident = by_id[worker_id]
        assert resident.idle
        assert not resident.leaving
        assert resident.evictable_at <= NOW
        assert resident.model != target.model
    assert all(by_id[worker_id].leaving for worker_id in plan.awaited)
    assert target.pinned in ("auto", plan.device)
    assert len(plan.shares) == 1 or (target.splits and target.pinned == "auto")
    assert len({share.device.partition(":")[0] for share in plan.shares}) == 1
    assert sum(share.memory_bytes for share in plan.shares) >= target.memory_bytes - len(plan.shares)


@given(situations())
def test_nobody_leaves_in_vain(situation: tuple[Target, list[Resident], list[Device]]) -> None:
    target, here, known = situation
    plan = place(target, here, known, NOW)
    if not isinstance(plan, Plan) or len(plan.shares) > 1:
        return
    names = {share.device for share in plan.shares}
    for kept in plan.evict:
        gone = {*plan.evict, *plan.awaited} - {kept}
        staying = [resident for resident in here if resident.worker_id not in gone]
        resident = next(r for r in here if r.worker_id == kept)
        assert not fits(plan.shares, staying, known) or excluded(target, resident, names)


@given(situations())
def test_no_room_is_said_only_where_there_is_none(
    situation: tuple[Target, list[Resident], list[Device]],
) -> None:
    target, here, known = situation
    verdict = place(target, here, known, NOW)
    if not isinstance(verdict, NoRoomFor):
        return
    usable = [d for d in known if d.name == target.pinned or d.kind in target.kinds]
    usable = [d for d in usable if target.pinned in ("auto", d.name)]
    never = [r for r in here if not r.leaving and (r.evictable_at == inf or r.model == target.model)]
    now = [r for r in here if not r.leaving and not (r.idle and r.evictable_at <= NOW and r not in never)]
    for device in usable:
        share = (Share(device.name, target.memory_bytes),)
        for there, possible in ((now, False), (never, verdict.ever)):
            clash = any(excluded(target, resident, {device.name}) for resident in there)
            assert clash or possible or not fits(share, there, known)


@given(situations())
def test_where_it_would_go_once_others_leave_there_is_room(
    situation: tuple[Target, list[Resident], list[Device]],
) -> None:
    target, here, known = situation
    verdict = place(target, here, known, NOW)
    if not isinstance(verdict, NoRoomFor) or not verdict.ever:
        return
    staying = [r for r in here if r.worker_id not in verdict.in_the_way and not r.leaving]
    assert fits(verdict.shares, staying, known)
    kept = {r.worker_id for r in here if r.evictable_at == inf}
    assert not kept & set(verdict.in_the_way)


@given(targets, devices, st.dictionaries(st.sampled_from(["cuda", "cpu"]), st.integers(0, 20000 * MB)))
def test_nothing_that_was_learned_keeps_a_model_from_an_empty_machine(
    target: Target, known: list[Device], learned: dict[str, int]
) -> None:
    if isinstance(place(target, [], known, NOW), Plan):
        plan = place(replace(target, learned_bytes=learned), [], known, NOW)
        assert isinstance(plan, Plan)
        assert fits(plan.shares, [], known)
