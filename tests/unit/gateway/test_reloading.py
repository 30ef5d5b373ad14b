"""When the configuration is read again. What is done with it is seen on a running gateway (test_reload)."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.load import ConfigFile
from config.schema import Config
from gateway.engine.reload_plan import ReloadPlan
from gateway.reloading import Reloaded, Reloader
from gateway.telemetry.metrics import Metrics


@pytest.fixture
def reloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reloader:
    """Reading takes until `release`; `reads` counts them."""
    made: Any = Reloader(
        ConfigFile(tmp_path / "config.yaml"),
        Config(),
        SimpleNamespace(),  # type: ignore[arg-type]
        SimpleNamespace(),  # type: ignore[arg-type]
    )
    made.reads, made.release = 0, asyncio.Event()

    async def read(strategy: str) -> Reloaded:
        made.reads += 1
        await made.release.wait()
        return Reloaded(ReloadPlan([], [], [], [], []), {})

    monkeypatch.setattr(made, "_reload", read)
    return made  # type: ignore[no-any-return]


async def test_what_is_asked_for_meanwhile_follows_whoever_asked_first(reloader: Any) -> None:
    first = asyncio.create_task(reloader.reload())
    await asyncio.sleep(0)
    for _ in range(3):  # of many that ask the last is enough
        reloader.request()
    reloader.release.set()
    await first
    async with asyncio.timeout(10):
        while reloader.reads < 2:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert reloader.reads == 2


async def test_what_nobody_expected_is_told_and_counted(
    reloader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(strategy: str) -> Reloaded:
        raise RuntimeError("secret")

    monkeypatch.setattr(reloader, "_reload", read)
    reloader._metrics = metrics = Metrics()
    with capture_logs() as logs:
        await reloader._unattended()
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("error", "RuntimeError")]
    assert "test_reloading.py:" in logs[0]["at"]
    assert "secret" not in str(logs)
    assert 'config_reloads_total{outcome="refused"} 1.0' in metrics.render().decode()
