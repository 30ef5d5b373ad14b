"""Which devices a model goes to, and which models must leave for it. Pure.

Answers `(target, residents, devices, now) -> Plan | NoRoomFor`; never starts or stops anything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from gateway.engine.splitting import room, share_out, split_candidates

_LEAST_IDLE_S = 1.0
_LEAST_LOAD_S = 0.1
"""Where it is not known how long a load takes, too."""
_LASTING_SHARE = 0.75
"""Of a device, what other processes leave at least; if they hold more, it is for them to leave."""


class Device(Struct, frozen=True):
    """A place with memory. `budget_bytes`: what models may take of it now, all together."""

    name: str
    budget_bytes: int
    full_bytes: int = 0
    """What they might take if no other process held any; 0: the same."""

    @property
    def most_bytes(self) -> int:
        """What they might take with no other processes there."""
        return max(self.budget_bytes, self.full_bytes)

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

    @property
    def drains(self) -> bool:
        """It leaves when its jobs have ended, which may take long."""
        return self.leaving and not self.yielding

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
    crowded: bool = False
    """It does not fit while other processes hold what they hold now; else it would."""

    @property
    def held(self) -> bool:
        """A device would be large enough, but for models that never leave."""
        return not self.ever and self.needed_bytes <= self.largest_budget_bytes


class _Candidate(Struct, frozen=True):
    shares: tuple[Share, ...]
    evict: tuple[int, ...]
    """Indices of residents, these and the next."""
    awaited: tuple[int, ...]
    left_bytes: int
    """Free on these devices afterwards."""


def place(
    target: Target, residents: Sequence[Resident], devices: Sequence[Device], now: float
) -> Plan | NoRoomFor:
    """The place that costs least: no eviction, else of those whose loss is smallest; then the tightest fit.

    Whoever still has jobs to end before it leaves is waited for only where idle ones do not suffice.
    Devices of a better kind come first: a model goes to the CPU only if no GPU can take it.
    """
    allowed = [device for device in devices if _allowed(target, device)]
    target = _within_reach(target, allowed)
    ledger = _Ledger(target, residents, allowed, now)
    own = (target.model, target.version)
    others = [i for i, r in enumerate(residents) if not r.leaving and (r.model, r.version) != own]
    now_free = {i for i in others if residents[i].idle and now >= residents[i].evictable_at}
    found = _best(ledger, now_free)
    if found is not None:
        return Plan(found.shares, ledger.ids(found.evict), ledger.ids(found.awaited))
    needed, largest = _measure(target, ledger.devices)
    in_time = {i for i in others if residents[i].evictable_at != inf or not residents[i].worker_id}
    found = _best(ledger, in_time)
    if found is None:
        emptied = [Device(device.name, device.most_bytes) for device in allowed]
        others_hold = any(device.most_bytes > device.budget_bytes for device in allowed)
        crowded = others_hold and _best(_Ledger(target, residents, emptied, now), in_time) is not None
        return NoRoomFor(needed, largest, ever=False, crowded=crowded)
    in_the_way = [index for index in found.evict if residents[index].worker_id]
    return NoRoomFor(
        needed,
        largest,
        ever=True,
        in_the_way=ledger.ids(in_the_way),
        shares=found.shares,
        evictable_at=max((residents[index].evictable_at for index in in_the_way), default=0.0),
    )


def regret(resident: Resident, now: float) -> float:
    """How bad it is to evict this one: dear to load and lately used is worst."""
    if resident.yielding:
        return 0.0  # its turn has come; choosing another now would only hold up two
    return max(resident.load_s, _LEAST_LOAD_S) / max(now - resident.last_used, _LEAST_IDLE_S)


def _within_reach(target: Target, devices: Sequence[Device]) -> Target:
    """With no more learned than devices can give.

    One peak above all that they can give would else keep the model from the loads that could show it to be
    odd: it is tried with all there is. The estimate stands as it is.
    """
    if not target.learned_bytes:
        return target
    learned = dict(target.learned_bytes)
    for kind in dict.fromkeys(device.kind for device in devices):
        there = [device for device in devices if device.kind == kind]
        most = {d.name: max(d.budget_bytes, int(d.most_bytes * _LASTING_SHARE)) for d in there}
        need = target.need(kind)
        bound = max(
            room({name: most[name] for name in chosen}, need) for chosen in _choices(target, there, most)
        )
        if need <= bound:
            return target  # there is a place for it as it is
        learned[kind] = min(learned.get(kind, 0), bound)
    return replace(target, learned_bytes=learned)


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


def kind_of(devices: Iterable[str]) -> str:
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


class _Ledger:
    """Who holds what of which device, looked up once for all the places that are weighed."""

    def __init__(
        self, target: Target, residents: Sequence[Resident], devices: Sequence[Device], now: float
    ) -> None:
        self.target = target
        self.devices = devices
        self.residents = residents
        self.budgets = {device.name: device.budget_bytes for device in devices}
        self.regrets = [regret(resident, now) for resident in residents]
        self.least_missed = sorted(range(len(residents)), key=self.regrets.__getitem__)
        """Indices of the residents."""
        self.sizes: list[dict[str, int]] = []
        """Bytes by device, of each resident."""
        self.taken = dict.fromkeys(self.budgets, 0)
        for resident in residents:
            sizes: dict[str, int] = {}
            for share in resident.shares:
                if share.device in self.taken:
                    sizes[share.device] = sizes.get(share.device, 0) + share.memory_bytes
                    self.taken[share.device] += share.memory_bytes
            self.sizes.append(sizes)
        self.places = [frozenset(sizes) for sizes in self.sizes]
        self.rivals = [index for index, resident in enumerate(residents) if _excludes(target, resident)]

    def ids(self, indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.residents[index].worker_id for index in indices)

    def is_on(self, index: int, names: Sequence[str]) -> bool:
        return not self.places[index].isdisjoint(names)

    def excluded_from(self, names: Sequence[str]) -> list[int]:
        """Those that may not be loaded beside the target on these devices."""
        group = self.target.exclusive_group
        return [
            index
            for index in self.rivals
            if (group and self.residents[index].exclusive_group == group) or self.is_on(index, names)
        ]

    def free(self, names: Sequence[str], gone: Iterable[int]) -> dict[str, int]:
        """Bytes that are nobody's but of those that are `gone`."""
        return self.freed({name: self.budgets[name] - self.taken[name] for name in names}, gone)

    def freed(self, free: Mapping[str, int], gone: Iterable[int]) -> dict[str, int]:
        """What is free once these are gone too."""
        after = dict(free)
        for index in gone:
            for name, size in self.sizes[index].items():
                if name in after:
                    after[name] += size
        return after


