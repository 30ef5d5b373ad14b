"""One batched call of the model, in parts that run beside the loop.

Owns which windows are in it and how far it is. Must not know what becomes of what was heard.

CTranslate2 has no way to stop what it has begun, so that a call is left in the places there are: between the
windows that it encodes, and before it writes. The loop is never held up by it: an abort is heard at once,
and its place is free, whatever the model is still computing.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from backends.whisper.hearing import Heard, Hearing, Request, Sound, together
from backends.whisper.transcript import Window
from backends.whisper.windows import Key

_MOMENT_S = 0.05
"""For which a step waits."""


class Call:
    """What the encoder gives stays with the windows: they may be asked about again."""

    def __init__(
        self, windows: Sequence[Window], requests: Sequence[Request], key: Key, encoded_at_once: int
    ) -> None:
        self.windows = list(windows)
        self.key = key
        self.languages: list[tuple[str, float]] = []
        """Of each window, where they are what the call is for, and how likely."""
        self.heard: list[Heard] = []
        """In each window, once the call has ended."""
        self.began_at = time.monotonic()
        self.encode_s = 0.0
        self._requests = list(requests)
        self._at_once = encoded_at_once

    @property
    def has_ended(self) -> bool:
        return bool(self.heard or self.languages)

    def keep(self, is_wanted: Callable[[Window], bool]) -> None:
        """Leave out what nobody waits for."""
        wanted = [place for place, window in enumerate(self.windows) if is_wanted(window)]
        self.windows = [self.windows[place] for place in wanted]
        self._requests = [self._requests[place] for place in wanted]
        self.heard = [self.heard[place] for place in wanted if self.heard]
        self.languages = [self.languages[place] for place in wanted if self.languages]

    def part(self, hearing: Hearing) -> None:
        """The next part: some windows encoded, or what the call is for."""
        silent = [place for place, window in enumerate(self.windows) if not self._is_encoded(window)]
        if silent:
            self._encode(hearing, silent[: self._at_once])
            return
        encoded = together([window.sound for window in self.windows if window.sound])
        key = self.key
        if key.detect:
            self.languages = hearing.languages(encoded)
        else:
            self.heard = hearing.write(encoded, self._requests, key.frames, key.temperature, key.logprobs)

    def _is_encoded(self, window: Window) -> bool:
        return window.sound is not None and window.sound.frames == self.key.frames

    def _encode(self, hearing: Hearing, places: Sequence[int]) -> None:
        began_at = time.monotonic()
        output = hearing.encode([self._requests[place] for place in places], self.key.frames)
        for row, place in enumerate(places):
            self.windows[place].sound = Sound(output, row, self.key.frames)
        self.encode_s += time.monotonic() - began_at


class Beside:
    """Runs a few calls beside the loop, each part by part."""

    def __init__(self, most: int, patience_s: float) -> None:
        """`patience_s`: what takes longer is waited for, so that what hangs is seen to hang."""
        self._most = most
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(most, "whisper")
        self._running: dict[Call, tuple[Future[None], float]] = {}

    @property
    def free(self) -> int:
        """Calls that can be begun."""
        return self._most - len(self._running)

    @property
    def calls(self) -> list[Call]:
        return list(self._running)

    def begin(self, call: Call, work: Callable[[], None]) -> None:
        self._running[call] = self._threads.submit(work), time.monotonic()

    def ended(self) -> list[tuple[Call, Future[None]]]:
        """Calls of which a part has ended, after a moment's waiting, and what came of it."""
        now = time.monotonic()
        late = [part for part, began_at in self._running.values() if now - began_at > self._patience_s]
        if late:
            wait(late)
        elif self._running:
            wait([part for part, _ in self._running.values()], _MOMENT_S, FIRST_COMPLETED)
        done = [(call, part) for call, (part, _) in self._running.items() if part.done()]
        for call, _ in done:
            del self._running[call]
        return done
