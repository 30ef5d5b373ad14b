"""`python -m tests.faults.mutant_loader FILE BACKEND COUNT SEED KEEP`: load so many mutants of a file.

The libraries are imported once; each mutant is loaded in a forked child, as a worker would do it, so that ten
thousand take minutes. Prints one JSON object: how they ended, and a few of each kind kept in the folder KEEP.
"""

import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from backends.base import Backend
from backends.serve import load_failed
from config.schema import ModelSpec

LIMIT_S = 20
MOST_BYTES = 16 << 30
"""Address space of a child: a size that a header claims must not take the machine."""
KEPT_OF_A_KIND = 3
_LOADED, _REFUSED, _UNFORESEEN = 0, 10, 11


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Bits, bytes, lengths, cuts and doublings; most of them in the header, where they mean the most."""
    out = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        end = min(len(out), 4096) if chance.random() < 0.7 else len(out)
        at = chance.randrange(max(1, end - 8))
        match chance.randrange(6):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at] = chance.randrange(256)
            case 2:
                struct.pack_into("<Q", out, at, chance.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
            case 3:
                struct.pack_into("<I", out, at, chance.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
            case 4:
                del out[chance.randrange(16, len(out)) :]
            case 5:
                size = chance.randrange(1, 64)
                out[at:at] = out[at : at + size]
        if len(out) < 32:
            break
    return bytes(out)


def load(backend: type[Backend[object]], path: Path) -> int:
    """The exit status that tells what came of it."""
    spec = ModelSpec(name="m", backend="x", tasks=["embed"], source="x", parameters=_parameters(backend))
    try:
        opened = backend(spec, path)
        opened.describe()
        engine = opened.load("cpu")
        engine.warm_up()
    except Exception as error:  # the edge of the child, as it is a worker's
        return _UNFORESEEN if load_failed(error).kind == "internal" else _REFUSED
    return _LOADED


def _parameters(backend: type[Backend[object]]) -> dict[str, object]:
    return {"n_threads": 1} if backend.__name__ == "LlamaCppBackend" else {}


def _child(backend: type[Backend[object]], path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(LIMIT_S)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os._exit(load(backend, path))


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return "hung" if name == "SIGALRM" else f"killed by {name}"
    by_status = {_LOADED: "loaded", _REFUSED: "refused", _UNFORESEEN: "unforeseen error"}
    return by_status.get(os.WEXITSTATUS(status), "ended otherwise")


def _backend(name: str) -> type[Backend[object]]:
    if name == "llama_cpp":
        import llama_cpp  # noqa: F401

        from backends.llama_cpp import LlamaCppBackend

        return LlamaCppBackend  # type: ignore[return-value]
    import torch
    import transformers.models.bert.modeling_bert  # noqa: F401

    import backends.sentence.engine  # noqa: F401
    from backends.sentence import SentenceBackend

    torch.set_num_threads(1)
    return SentenceBackend  # type: ignore[return-value]


def main(file: Path, backend_name: str, count: int, seed: int, keep: Path) -> None:
    backend, chance = _backend(backend_name), random.Random(seed)
    original = file.read_bytes()
    endings: Counter[str] = Counter()
    started_at = time.monotonic()
    # A sentence model is a folder: what stands beside the file stays as it is.
    target = file.parent if backend_name == "sentence" else file
    for number in range(count):
        file.write_bytes(mutate(original, chance))
        child = os.fork()
        if child == 0:
            _child(backend, target)
        ending = _ending(os.waitpid(child, 0)[1])
        endings[ending] += 1
        if endings[ending] <= KEPT_OF_A_KIND and ending != "loaded":
            name = keep / f"{backend_name}-{ending.replace(' ', '-')}-{number}"
            if target.is_dir():
                shutil.copytree(target, name)
            else:
                shutil.copy(file, name.with_suffix(".gguf"))
    file.write_bytes(original)
    took_s = time.monotonic() - started_at
    print(json.dumps({"endings": endings, "took_s": took_s}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