def _best(ledger: _Ledger, may_leave: Set[int]) -> _Candidate | None:
    devices, kinds = ledger.devices, ledger.target.kinds
    if ledger.target.pinned != "auto" and devices:
        kinds = (devices[0].kind,)
    leaving = {index for index, resident in enumerate(ledger.residents) if resident.leaving}
    own = ledger.target.model  # its versions and replicas do not push others out of their way
    soon = {i for i in leaving if not ledger.residents[i].drains or ledger.residents[i].model == own}
    for kind in kinds:
        of_kind = [device for device in devices if device.kind == kind]
        for awaited in (soon, leaving) if soon != leaving else (leaving,):
            found = list(_candidates(ledger, of_kind, may_leave, awaited))
            if found:
                return min(found, key=lambda candidate: _cost(ledger, candidate))
    return None


def _cost(ledger: _Ledger, candidate: _Candidate) -> tuple[float, int, bool, int]:
    return (
        sum(ledger.regrets[index] for index in (*candidate.evict, *candidate.awaited)),
        len(candidate.shares),
        bool(candidate.awaited),
        candidate.left_bytes,  # so that large gaps stay for large models
    )


def _candidates(
    ledger: _Ledger, devices: Sequence[Device], may_leave: Set[int], leaving: Set[int]
) -> Iterator[_Candidate]:
    names = [device.name for device in devices]
    free = ledger.free(names, leaving)
    most = ledger.freed(free, may_leave - leaving)
    tried = set()
    # The devices with most room as it is, and those with most room once all have left that may.
    for choices in (_choices(ledger.target, devices, free), _choices(ledger.target, devices, most)):
        for chosen in choices:
            need = ledger.target.need(kind_of(chosen))
            if chosen in tried or room({name: most[name] for name in chosen}, need) < need:
                continue
            tried.add(chosen)
            candidate = _candidate(ledger, {name: free[name] for name in chosen}, may_leave, leaving)
            if candidate is not None:
                yield candidate


def _candidate(
    ledger: _Ledger, free: Mapping[str, int], may_leave: Set[int], leaving: Set[int]
) -> _Candidate | None:
    """The model on just these devices, of which so much is free; None where it does not fit or may not be."""
    names = tuple(free)
    excluded = ledger.excluded_from(names)
    must = [index for index in excluded if index not in leaving]
    if not may_leave >= set(must):
        return None
    need = ledger.target.need(kind_of(names))
    evict = _evicted(ledger, ledger.freed(free, must), may_leave - leaving - set(must), need)
    if evict is None:
        return None
    evict = [*must, *evict]
    awaited = [index for index in excluded if index in leaving]
    there = ledger.free(names, evict)
    if ledger.target.cramped or room(there, need) < need:
        awaited += [i for i in leaving if i not in awaited and ledger.is_on(i, names)]
        there = ledger.freed(there, leaving)
    shares = share_out(there, need)
    return _Candidate(
        tuple(Share(name, size) for name, size in shares.items()),
        tuple(evict),
        tuple(awaited),
        sum(there.values()) - sum(shares.values()),
    )


def _evicted(ledger: _Ledger, free: Mapping[str, int], candidates: Set[int], need: int) -> list[int] | None:
    """Who must leave these devices beside those that are gone; None: all together would not do."""
    names = tuple(free)
    evict: list[int] = []
    waiting = (index for index in ledger.least_missed if index in candidates and ledger.is_on(index, names))
    while room(free, need) < need:
        index = next(waiting, None)
        if index is None:
            return None
        evict.append(index)
        free = ledger.freed(free, [index])
    for index in evict[:-1]:  # the last one made it fit, and may have made an earlier one needless
        sizes = ledger.sizes[index]
        kept = {name: size - sizes.get(name, 0) for name, size in free.items()}
        if room(kept, need) >= need:
            evict.remove(index)
            free = kept
    return evict


def _excludes(target: Target, resident: Resident) -> bool:
    """They may not be loaded at once, or not on one device. Replicas of a model never exclude each other."""
    if resident.model == target.model:
        return False
    same_group = bool(target.exclusive_group) and resident.exclusive_group == target.exclusive_group
    return same_group or target.exclusive_device or resident.exclusive_device
