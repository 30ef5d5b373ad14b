"""The C library, loaded once a process; its log goes to logging. Only this file imports llama_cpp."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_cpp import llama_cpp as C

log = logging.getLogger("llama.cpp")

_LEVELS = {3: logging.WARNING, 4: logging.ERROR}
"""ggml's warning and error; everything below is for debugging."""
_CONTINUED = 5


class _LogSink:
    """Turns the library's text pieces into log lines."""

    def __init__(self) -> None:
        self._level = logging.DEBUG
        self._line = ""
        self.heard: list[str] | None = None
        """Lines of errors, while somebody listens."""

    def write(self, level: int, text: bytes | None, _data: Any) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.DEBUG)
        if text is None or not log.isEnabledFor(self._level):
            return
        self._line += text.decode("utf-8", "replace")
        if self._line.endswith("\n"):
            log.log(self._level, "%s", self._line.rstrip())
            if self.heard is not None and self._level == logging.ERROR:
                self.heard.append(self._line.rstrip())
            self._line = ""


# The library keeps this pointer for the life of the process, so it must never be collected.
_sink = _LogSink()
_log_callback = C.llama_log_callback(_sink.write)
C.llama_log_set(_log_callback, None)
C.llama_backend_init()


@contextmanager
def complaints() -> Iterator[list[str]]:
    """The errors that the library tells of while the block runs; many functions only say that they failed."""
    heard: list[str] = []
    _sink.heard = heard
    try:
        yield heard
    finally:
        _sink.heard = None


__all__ = ["C", "complaints"]
