"""The C library, loaded once a process; its log goes to logging. Only this file imports llama_cpp."""

import logging
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

    def write(self, level: int, text: bytes | None, _data: Any) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.DEBUG)
        if text is None or not log.isEnabledFor(self._level):
            return
        self._line += text.decode("utf-8", "replace")
        if self._line.endswith("\n"):
            log.log(self._level, "%s", self._line.rstrip())
            self._line = ""


# The library keeps this pointer for the life of the process, so it must never be collected.
_log_callback = C.llama_log_callback(_LogSink().write)
C.llama_log_set(_log_callback, None)
C.llama_backend_init()

__all__ = ["C"]
