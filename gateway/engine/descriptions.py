"""What each model can do, asked of its backend in a short-lived child and remembered on disk.

The answer is kept under a hash of the weights' fingerprint, the settings and the version, so that a changed
file or setting asks again. Must not load a model.
"""

import asyncio
import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from backends.protocol import Description, Load
from config.schema import BackendConfig, ModelSpec
from gateway.engine.errors import ModelFailed
from gateway.engine.launcher.environment import child_environment

DESCRIBE_TIMEOUT_S = 60.0
_encoder = msgspec.msgpack.Encoder()


async def describe(
    spec: ModelSpec, backend: BackendConfig, weights: Path, fingerprint: str, cache_dir: Path
) -> Description:
    """The model's description. Raises ModelFailed with the backend's reason."""
    cached = cache_dir / "descriptions" / f"{_key(spec, backend, fingerprint)}.msgpack"
    try:
        return msgspec.msgpack.decode(cached.read_bytes(), type=Description)
    except (OSError, msgspec.MsgspecError):
        pass
    answer = await _ask(Load(spec, str(weights), "cpu", 0), backend)
    description = msgspec.msgpack.decode(answer, type=Description)
    _keep(cached, answer)
    return description


def _key(spec: ModelSpec, backend: BackendConfig, fingerprint: str) -> str:
    facts = (spec, backend, fingerprint, version("llm-cortex"))
    return hashlib.sha256(_encoder.encode(facts)).hexdigest()[:32]


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
