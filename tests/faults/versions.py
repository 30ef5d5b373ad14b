"""Row 29 again: new versions of one model, under requests and under streams."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.cast import CHAT, Cast, chat, fake
from tests.faults.ledger import Ledger, Manner
from tests.faults.outside import MIB, quiet_fds, rss_bytes, zombies
from tests.faults.table import Figure, Stage, at_least, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

_ADMIN_S = 120.0
STREAMS = 20
ANSWERING_S = 2.0
"""Over the load time: a new process, its helper, the first answer."""


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


@row(29, "a hot swap under 20 running streams", starter=True)
def hot_swap(stage: Stage) -> list[Figure]:
    cast = Cast(stage)
    settings = cast.config(step_ms=50, max_sequences=STREAMS)
    if stage.models == "starter":
        settings["models"][0]["parameters"]["n_seq_max"] = STREAMS
    with (
        GatewayProcess.serving(settings, stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        streams = ledger.send(CHAT, cast.request(200), count=STREAMS, manner=Manner(patience_s=300))
        wait_for(lambda: all(entry.events for entry in streams), 60)
        loaded_s = gateway.metric("model_load_seconds_sum", model=cast.name)
        began_at = time.monotonic()
        status = _ask(gateway, "/admin/models/reload", {"model": cast.name})
        running = sum(entry.outcome is None for entry in streams)
        first = ledger.answer(CHAT, cast.request(2))
        load_s = gateway.metric("model_load_seconds_sum", model=cast.name) - loaded_s
        ledger.settle(streams, 300)
        return [
            exactly("swap", status, 200),
            exactly("streams running when the new version took over", running, STREAMS),
            exactly("they ended", dict(ledger.counts(streams)), {"done": STREAMS}),
            exactly("the new version's answer", first.verdict, "done"),
            told("its load", f"{load_s:.1f} s"),
            stage.within("it answered after", first.ended_at - began_at, load_s + ANSWERING_S),
            exactly("version", int(gateway.metric("model_version", model=cast.name)), 2),
        ]
