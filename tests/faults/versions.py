"""Row 29 again: new versions of one model, under requests."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Ledger
from tests.faults.outside import MIB, quiet_fds, rss_bytes, zombies
from tests.faults.table import Figure, Stage, at_least, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

_ADMIN_S = 120.0


def _ask(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> int:
    return httpx.post(f"{gateway.base_url}{path}", json=body, timeout=_ADMIN_S).status_code


def _while_asking(ledger: Ledger, act: Callable[[], None]) -> None:
    """A few requests before and after each act, so that some run across it."""
    running = ledger.send(CHAT, chat("@tokens:30"), count=8)
    wait_for(lambda: any(entry.events for entry in running), 20)
    act()
    ledger.settle(running)


def _settle(gateway: GatewayProcess) -> None:
    """Every version has gone but the one that serves: the same state before and after."""
    wait_for(lambda: len(gateway.worker_pids()) == 1, 20)


@row(29, "new versions of one model under load")
def versions(stage: Stage) -> list[Figure]:
    turns = stage.size(200, 4)
    with (
        GatewayProcess.serving({"models": [fake(step_ms=5)]}, stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        pid = gateway.process.pid

        def swap(turn: int) -> None:
            changes = {"parameters": {"step_ms": 5 + turn % 2}}
            statuses.append(_ask(gateway, "/admin/models/swap", {"model": "fake", "changes": changes}))

        statuses: list[int] = []
        for turn in range(2):
            _while_asking(ledger, lambda turn=turn: swap(turn))  # type: ignore[misc]
        _settle(gateway)
        before, descriptors = rss_bytes(pid), quiet_fds(pid)
        started_at = time.monotonic()
        for turn in range(turns):
            _while_asking(ledger, lambda turn=turn: swap(turn))  # type: ignore[misc]
        took_s = time.monotonic() - started_at
        _settle(gateway)
        return [
            exactly("swaps", {status: statuses.count(status) for status in set(statuses)}, {200: turns + 2}),
            exactly(f"of {len(ledger.entries)} requests done", ledger.counts()["done"], len(ledger.entries)),
            at_least("version", gateway.metric("model_version", model="fake"), turns + 3),
            told("each took", f"{took_s / turns:.1f} s"),
            at_most("gateway grew by", (rss_bytes(pid) - before) / MIB, 50, "MiB"),
            at_most("more descriptors", quiet_fds(pid, descriptors) - descriptors, 0),
            exactly("zombies", zombies(pid), 0),
        ]
