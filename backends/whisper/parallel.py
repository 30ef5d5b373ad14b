"""How many windows are heard at once, by how many calls of the model, with how many threads each.

Light: what describes a model asks it too.
"""

from backends.cores import own_cores
from config.parameters import WhisperParameters

_WINDOWS = {"cpu": 8, "cuda": 24}
_WORKERS = 2
"""On a processor a call gains little from a second row and less from a second thread. whisper-base on two
cores writes eight windows of 5 s in 1.3 s by one call with two threads, in 0.8 s by two calls with one thread
each; one of the windows takes 0.8 and 0.5 s from end to end."""


def calls_and_threads(parameters: WhisperParameters, kind: str) -> tuple[int, int]:
    """Calls of the model at once, and the threads of each."""
    threads = own_cores() if parameters.n_threads == "auto" else parameters.n_threads
    usual = min(_WORKERS, threads) if kind == "cpu" else 1
    calls = usual if parameters.n_workers == "auto" else parameters.n_workers
    return calls, max(1, threads // calls)


def windows_of_a_call(parameters: WhisperParameters, kind: str, calls: int) -> int:
    """Most windows of one of so many calls."""
    usual = max(1, _WINDOWS.get(kind, _WINDOWS["cpu"]) // calls)
    return usual if parameters.batch_size == "auto" else parameters.batch_size


def windows_at_once(parameters: WhisperParameters) -> int:
    """Most windows of all its calls together, on a CPU that has a thread for each."""
    if parameters.batch_size == "auto":
        return _WINDOWS["cpu"]
    return parameters.batch_size * (_WORKERS if parameters.n_workers == "auto" else parameters.n_workers)
