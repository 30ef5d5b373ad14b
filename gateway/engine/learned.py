"""What models were seen to need in earlier loads, kept on disk: a prediction for the next load.

One small file for each model, settings and kind of device, with the peaks of its last loads; the largest
counts, so that one odd load is forgotten in time. Reads and writes files: not to be used on the event loop.
"""

import hashlib
import os
from collections.abc import Mapping, Set
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct, field

from config.schema import ModelSpec

KEPT_LOADS = 8
_WORTH_WRITING = 1.02
"""A peak that has grown by less is not written again."""

log = structlog.get_logger(__name__)


class _Peaks(Struct):
    model: str
    """For people who look into the folder."""
    peaks: list[int] = field(default_factory=list)
    """Bytes, of one load each, the last one last."""


def learned_key(spec: ModelSpec, fingerprint: str) -> str:
    """Changes with the weights, the parameters, the backend and our version."""
    facts = (fingerprint, spec.backend, spec.tasks, spec.parameters, _own_version())
    return hashlib.sha256(msgspec.msgpack.encode(facts, order="deterministic")).hexdigest()[:32]


@cache
def _own_version() -> str:
    """Looked up once: each look reads files, and keys are made on the event loop, for every worker."""
    return version("llm-cortex")


class LearnedPeaks:
    """A worker id stands for a load."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str], _Peaks] = {}
        self._current: dict[int, int] = {}
        """Peak of each load that goes on."""

    def read(self, key: str, kinds: list[str]) -> Mapping[str, int]:
        """Bytes by kind of device, of those that it has been loaded on."""
        return {kind: max(peaks) for kind in kinds if (peaks := self._peaks(key, kind, "").peaks)}

    def note(self, worker_id: int, key: str, kind: str, model: str, held_bytes: int) -> None:
        """A worker holds so much now."""
        if held_bytes <= 0:
            return
        entry = self._peaks(key, kind, model)
        before = self._current.get(worker_id)
        if before is None:
            entry.peaks = [*entry.peaks[-(KEPT_LOADS - 1) :], held_bytes]
        elif held_bytes > before * _WORTH_WRITING:
            # Another replica's load may stand behind ours; whose peak grows does not matter.
            entry.peaks[-1] = max(entry.peaks[-1], held_bytes)
        else:
            return
        self._current[worker_id] = held_bytes
        entry.model = model
        self._write(key, kind, entry)

    def keep_only(self, worker_ids: Set[int]) -> None:
        """All other workers have ended."""
        self._current = {
            worker_id: peak for worker_id, peak in self._current.items() if worker_id in worker_ids
        }

    def _peaks(self, key: str, kind: str, model: str) -> _Peaks:
        known = self._files.get((key, kind))
        if known is None:
            known = self._files[key, kind] = self._load(self._path(key, kind)) or _Peaks(model)
        return known

    def _load(self, path: Path) -> _Peaks | None:
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Peaks)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("a file of measured memory is not usable", path=str(path), reason=str(error))
            return None
        return found if all(peak > 0 for peak in found.peaks) else None

    def _write(self, key: str, kind: str, entry: _Peaks) -> None:
        """A full disk costs the prediction, nothing else."""
        path = self._path(key, kind)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode(entry))
            partial.replace(path)
        except OSError as error:
            log.warning("measured memory cannot be kept", path=str(path), reason=str(error))

    def _path(self, key: str, kind: str) -> Path:
        return self._folder / f"{key}-{kind}.json"
