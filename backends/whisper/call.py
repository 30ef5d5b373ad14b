"""One batched call of the model, in parts that run beside the loop.

Owns which windows are in it and how far it is. Must not know what becomes of what was heard.

CTranslate2 has no way to stop what it has begun, so that a call is left in the places there are: between the
windows that it encodes, and before it writes. The loop is never held up by it: an abort is heard at once,
and its place is free, whatever the model is still computing.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from backends.whisper.hearing import Heard, Hearing, Request, joined
from backends.whisper.transcript import Window
from backends.whisper.windows import Key

_MOMENT_S = 0.05
"""For which a step waits."""


class Call:
    def __init__(
        self, windows: Sequence[Window], requests: Sequence[Request], key: Key, encoded_at_once: int
    ) -> None:
        self.windows = list(windows)
        self.rows = list(range(len(windows)))
        """Of the windows, in `output`."""
        self.key = key
        self.heard: list[Heard] = []
        """Of each window, once the call has ended."""
        self.output: Any = None
        """The encoder's."""
        self.began_at = time.monotonic()
        self.encode_s = 0.0
        self._requests = list(requests)
        self._at_once = encoded_at_once
        self._parts: list[Any] = []
        self._encoded = 0

    @property
    def encoded(self) -> bool:
        """All of it: it can be written."""
        return self._encoded == len(self.windows)

    def keep(self, is_wanted: Callable[[Window], bool]) -> None:
        """Leave out what nobody waits for, where that needs no copy of what the encoder gave."""
        wanted = [place for place, window in enumerate(self.windows) if is_wanted(window)]
        if self.heard:
            self.heard = [self.heard[place] for place in wanted]
            self.rows = [self.rows[place] for place in wanted]
        elif self._encoded > len(self._parts) and wanted:
            return
        else:
            self._parts = [self._parts[place] for place in wanted if place < self._encoded]
            self._encoded = len(self._parts)
            self._requests = [self._requests[place] for place in wanted]
            self.rows = list(range(len(wanted)))
        self.windows = [self.windows[place] for place in wanted]

    def encode(self, hearing: Hearing) -> None:
        """The next windows."""
        began_at = time.monotonic()
        some = self._requests[self._encoded :][: self._at_once]
        self._parts += hearing.encode(some, self.key.frames)
        self._encoded += len(some)
        self.encode_s += time.monotonic() - began_at

    def write(self, hearing: Hearing) -> None:
        self.output = joined(self._parts)
        key = self.key
        self.heard = hearing.write(self.output, self._requests, key.frames, key.temperature, key.logprobs)


class Beside:
    """Runs one thing at a time beside the loop."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: what takes longer is waited for, so that what hangs is seen to hang."""
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(1, "whisper")
        self._running: Future[None]
        self._began_at = 0.0

    def begin(self, work: Callable[[], None]) -> None:
        self._began_at = time.monotonic()
        self._running = self._threads.submit(work)

    def ended(self) -> bool:
        """Whether it has, after a moment's waiting."""
        patient = time.monotonic() - self._began_at < self._patience_s
        wait([self._running], _MOMENT_S if patient else None)
        return self._running.done()

    def result(self) -> None:
        """Raises what the work raised."""
        self._running.result()
