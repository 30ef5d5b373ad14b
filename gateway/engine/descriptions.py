"""What each model can do, asked of its backend in a short-lived child and remembered on disk.

The answer is kept under a hash of the weights' fingerprint, the settings, the version and the backend's code,
so that a change of any of them asks again. Must not load a model.
"""

import asyncio
import hashlib
import subprocess
import sys
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from backends.protocol import PROTOCOL_VERSION, Description, Load
from config.schema import BackendConfig, ModelSpec
from gateway.engine.errors import ModelFailed
from gateway.engine.launcher.environment import child_environment

DESCRIBE_TIMEOUT_S = 60.0
ENTRY_POINT_GROUP = "llm_cortex.backends"
_encoder = msgspec.msgpack.Encoder()


async def describe(
    spec: ModelSpec, backend: BackendConfig, weights: Path, fingerprint: str, cache_dir: Path
) -> Description:
    """The model's description. Raises ModelFailed with the backend's reason."""
    key = await asyncio.to_thread(_key, spec, backend, fingerprint)
    cached = cache_dir / "descriptions" / f"{key}.msgpack"
    try:
        return msgspec.msgpack.decode(cached.read_bytes(), type=Description)
    except (OSError, msgspec.MsgspecError):
        pass
    answer = await _ask(Load(spec, str(weights), "cpu", 0), backend)
    description = msgspec.msgpack.decode(answer, type=Description)
    _keep(cached, answer)
    return description


def _key(spec: ModelSpec, backend: BackendConfig, fingerprint: str) -> str:
    facts = (spec, backend, fingerprint, version("llm-cortex"), PROTOCOL_VERSION, code_state(spec.backend))
    return hashlib.sha256(_encoder.encode(facts)).hexdigest()[:32]


def code_state(backend: str) -> list[tuple[str, int]]:
    """Where the backend's code comes from and when it last changed, found without importing it."""
    state: list[tuple[str, int]] = []
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=backend):
        found = find_spec(entry.module.partition(".")[0])
        if found is None:
            continue
        folders = [Path(folder) for folder in found.submodule_search_locations or []]
        files = [file for folder in folders for file in folder.rglob("*.py")]
        if not folders and found.origin is not None:
            files = [Path(found.origin)]
        state.append((entry.value, max((file.stat().st_mtime_ns for file in files), default=0)))
    return state


def _keep(path: Path, answer: bytes) -> None:
    """A full disk costs the cache, not the answer."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(answer)
        partial.replace(path)
    except OSError:
        pass


async def _ask(load: Load, backend: BackendConfig) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(backend.python or sys.executable, "-P", "-m", "backends", "describe"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(backend.env),
    )
    try:
        async with asyncio.timeout(DESCRIBE_TIMEOUT_S):
            answer, complaint = await process.communicate(_encoder.encode(load))
    except TimeoutError:
        raise ModelFailed(f"{load.spec.name}: no description within {DESCRIBE_TIMEOUT_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"status {process.returncode}"
        raise ModelFailed(f"{load.spec.name} cannot be used: {reason}")
    return answer
