"""The cache of one context: which sequence id is whose, and what of older prompts can be used again.

Owns the ids and the count of cells. A sequence that has ended leaves its cells behind, under its id, until
somebody needs them; a new one takes over the longest beginning that it shares with any of them, with a
running one or with a saved state. What is shared is found by comparing every token, never by a hash (but for
pictures and sound: see media_prompt). Where those stand, positions are other numbers than tokens. Must not
know jobs, texts or sampling.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from backends.llama_cpp.cells import Cells
from backends.llama_cpp.media_prompt import holds_media, whole_spans
from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.prefixes import common_prefix, is_prefix
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.state_files import Data

LEAST_SHARED = 8
"""Fewer tokens in common are computed again: sharing them costs as much."""
_COPIED_AT_ONCE = 256
"""Cells of a sequence of its own that are copied, all of them, in the time in which one token is computed."""
_WORTH_SAVING = 64
"""Tokens of an ended sequence from which on copying its state costs less than computing it again."""


class CacheContext(Protocol):
    """What is needed of a model.Context."""

    def copy(self, source: int, target: int, end: int = -1) -> None: ...
    def remove(self, seq_id: int, start: int = 0) -> bool: ...
    def state(self, seq_id: int) -> memoryview: ...
    def restore(self, seq_id: int, data: Data) -> bool: ...


class Holder(Struct):
    """Who holds cells: a running sequence, or one that has ended."""

    seq_id: int
    tokens: TokenArray
    """Those that the cache holds."""
    key: str
    """What else the cells depend on: the adapters."""


class Move(Struct, frozen=True):
    """A running sequence has got another id."""

    source: int
    target: int


class Cache:
    """`size`: cells in all; `sequences` run at once, and up to `kept` that have ended stay beside them.

    `partitioned`: each id has cells of its own, a `sequences`th of all, nobody who ended stays, and before a
    decode the ids in use must be made the lowest (`compact`). `copies`: a new sequence gets a copy of what a
    running one or a saved state has of its prompt.
    """

    def __init__(
        self,
        context: CacheContext,
        *,
        size: int,
        sequences: int,
        kept: int = 0,
        partitioned: bool = False,
        copies: bool = False,
        saved: SavedStates | None = None,
    ) -> None:
        self._context = context
        self._size = size
        self._most_kept = 0 if partitioned else kept
        self.partitioned = partitioned
        self._copies = partitioned and copies
        self._longest = size // sequences if partitioned else size
        self._least = max(LEAST_SHARED, self._longest // _COPIED_AT_ONCE) if partitioned else LEAST_SHARED
        self._copying = False
        """Copies are under way: llama.cpp carries them out in the next decode."""
        self._saved = saved
        self._ids = sequences + self._most_kept
        self._free_ids = list(range(self._ids))
        self._kept: OrderedDict[int, Holder] = OrderedDict()
        """By id, the least recently used first."""
        self.cells = Cells()

    @property
    def shares(self) -> bool:
        return self._most_kept > 0 or self._copies

    @property
    def kept_cells(self) -> int:
        """Cells that can be had by giving up what has ended."""
        running = set(self.cells.holders()) - set(self._kept)
        return self.cells.total - sum(self.cells.added(running))

    def reusable(self, prompt: TokenArray, key: str, running: Iterable[Holder]) -> int:
        """How many tokens of a prompt the cache holds now."""
        return self._best(prompt, key, running)[1] if self.shares else 0

    def join(
        self,
        prompt: TokenArray,
        key: str,
        running: Sequence[Holder],
        position: Callable[[int], int] = int,
    ) -> tuple[int, int]:
        """An id for a new sequence, and how many tokens of its prompt it holds already.

        At least its last token is left to be computed: the answer begins with what comes out of it.

        `position` of a token of the prompt.
        """
        if not self.shares:
            return self._take_id(), 0
        source, common = self._best(prompt, key, running)
        restored = self._restore(prompt, key, common, position)
        if restored is not None:
            return restored
        if self._saved is not None:  # making room for a state in vain may have given the source up
            source, common = self._best(prompt, key, running)
        if source is None:
            return self._take_id(), 0
        kept = self._kept.get(source)
        if kept is not None and common == len(kept.tokens):
            # All of it goes on: the new sequence takes its place.
            del self._kept[source]
            return source, common
        if kept is not None:
            self._kept.move_to_end(source)
        seq_id = self._take_id(spare=source)
        if self.partitioned:
            return seq_id, self._copy(source, seq_id, common, position(common))
        self._context.copy(source, seq_id, position(common))
        self.cells.share(source, seq_id, common)
        return seq_id, common

    def grow(self, seq_id: int, tokens: int) -> None:
        """A sequence has got tokens by a decode."""
        self.cells.grow(seq_id, tokens)
        self._copying = False

    def compact(self) -> list[Move]:
        """Ids in use must follow one another: llama.cpp decodes each run of them by itself, at full cost.

        To be called once all have joined who will be in a decode: they take the gaps, and need no copy.
        """
        moves: list[Move] = []
        while self.partitioned:
            used = set(range(self._ids)) - set(self._free_ids)
            gap, highest = min(self._free_ids, default=self._ids), max(used, default=-1)
            if highest < gap:
                break
            self._move(highest, gap)
            moves.append(Move(highest, gap))
        return moves

    def cut(self, seq_id: int, length: int, position: int) -> bool:
        """Give up a sequence's tokens from `length` on, of which the first stands at `position`.

        False: it holds nothing at all now.
        """
        done = self._context.remove(seq_id, position)
        if not done:
            self._context.remove(seq_id)
        self.cells.cut(seq_id, length if done else 0)
        return done

    def leave(self, holder: Holder, *, keep: bool) -> None:
        """A sequence stops running. `keep`: its tokens may serve others, as far as there is room."""
        if self.partitioned:
            if keep:
                self._save(holder)
            self._drop(holder.seq_id)
            return
        if keep and self.shares and len(holder.tokens) >= LEAST_SHARED and self._is_news(holder):
            self._kept[holder.seq_id] = Holder(holder.seq_id, holder.tokens.copy(), holder.key)
            while len(self._kept) > self._most_kept:
                self._give_up_oldest()
            return
        self._drop(holder.seq_id)

    def make_room(self, tokens: int) -> None:
        """Give up what has ended until so many cells are free, or nothing of it is left."""
        while self._kept and self.cells.total + tokens > self._size:
            self._give_up_oldest()

    def give_up_all(self) -> bool:
        """False: there was nothing to give up."""
        had = bool(self._kept)
        while self._kept:
            self._give_up_oldest()
        return had

    def close(self) -> None:
        if self._saved is not None:
            for holder in self._kept.values():
                self._save(holder)
            self._saved.close()
            self._saved = None

    def _best(self, prompt: TokenArray, key: str, running: Iterable[Holder]) -> tuple[int | None, int]:
        """The id of the holder with most of the prompt's beginning, and how many tokens those are."""
        source, common = None, self._least - 1
        wanted = prompt[:-1]
        for holder in (*self._kept.values(), *running):
            if holder.key != key or min(len(holder.tokens), len(wanted)) <= common:
                continue
            if holder.tokens[common] == wanted[common]:
                length = whole_spans(prompt, common_prefix(holder.tokens, wanted))
                if length > common:
                    source, common = holder.seq_id, length
        return source, common if source is not None else 0

    def _restore(
        self, prompt: TokenArray, key: str, common: int, position: Callable[[int], int]
    ) -> tuple[int, int] | None:
        """As `join`, from a saved state; None where none is worth it."""
        if self._saved is None or self._copying:
            return None
        found = self._saved.best(key, prompt[:-1], common + _WORTH_SAVING - 1)
        if found is None or len(found.tokens) > self._longest:
            return None
        data = self._saved.read(found)
        if data is None:
            return None
        seq_id = self._take_id()
        self.make_room(len(found.tokens))
        if self.cells.total + len(found.tokens) > self._size or not self._context.restore(seq_id, data):
            self._context.remove(seq_id)
            self._free_ids.append(seq_id)
            return None
        self.cells.grow(seq_id, len(found.tokens))
        held = found.common if self.cut(seq_id, found.common, position(found.common)) else 0
        return seq_id, held

    def _is_news(self, holder: Holder) -> bool:
        """Whether an ended sequence holds anything that no other kept one does; those that say less go."""
        for seq_id, other in list(self._kept.items()):
            if other.key != holder.key:
                continue
            if is_prefix(holder.tokens, other.tokens):
                self._kept.move_to_end(seq_id)
                return False
            if is_prefix(other.tokens, holder.tokens):
                del self._kept[seq_id]
                self._drop(seq_id)
        return True

    def _take_id(self, spare: int | None = None) -> int:
        """The lowest free id; the oldest kept sequence but `spare` gives up its own where there is none."""
        if not self._free_ids:
            self._give_up(next(seq_id for seq_id in self._kept if seq_id != spare))
        lowest = min(self._free_ids)
        self._free_ids.remove(lowest)
        return lowest

    def _give_up_oldest(self) -> None:
        self._give_up(next(iter(self._kept)))

    def _give_up(self, seq_id: int) -> None:
        self._save(self._kept.pop(seq_id))
        self._drop(seq_id)

    def _save(self, holder: Holder) -> None:
        """But for pictures and sound, whose numbers mean nothing to another process."""
        if self._saved is None or len(holder.tokens) < _WORTH_SAVING or self._copying:
            return
        if not holds_media(holder.tokens):
            self._saved.put(holder.key, holder.tokens, self._context.state(holder.seq_id))

    def _drop(self, seq_id: int) -> None:
        self._context.remove(seq_id)
        self.cells.cut(seq_id)
        self._free_ids.append(seq_id)

    def _copy(self, source: int, target: int, length: int, position: int) -> int:
        """All cells of `source`, of which the first `length` tokens stay; how many did."""
        self._context.copy(source, target)
        self.cells.grow(target, self.cells.length(source))
        self._copying = True
        return length if self.cut(target, length, position) else 0

    def _move(self, source: int, target: int) -> None:
        length = self.cells.length(source)
        if length:
            self._context.copy(source, target)
            self.cells.share(source, target, length)
            self._context.remove(source)
            self.cells.cut(source)
            self._copying = True
        self._free_ids.remove(target)
        self._free_ids.append(source)
