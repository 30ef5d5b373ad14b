"""Which devices a model goes to, and which models must leave for it. Pure.

Answers `(target, residents, devices, now) -> Plan | NoRoomFor`; never starts or stops anything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

from msgspec import Struct

from gateway.engine.splitting import room, share_out, split_candidates

_LEAST_IDLE_S = 1.0
_LEAST_LOAD_S = 0.1
"""Where it is not known how long a load takes, too."""


class Device(Struct, frozen=True):
    """A place with memory. `budget_bytes`: what models may take of it now, all together."""

    name: str
    budget_bytes: int

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` …"""
        return self.name.partition(":")[0]


class Share(Struct, frozen=True):
    """Memory on one device; a worker has one share, or several where its model is split."""

    device: str
    memory_bytes: int


class Target(Struct, frozen=True):
    """A model that wants a place."""

    model: str
    memory_bytes: int
    """What it is predicted to need."""
    version: int = 1
    pinned: str = "auto"
    kinds: tuple[str, ...] = ("cpu",)
    """Kinds of device that its backend can use, best first."""
    splits: bool = False
    """It may lie on several devices of a kind."""
    exclusive_group: str = ""
    exclusive_device: bool = False
    cramped: bool = False
    """A load failed for lack of memory: whatever is on its way out is waited for."""
    learned_bytes: Mapping[str, int] = {}
    """What earlier loads were seen to need, by kind of device."""

    def need(self, kind: str) -> int:
        return max(self.memory_bytes, self.learned_bytes.get(kind, 0))

    @property
    def most_needed(self) -> int:
        """On whatever kind of device."""
        return max(self.memory_bytes, *self.learned_bytes.values(), 0)


class Resident(Struct, frozen=True):
    """A worker that holds memory, or a model that is next in turn for it (`worker_id` 0)."""

    worker_id: int
    model: str
    shares: tuple[Share, ...]
    idle: bool
    last_used: float
    load_s: float = 0.0
    """What it costs to have it back."""
    evictable_at: float = 0.0
    """Not to be evicted before; infinity: never."""
    leaving: bool = False
    """Its memory is on the way back."""
    version: int = 1
    yielding: bool = False
    """It was told to make room once it is idle, or is as good as gone."""
    exclusive_group: str = ""
    exclusive_device: bool = False

    def bytes_on(self, device: str) -> int:
        return sum(share.memory_bytes for share in self.shares if share.device == device)


class Plan(Struct, frozen=True):
    """Where it goes, as soon as those to evict and those awaited are gone."""

    shares: tuple[Share, ...]
    evict: tuple[int, ...] = ()
    """Workers to stop first."""
    awaited: tuple[int, ...] = ()
    """Workers on their way out whose memory is needed."""

    @property
    def device(self) -> str:
        """The one device, or the first of several."""
        return self.shares[0].device


class NoRoomFor(Struct, frozen=True):
    """It does not fit now."""

    needed_bytes: int
    largest_budget_bytes: int
    ever: bool
    """It would, once those in the way leave."""
    in_the_way: tuple[int, ...] = ()
    """Workers that would have to go, busy or too young to be evicted."""
    shares: tuple[Share, ...] = ()
    """Where it would then go."""
    evictable_at: float = 0.0
    """None of them may be evicted before."""

    @property
    def held(self) -> bool:
        """A device would be large enough, but for models that never leave."""
        return not self.ever and self.needed_bytes <= self.largest_budget_bytes


class _Candidate(Struct, frozen=True):
    shares: tuple[Share, ...]
    evict: tuple[Resident, ...]
    awaited: tuple[Resident, ...]
    left_bytes: int
    """Free on these devices afterwards."""


def place(
    target: Target, residents: Sequence[Resident], devices: Sequence[Device], now: float
) -> Plan | NoRoomFor:
    """The place that costs least: no eviction, else of those whose loss is smallest; then the tightest fit.

    Devices of a better kind come first: a model goes to the CPU only if no GPU can take it.
    """
    usable = [device for device in devices if _allowed(target, device)]
    own = (target.model, target.version)
    others = {r.worker_id for r in residents if (r.model, r.version) != own}
    found = _best(
        target, residents, usable, lambda r: r.worker_id in others and r.idle and now >= r.evictable_at, now
    )
    if found is not None:
        return Plan(found.shares, _ids(found.evict), _ids(found.awaited))
    needed, largest = _measure(target, usable)
    found = _best(
        target,
        residents,
        usable,
        lambda r: r.worker_id in others and (r.evictable_at != inf or not r.worker_id),
        now,
    )
    if found is None:
        return NoRoomFor(needed, largest, ever=False)
    in_the_way = [resident for resident in found.evict if resident.worker_id]
    return NoRoomFor(
        needed,
        largest,
        ever=True,
        in_the_way=_ids(in_the_way),
        shares=found.shares,
        evictable_at=max((resident.evictable_at for resident in in_the_way), default=0.0),
    )


def regret(resident: Resident, now: float) -> float:
    """How bad it is to evict this one: dear to load and lately used is worst."""
    if resident.yielding:
        return 0.0  # its turn has come; choosing another now would only hold up two
    return max(resident.load_s, _LEAST_LOAD_S) / max(now - resident.last_used, _LEAST_IDLE_S)


def _ids(residents: Sequence[Resident]) -> tuple[int, ...]:
    return tuple(resident.worker_id for resident in residents)


