"""The thread that writes saved states to disk, so that no step ever waits for it.

Owns its queue of orders and what it has seen in the folder; tells what changed through `news`. A disk that is
full, read-only or gone costs the states and nothing else.
"""

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from msgspec import Struct

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.state_files import Data, Header, StateFolder

log = logging.getLogger(__name__)

_PAUSE_S = 30.0
"""After a failed write the disk is left alone for so long."""


class Write(Struct, frozen=True):
    number: int
    """Comes back as News.ended."""
    name: str
    key: str
    tokens: TokenArray
    data: Data
    used_ns: int


class Remove(Struct, frozen=True):
    name: str


class Flush(Struct, frozen=True):
    done: threading.Event


class News(Struct, frozen=True):
    """What has become of the folder. `ended`: the number of a write that is over, well or not."""

    found: list[Header]
    gone: list[str]
    used_bytes: int
    ended: int | None = None


class StateWriter:
    def __init__(self, folder: StateFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self.news: SimpleQueue[News] = SimpleQueue()
        self._folder = folder
        self._clock = clock
        self._orders: SimpleQueue[Write | Remove | Flush | None] = SimpleQueue()
        self._known: set[str] = set()
        self._paused_until: float | None = None
        self._look()
        self._thread = threading.Thread(target=self._work, name="saved-states", daemon=True)
        self._thread.start()

    def order(self, order: Write | Remove) -> None:
        self._orders.put(order)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything ordered so far is done; False: it is not."""
        done = threading.Event()
        self._orders.put(Flush(done))
        return done.wait(timeout_s)

    def close(self) -> None:
        """Forget what has not begun. A write that hangs is left to the end of the process."""
        try:
            while True:
                self._orders.get_nowait()
        except Empty:
            self._orders.put(None)
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._folder.close()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            if isinstance(order, Flush):
                order.done.set()
            elif isinstance(order, Remove):
                self._folder.remove(order.name)
                self._look()
            else:
                self._write(order)
                self._look(ended=order.number)

    def _write(self, order: Write) -> None:
        if self._paused_until is not None and self._clock() < self._paused_until:
            return
        self._paused_until = None
        self._known.discard(order.name)  # whatever stood there before, it is to be looked at again
        try:
            self._folder.write(order.name, order.key, order.tokens, order.data, order.used_ns)
        except OSError as error:
            self._paused_until = self._clock() + _PAUSE_S
            log.warning("cannot save a state to disk (%s); trying again in %.0f s", error.strerror, _PAUSE_S)

    def _look(self, ended: int | None = None) -> None:
        """Compare the folder with what was there last time: other workers write and remove as well."""
        try:
            files = self._folder.scan()
        except OSError:
            files = []
        names = {facts.name for facts in files}
        headers = [self._folder.header(facts.name) for facts in files if facts.name not in self._known]
        found = [header for header in headers if header is not None]
        gone = [name for name in self._known if name not in names]
        self._known = names
        self.news.put(News(found, gone, sum(facts.size_bytes for facts in files), ended))
