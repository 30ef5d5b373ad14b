"""Rows 28 and 29: many loads at once, and models that take turns in memory that holds one of them."""

import time
from typing import Any

from tests.faults.cast import CHAT, chat, fake, starter
from tests.faults.ledger import Ledger, Manner
from tests.faults.outside import MIB, quiet_fds, rss_bytes, zombies
from tests.faults.table import Figure, Stage, at_least, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

SIZE = 100 * MIB
STARTER_SIZE = 700 * MIB
"""What a worker is allowed. One that held more would be evicted for that as soon as it is idle."""
AT_ONCE = {"min_residency_s": 0.0, "yield_after_s": 0.1}
"""Nobody waits for a swap to be worth it: this is about the swaps themselves."""


@row(28, "50 loads of one model at once, load during unload, load over budget")
def loads(stage: Stage) -> list[Figure]:
    names = ("a", "b")
    models = [fake(name, preload=False, load_ms=200, step_ms=5, memory_bytes=SIZE) for name in names]
    models.append(fake("whale", preload=False, memory_bytes=10 * SIZE))
    with (
        GatewayProcess.serving(
            {"models": models, "devices": room(SIZE), "placement": AT_ONCE}, stage.folder
        ) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        at_once = ledger.settle(ledger.send(CHAT, chat("@tokens:5", model="a"), count=50))
        starts = gateway.metric("worker_events_total", model="a", event="started")
        # b makes a leave, and a is wanted again while it does.
        crossing = ledger.send(CHAT, chat("@tokens:5", model="b"))
        wait_for(lambda: gateway.workers("a") == 0, 10)
        crossing += ledger.send(CHAT, chat("@tokens:5", model="a"))
        ledger.settle(crossing)
        whale = ledger.answer(CHAT, chat("hi", model="whale"))
        return [
            exactly("50 at once", dict(ledger.counts(at_once)), {"done": 50}),
            exactly("processes started for them", int(starts), 1),
            exactly("load during unload", dict(ledger.counts(crossing)), {"done": 2}),
            exactly("over budget", whale.verdict, "refused 503 insufficient_memory"),
            at_least("retry-after", int(whale.headers.get("retry-after", 0)), 1, "s"),
            exactly("starts of it", gateway.metric("worker_events_total", model="whale", event="started"), 0),
        ]


@row(29, "swaps A-B under load", starter=True)
def swaps(stage: Stage) -> list[Figure]:
    turns = stage.size(200, 4)
    size = STARTER_SIZE if stage.models == "starter" else SIZE
    with (
        GatewayProcess.serving(
            {"models": _pair(stage, size), "devices": room(size), "placement": AT_ONCE}, stage.folder
        ) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        pid = gateway.process.pid
        patience = Manner(patience_s=120)
        _take_turns(ledger, 2, patience)
        _quiet(gateway, ledger)
        before, descriptors = rss_bytes(pid), quiet_fds(pid)
        started = _starts(gateway)
        first = len(ledger.entries)
        started_at = time.monotonic()
        _take_turns(ledger, turns, patience)
        took_s = time.monotonic() - started_at
        _quiet(gateway, ledger)
        asked = ledger.entries[first:]
        resident = gateway.total("worker_memory_bytes")
        return [
            at_least("swaps", _starts(gateway) - started, turns * 0.9),
            told("each took", f"{took_s / turns:.2f} s"),
            exactly(f"of {len(asked)} requests done", ledger.counts(asked)["done"], len(asked)),
            at_most("gateway grew by", (rss_bytes(pid) - before) / MIB, 50, "MiB"),
            at_most("more descriptors", quiet_fds(pid, descriptors) - descriptors, 0),
            exactly("zombies", zombies(pid), 0),
            at_most("memory of the one worker", resident / MIB, size / MIB, "MiB"),
            at_least("and it is there", resident / MIB, 1, "MiB"),
        ]


def _quiet(gateway: GatewayProcess, ledger: Ledger) -> None:
    """Nothing is open, and one of the two is there: the same state before and after."""
    ledger.settle(timeout_s=120)
    wait_for(lambda: gateway.workers("a") + gateway.workers("b") == 1, 20)
    time.sleep(1)


def _take_turns(ledger: Ledger, turns: int, patience: Manner) -> None:
    """Bursts to one and to the other; the next is sent while the one before is still being answered."""
    for turn in range(turns):
        name = "ab"[turn % 2]
        entries = ledger.send(CHAT, chat("@tokens:20", model=name, max_tokens=8), count=4, manner=patience)
        wait_for(lambda entries=entries: any(e.events or e.outcome for e in entries), 120)


def _starts(gateway: GatewayProcess) -> float:
    return gateway.total("worker_events_total", event="started")


def room(size: int) -> list[dict[str, Any]]:
    """For one of two workers of this size."""
    return [{"name": "cpu", "memory_bytes": size * 3 // 2}]


def _pair(stage: Stage, size: int) -> list[dict[str, Any]]:
    if stage.models == "starter":
        return [starter(name=name, aliases=[], preload=False, memory_bytes=size) for name in "ab"]
    return [fake(name, preload=False, step_ms=5, memory_bytes=size) for name in "ab"]
