"""Entry of every process on the worker's side: `python -P -m backends worker|prepare|describe …`.

`-P` keeps the working directory off the import path, so that a user's own `config/` or `torch.py` cannot win.
"""

import faulthandler
import logging
import os
import sys

import msgspec

from backends.protocol import Load, encode_frame


def _describe() -> int:
    """Read a Load message on stdin, write the model's Description to stdout."""
    from backends.process import open_backend

    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Load)
    try:
        description = open_backend(load).describe()
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    with os.fdopen(out, "wb") as stdout:
        stdout.write(encode_frame(description)[4:])
    return 0


def main(arguments: list[str]) -> int:
    faulthandler.enable()  # a crash in a library's machine code says on stderr where it was
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    match arguments:
        case ["worker", fd, parent_pid]:
            from backends.serve import run_worker

            return run_worker(int(fd), int(parent_pid))
        case ["prepare", fd, parent_pid]:
            from backends.prepare import run_helper

            run_helper(int(fd), int(parent_pid))
            return 0
        case ["describe"]:
            return _describe()
    print("usage: python -P -m backends worker|prepare FD PARENT_PID | describe", file=sys.stderr)
    return 2


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(
        status
    )  # engines' own exit handlers (thread pools, GPU contexts) may hang; the memory goes anyway
