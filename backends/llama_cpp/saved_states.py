"""States of ended sequences, kept in host memory and on disk under bounds, and found again by their tokens.

Owns the index, the order of use and the bounds. A state is opaque bytes; it is found only by tokens compared
one by one. What was used least recently goes from memory to disk (state_writer) and from there away
(state_files). Single-threaded but for the writer, whose news are taken in at each call. Never logs tokens.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import Empty

import numpy as np
from msgspec import Struct

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.prefixes import common_prefix, is_prefix
from backends.llama_cpp.state_files import Data, Header, StateFolder, state_name
from backends.llama_cpp.state_writer import News, Remove, StateWriter, Write

log = logging.getLogger(__name__)

_WAITING_SHARE = 0.25
"""Of `host_bytes`: what may wait for the disk beside what is kept …"""
_WAITING_BYTES = 64 * 1024 * 1024
"""… but so much always may, and one state of any size."""
_CLOSE_S = 2.0


class Saved(Struct, frozen=True):
    """A find. `common`: how many leading tokens equal the asked ones."""

    tokens: TokenArray
    common: int
    size_bytes: int
    in_memory: bool
    key: str
    name: str


class Entry(Struct, eq=False):
    """A state that is known."""

    name: str
    key: str
    tokens: TokenArray
    size_bytes: int
    used_ns: int = 0
    data: Data | None = None
    """None where only the disk has it."""
    stored: bool = False
    """The disk has it, as far as is known."""

    def cost(self) -> tuple[bool, int]:
        """What reading it takes, to be compared."""
        return self.data is None, self.size_bytes


class SavedStates:
    """`fingerprint` must change when older states are of no use: with the file, cache types, the library."""

    def __init__(
        self,
        *,
        host_bytes: int,
        disk: Path | None = None,
        disk_bytes: int = 0,
        fingerprint: str = "",
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._host_bytes = host_bytes
        self._fingerprint = fingerprint
        self._clock_ns = clock_ns
        self._by_name: dict[str, Entry] = {}
        self._by_key: dict[str, dict[str, Entry]] = {}
        self._kept: OrderedDict[str, Entry] = OrderedDict()
        """Those in memory, least recently used first."""
        self._kept_bytes = 0
        self._waiting: dict[int, Entry] = {}
        """Those whose data is the writer's, and leaves memory when that is done."""
        self._waiting_bytes = 0
        self._numbers = count()
        self._disk_used = 0
        self._folder = _open_folder(disk, disk_bytes, fingerprint)
        self._writer = StateWriter(self._folder) if self._folder else None
        self._take_news()

    @property
    def host_used(self) -> int:
        """Bytes in memory: up to `host_bytes`, and what is on its way to the disk."""
        self._take_news()
        return self._kept_bytes + self._waiting_bytes

    @property
    def disk_used(self) -> int:
        """Bytes of all states in the folder, also of other workers and models, as last seen."""
        self._take_news()
        return self._disk_used

    def best(self, key: str, tokens: TokenArray, better_than: int) -> Saved | None:
        """The state with most leading tokens in common, more than `better_than`; of equals the cheapest."""
        self._take_news()
        best: Entry | None = None
        common = max(better_than, 0)
        for entry in self._by_key.get(key, {}).values():
            # One look at the last token that must be equal spares most comparisons.
            last = common if best is None or entry.cost() >= best.cost() else common - 1
            if min(len(entry.tokens), len(tokens)) <= last or entry.tokens[last] != tokens[last]:
                continue
            length = common_prefix(entry.tokens, tokens)
            if length > last:
                best, common = entry, length
        if best is None:
            return None
        return Saved(best.tokens, common, best.size_bytes, best.data is not None, key, best.name)

    def read(self, saved: Saved) -> Data | None:
        """The state's bytes; None: it has vanished or is damaged, and will not be found again."""
        entry = self._by_name.get(saved.name)
        if entry is None:
            return None
        data = entry.data if entry.data is not None else self._fetch(entry)
        if data is None:
            self._drop(entry)
            return None
        self._touch(entry)
        self._shrink()
        return data

    def put(self, key: str, tokens: TokenArray, data: Data) -> None:
        """Take a state over: `data` must not change any more.

        It replaces states of leading parts of `tokens`, and is not needed where memory holds one of more.
        """
        self._take_news()
        mine = np.array(tokens, dtype=np.int32)
        mine.flags.writeable = False
        if len(mine) == 0 or not (len(data) <= self._host_bytes or self._fits_disk(key, mine, len(data))):
            return
        entry = Entry(state_name(self._fingerprint, key, mine), key, mine, len(data), self._clock_ns(), data)
        others = list(self._by_key.get(key, {}).values())
        for other in others:
            if other.data is not None and is_prefix(mine, other.tokens):
                self._touch(other)
                return
        for other in others:
            if not is_prefix(other.tokens, mine):
                continue
            if other.name == entry.name:
                entry.stored = other.stored  # its file is as good as one of this data
                self._forget(other)
            else:
                self._drop(other)
        self._index(entry)
        self._keep(entry)
        self._shrink()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what had to leave memory is on disk; False: it is not."""
        done = self._writer is None or self._writer.flush(timeout_s)
        self._take_news()
        return done

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Save to disk what memory holds, the most recently used first, as far as it gets in the time."""
        if self._writer is not None:
            for entry in reversed(self._kept.values()):
                if not entry.stored:
                    self._order_write(entry)
            self._writer.flush(timeout_s)
            self._writer.close()
        self._writer = None
        for container in (self._by_name, self._by_key, self._kept, self._waiting):
            container.clear()
        self._kept_bytes = self._waiting_bytes = 0

    # --- memory -------------------------------------------------------------------------------------------

    def _index(self, entry: Entry) -> None:
        self._by_name[entry.name] = entry
        self._by_key.setdefault(entry.key, {})[entry.name] = entry

    def _keep(self, entry: Entry) -> None:
        self._kept[entry.name] = entry
        self._kept_bytes += entry.size_bytes

    def _touch(self, entry: Entry) -> None:
        entry.used_ns = self._clock_ns()
        if entry.name in self._kept:
            self._kept.move_to_end(entry.name)
        if entry.stored and self._folder is not None:
            self._folder.touch(entry.name, entry.used_ns)

    def _shrink(self) -> None:
        """Keep the bound: what was used least recently leaves memory, for the disk if that can take it."""
        while self._kept_bytes > self._host_bytes:
            entry = next(iter(self._kept.values()))
            self._leave_memory(entry)
            if entry.stored:
                entry.data = None
            elif self._may_wait(entry):
                self._order_write(entry)
            else:
                self._forget(entry)

    def _leave_memory(self, entry: Entry) -> None:
        if self._kept.get(entry.name) is entry:
            del self._kept[entry.name]
            self._kept_bytes -= entry.size_bytes

    def _may_wait(self, entry: Entry) -> bool:
        if not self._fits_disk(entry.key, entry.tokens, entry.size_bytes):
            return False
        waiting = self._waiting_bytes
        limit = max(self._host_bytes * _WAITING_SHARE, _WAITING_BYTES)
        return waiting == 0 or waiting + entry.size_bytes <= limit

    def _forget(self, entry: Entry) -> None:
        """Out of the index and out of memory; a file of it stays."""
        self._leave_memory(entry)
        if self._by_name.get(entry.name) is entry:
            del self._by_name[entry.name]
            del self._by_key[entry.key][entry.name]
            if not self._by_key[entry.key]:
                del self._by_key[entry.key]

    def _drop(self, entry: Entry) -> None:
        """For good, on disk too; a write of it that is still to come is undone after it."""
        self._forget(entry)
        if self._writer is not None and (entry.stored or entry in self._waiting.values()):
            self._writer.order(Remove(entry.name))

    # --- disk ---------------------------------------------------------------------------------------------

    def _fits_disk(self, key: str, tokens: TokenArray, size_bytes: int) -> bool:
        folder = self._folder
        return folder is not None and folder.file_bytes(key, tokens, size_bytes) <= folder.max_bytes

    def _order_write(self, entry: Entry) -> None:
        assert self._writer is not None
        assert entry.data is not None
        number = next(self._numbers)
        self._waiting[number] = entry
        self._waiting_bytes += entry.size_bytes
        self._writer.order(Write(number, entry.name, entry.key, entry.tokens, entry.data, entry.used_ns))

    def _fetch(self, entry: Entry) -> Data | None:
        """A state from disk; it is in memory from now on, if it fits there."""
        if self._folder is None:
            return None
        data = self._folder.read(entry.name, entry.key, entry.tokens)
        if data is not None and entry.size_bytes <= self._host_bytes:
            entry.data = data
            self._keep(entry)
        return data

    def _take_news(self) -> None:
        if self._writer is None:
            return
        try:
            while True:
                self._take(self._writer.news.get_nowait())
        except Empty:
            return

    def _take(self, news: News) -> None:
        self._disk_used = news.used_bytes
        for header in news.found:
            self._found(header)
        for name in news.gone:
            self._gone(name)
        if news.ended is not None:
            self._ended(self._waiting.pop(news.ended))

    def _found(self, header: Header) -> None:
        entry = self._by_name.get(header.name)
        if entry is None:
            entry = Entry(header.name, header.key, header.tokens, header.data_bytes)
            self._index(entry)
        entry.stored = True

    def _gone(self, name: str) -> None:
        entry = self._by_name.get(name)
        if entry is not None:
            entry.stored = False
            if entry.data is None:
                self._forget(entry)

    def _ended(self, entry: Entry) -> None:
        """The writer is done with a state; it is on disk if its file was found there."""
        self._waiting_bytes -= entry.size_bytes
        if entry.name in self._kept:
            return
        entry.data = None
        if not entry.stored:
            self._forget(entry)


def _open_folder(disk: Path | None, disk_bytes: int, fingerprint: str) -> StateFolder | None:
    if disk is None or disk_bytes <= 0:
        return None
    try:
        return StateFolder(disk, max_bytes=disk_bytes, fingerprint=fingerprint)
    except OSError as error:
        log.warning("states are not saved to %s: %s", disk, error.strerror)
        return None
