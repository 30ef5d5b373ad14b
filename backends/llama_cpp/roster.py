"""Who runs and who waits, whose place in the cache is whose, and how sequences come and go.

Owns the jobs and their sequences, in order of rank. Must not decode, sample or tell anybody anything.
"""

from bisect import insort
from itertools import count
from operator import attrgetter

from msgspec import Struct

from backends.llama_cpp.admission import Turns, joinable
from backends.llama_cpp.cache import Cache, Holder
from backends.llama_cpp.sampling import free_chain
from backends.llama_cpp.sequence import JobState, Sequence
from backends.llama_cpp.speculator import Speculator

_by_rank = attrgetter("rank")


class Comings(Struct):
    """What joining and leaving came to in one step."""

    preempted: int = 0
    asked: int = 0
    """Tokens of prompts that joined for the first time …"""
    found: int = 0
    """… and of those, how many the cache held."""


class Roster:
    """`places`: how many sequences may run at once."""

    def __init__(self, cache: Cache, places: int, speculator: Speculator | None) -> None:
        self._cache = cache
        self._places = places
        self._speculator = speculator
        self._turns = Turns()
        self._arrivals = count()
        self.jobs: dict[str, JobState] = {}
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.suspects: list[Sequence] = []
        """One of these made a decode fail: each is to be tried alone."""
        self.crowded = False
        """The cache had no room although the count said so: nobody joins before somebody leaves."""
        self.comings = Comings()

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    @property
    def free_places(self) -> int:
        return self._places - len(self.running)

    @property
    def promised(self) -> int:
        """Tokens of all sequences so far."""
        return sum(sequence.length for sequence in (*self.running, *self.waiting))

    @property
    def cells_in_use(self) -> int:
        """By those that run; what has ended can be given up."""
        return sum(self._added())

    def add(self, state: JobState) -> None:
        self.jobs[state.job.id] = state
        for sequence in state.sequences:
            sequence.rank = (-state.job.priority, next(self._arrivals))
            insort(self.waiting, sequence, key=_by_rank)

    def requeue(self, max_queued: int) -> list[str]:
        """Drop jobs that have not started, the least deserving first, until no more than that many wait."""
        dropped: list[str] = []
        for sequence in reversed(self.waiting.copy()):
            if len(self.waiting) <= max_queued:
                break
            job_id = sequence.owner.job.id
            if sequence.owner.started_at is None and self.drop(job_id):
                dropped.append(job_id)
        return dropped

    # --- what a step may hold ----------------------------------------------------------------------------

    def whose_turn(self) -> tuple[str, list[bool] | None]:
        """The adapters of this step, and who of the running sequences takes part; None: all."""
        keys = [sequence.key for sequence in self.running]
        if self.free_places > 0:
            keys += [sequence.key for sequence in self.waiting]
        key = self._turns.choose(keys)
        stepping = [sequence.key == key for sequence in self.running]
        return key, None if all(stepping) else stepping

    def may_join(self, key: str) -> list[Sequence]:
        if self.free_places <= 0 or not self.waiting or (self.crowded and self.running):
            return []
        waiting = [sequence for sequence in self.waiting if sequence.key == key]
        reusable = self._reusable if self._cache.shares else None
        return joinable(waiting, self.running, self.free_places, reusable)

    def needs(self) -> list[int]:
        """Cells that each running sequence needs beside those before it."""
        pairs = zip(self._added(), self.running, strict=True)
        return [own + one.length - one.held for own, one in pairs]

    def holders(self) -> list[Holder]:
        return [sequence.holder() for sequence in self.running]

    # --- coming and going --------------------------------------------------------------------------------

    def join(self, sequence: Sequence) -> None:
        """One that waits runs from now on. Raises GuideError, and then it waits no more."""
        self.waiting.remove(sequence)
        if sequence.guide is None:
            sequence.guide = sequence.make_guide()
        self._place(sequence)
        if sequence.chain is None:
            sequence.chain = sequence.make_chain()
        insort(self.running, sequence, key=_by_rank)

    def compact(self) -> None:
        """Everybody has come and gone who will before the next decode."""
        for move in self._cache.compact():
            next(one for one in self.running if one.seq_id == move.source).seq_id = move.target

    def preempt(self, sequence: Sequence) -> None:
        """Take a sequence's cells; it waits in its old place and computes them anew. Its sampler lives on."""
        self._leave_cache(sequence, keep=True)
        insort(self.waiting, sequence, key=_by_rank)
        self.comings.preempted += 1

    def discard(self, sequence: Sequence, *, keep: bool = True) -> None:
        """A sequence that will not go on, whatever it was doing. `keep`: its cells may serve others."""
        if sequence.seq_id >= 0:
            self._leave_cache(sequence, keep=keep)
            self.crowded = False
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        if self._speculator is not None:
            self._speculator.forget(sequence)
        if sequence.chain is not None:
            free_chain(sequence.chain)
            sequence.chain = None

    def drop(self, job_id: str, *, keep: bool = True) -> bool:
        """Discard all of a job. False: there is none."""
        state = self.jobs.pop(job_id, None)
        if state is None:
            return False
        for sequence in state.sequences:
            self.discard(sequence, keep=keep)
        return True

    def trust(self, sequence: Sequence, held: int) -> None:
        """After a decode that failed: the cache has seen so many of its positions, whatever was planned.

        The newest token is decoded again, for its logits.
        """
        sequence.draft = []
        there = min(held if sequence.media is None else sequence.media.index(held), sequence.length - 1)
        if sequence.prompt_logprobs is not None:  # rows that were not read are lost
            there = 0
        self._cache.grow(sequence.seq_id, max(there - sequence.held, 0))
        kept = self._cache.cut(sequence.seq_id, there, sequence.position(there))
        sequence.held = there if kept else 0

    def clear(self, sequence: Sequence) -> None:
        """It did nothing wrong."""
        if sequence in self.suspects:
            self.suspects.remove(sequence)

    def _reusable(self, sequence: Sequence) -> int:
        prompt = sequence.history[: sequence.length]
        return self._cache.reusable(prompt, sequence.key, self.holders())

    def _added(self) -> list[int]:
        return self._cache.cells.added(sequence.seq_id for sequence in self.running)

    def _place(self, sequence: Sequence) -> None:
        """A place in the cache, with what is there already of its tokens."""
        tokens = sequence.history[: sequence.length]
        if sequence.prompt_logprobs is not None:  # all of its rows must be computed
            tokens = tokens[:1]
        sequence.seq_id, sequence.held = self._cache.join(
            tokens, sequence.key, self.holders(), sequence.position
        )
        if sequence.cached is None:
            sequence.cached = sequence.held
            if self._cache.shares:
                self.comings.asked += sequence.prompt_tokens
                self.comings.found += sequence.held

    def _leave_cache(self, sequence: Sequence, *, keep: bool) -> None:
        self.running.remove(sequence)
        self._cache.leave(sequence.holder(), keep=keep and sequence not in self.suspects)
        sequence.seq_id, sequence.held = -1, 0
        sequence.draft = []
        self.clear(sequence)