def _allowed(target: Target, device: Device) -> bool:
    if target.pinned != "auto":
        return device.name == target.pinned
    return device.kind in target.kinds


def _measure(target: Target, usable: Sequence[Device]) -> tuple[int, int]:
    """What it needs and the most that one model of its sort can have, where these are closest."""
    budgets = {device.name: device.budget_bytes for device in usable}
    found = []
    for names in _choices(target, usable, budgets):
        chosen = {name: budgets[name] for name in names}
        need = target.need(kind_of(chosen))
        found.append((need, max(0, room(chosen, need))))
    return min(found, key=lambda pair: pair[0] - pair[1], default=(target.memory_bytes, 0))


def kind_of(devices: Mapping[str, object]) -> str:
    """Of devices of one kind."""
    return next(iter(devices)).partition(":")[0]


def _choices(target: Target, usable: Sequence[Device], free: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Sets of devices to try; `free`: what each could give at most."""
    for device in usable:
        yield (device.name,)
    if not target.splits or target.pinned != "auto":
        return
    for kind in dict.fromkeys(device.kind for device in usable if device.kind != "cpu"):
        of_kind = {device.name: free[device.name] for device in usable if device.kind == kind}
        yield from split_candidates(of_kind)


def _best(
    target: Target,
    residents: Sequence[Resident],
    usable: Sequence[Device],
    may_leave: Callable[[Resident], bool],
    now: float,
) -> _Candidate | None:
    for kind in (usable[0].kind,) if target.pinned != "auto" and usable else target.kinds:
        of_kind = [device for device in usable if device.kind == kind]
        found = list(_candidates(target, residents, of_kind, may_leave, now))
        if found:
            return min(found, key=lambda candidate: _cost(candidate, now))
    return None


def _cost(candidate: _Candidate, now: float) -> tuple[float, int, bool, int]:
    return (
        sum(regret(resident, now) for resident in (*candidate.evict, *candidate.awaited)),
        len(candidate.shares),
        bool(candidate.awaited),
        candidate.left_bytes,  # so that large gaps stay for large models
    )


def _candidates(
    target: Target,
    residents: Sequence[Resident],
    devices: Sequence[Device],
    may_leave: Callable[[Resident], bool],
    now: float,
) -> Iterator[_Candidate]:
    budgets = {device.name: device.budget_bytes for device in devices}
    stay = [resident for resident in residents if not (resident.leaving or may_leave(resident))]
    tried = set()
    for staying in ([r for r in residents if not r.leaving], stay):
        free = {name: budget - _held(staying, name) for name, budget in budgets.items()}
        for names in _choices(target, devices, free):
            if frozenset(names) not in tried:
                tried.add(frozenset(names))
                chosen = {name: budgets[name] for name in names}
                candidate = _candidate(target, residents, chosen, may_leave, now)
                if candidate is not None:
                    yield candidate


def _candidate(
    target: Target,
    residents: Sequence[Resident],
    budgets: Mapping[str, int],
    may_leave: Callable[[Resident], bool],
    now: float,
) -> _Candidate | None:
    """The model on just these devices; None where it does not fit or may not be."""
    must = [r for r in residents if not r.leaving and _excludes(target, r, budgets)]
    if not all(may_leave(resident) for resident in must):
        return None
    here = [r for r in residents if any(r.bytes_on(name) for name in budgets)]
    staying = [r for r in here if not r.leaving and r not in must]
    evict: list[Resident] = []
    for resident in sorted(filter(may_leave, staying), key=lambda resident: regret(resident, now)):
        if _fits(target, budgets, staying):
            break
        staying.remove(resident)
        evict.append(resident)
    if not _fits(target, budgets, staying):
        return None
    for resident in list(evict):  # one taken later may have made an earlier one needless
        if _fits(target, budgets, [*staying, resident]):
            evict.remove(resident)
            staying.append(resident)
    leaving = [resident for resident in here if resident.leaving]
    awaited = [r for r in residents if r.leaving and _excludes(target, r, budgets)]
    if not target.cramped and _fits(target, budgets, [*staying, *leaving]):
        staying += leaving
    else:
        awaited += [resident for resident in leaving if resident not in awaited]
    free = {name: budget - _held(staying, name) for name, budget in budgets.items()}
    shares = share_out(free, target.need(kind_of(budgets)))
    return _Candidate(
        tuple(Share(name, size) for name, size in shares.items()),
        (*must, *evict),
        tuple(awaited),
        sum(free.values()) - sum(shares.values()),
    )


def _fits(target: Target, budgets: Mapping[str, int], staying: Sequence[Resident]) -> bool:
    free = {name: budget - _held(staying, name) for name, budget in budgets.items()}
    need = target.need(kind_of(budgets))
    return room(free, need) >= need


def _held(residents: Sequence[Resident], device: str) -> int:
    return sum(resident.bytes_on(device) for resident in residents)


def _excludes(target: Target, resident: Resident, devices: Mapping[str, int]) -> bool:
    """They may not be loaded at the same time. Replicas of one model never exclude each other."""
    if resident.model == target.model:
        return False
    if target.exclusive_group and resident.exclusive_group == target.exclusive_group:
        return True
    shares_device = any(share.device in devices for share in resident.shares)
    return shares_device and (target.exclusive_device or resident.exclusive_device)
