"""Faults of the fake model's processes, carried out on demand: see backends/fake.py for their names."""

import fcntl
import os
import struct
import sys
import threading
import time

from backends.base import JobError, OutOfMemory
from backends.fake_answers import FakeItem, directives

_held: list[object] = []
"""What stays as long as this process lives."""


def take_room(file: str, ballast_bytes: int) -> None:
    """Really take memory, and hold a file. Raises OutOfMemory while another process holds that."""
    _held.append(b"\1" * ballast_bytes)
    if not file:
        return
    lock = open(file, "a")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OutOfMemory("another model has the memory, as scripted") from None
    _held.append(lock)


def struck(item: FakeItem) -> FakeItem:
    """The item, unless its script has a fault of the prepare stage."""
    strike_in_preparing(item.text)
    return item


def strike_in_preparing(text: str) -> None:
    script = directives(text)
    if "prepare-hang" in script:
        time.sleep(3600)
    if "prepare-die" in script:
        os._exit(1)
    if "prepare-refuse" in script:
        raise JobError("refused as scripted", param="messages", code="scripted")


def strike(script: dict[str, int], done: int) -> None:
    """Carry out a fault of this process that is due after `done` outputs."""
    for name in ("die", "hang", "spin", "deadlock", "garble", "huge", "truncate", "raise"):
        if script.get(name, -1) == done:
            _FAULTS[name]()


def _channel_write(data: bytes) -> None:
    os.write(int(sys.argv[2]), data)


def _spin() -> None:
    while True:
        pass


def _deadlock() -> None:
    lock = threading.Lock()
    with lock, lock:
        pass


def _truncate() -> None:
    _channel_write(struct.pack("<I", 1000) + b"half")
    os._exit(1)


def _raise() -> None:
    raise RuntimeError("raised as scripted")


_FAULTS = {
    "die": lambda: os._exit(9),
    "hang": lambda: time.sleep(3600),
    "spin": _spin,
    "deadlock": _deadlock,
    "garble": lambda: _channel_write(struct.pack("<I", 12) + b"\xc1not msgpack"),
    "huge": lambda: _channel_write(b"\xff\xff\xff\xff" + b"x" * 4096),
    "truncate": _truncate,
    "raise": _raise,
}
