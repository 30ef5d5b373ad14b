"""The C libraries, loaded once a process; their log goes to logging. Only this file imports llama_cpp."""

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_cpp import llama_cpp as C

log = logging.getLogger("llama.cpp")

_LEVELS = {3: logging.WARNING, 4: logging.ERROR}
"""ggml's warning and error; everything below is for debugging."""
_CONTINUED = 5


class _LogSink(threading.local):
    """Turns the library's text pieces into log lines, each thread's by themselves."""

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
    """The errors that this thread hears of while the block runs; many functions only say that they failed."""
    heard: list[str] = []
    _sink.heard = heard
    try:
        yield heard
    finally:
        _sink.heard = None


def ggml_device(name: str) -> int | None:
    """The handle of a device, `CUDA0` for one; None where there is none of the name."""
    from llama_cpp._ggml import libggml

    find = libggml.ggml_backend_dev_by_name
    find.argtypes, find.restype = [ctypes.c_char_p], ctypes.c_void_p
    handle: int | None = find(name.encode())
    return handle


def load_mtmd() -> Any:
    """libmtmd, for models that take pictures or sound: others do without it."""
    from llama_cpp import mtmd_cpp

    mtmd_cpp.mtmd_helper_log_set(_log_callback, None)
    return mtmd_cpp


__all__ = ["C", "complaints", "ggml_device", "load_mtmd"]
