"""Rows 9, 10 and 30: clients that leave, that never read, and that are many."""

import resource
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.cast import CHAT, Cast, chat, fake
from tests.faults.ledger import Entry, Ledger, Manner
from tests.faults.outside import MIB, cpu_s, quiet_fds, rss_bytes, zombies
from tests.faults.table import Figure, Stage, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

ROOMY = {
    "queued_jobs_per_model": 20_000,
    "jobs_per_key": 20_000,
    "open_requests": 20_000,
    "connections": 40_000,
}
ENDLESS = 100_000


@row(9, "clients that reset in mid-stream", starter=True)
def resets(stage: Stage) -> list[Figure]:
    cast = Cast(stage)
    count = stage.size(1000, 100)
    # A step of a fake has a place for each of them; the starter model has 16, and the others wait.
    settings = cast.config(step_ms=stage.size(400, 50), max_sequences=1024, limits=ROOMY)
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        ledger.answer(CHAT, cast.request(2))
        pid = gateway.process.pid
        before = quiet_fds(pid)
        entries = ledger.send(
            CHAT, cast.request(4000), count=count, manner=Manner(patience_s=120), at_once=2000
        )
        wait_for(lambda: _begun(entries) >= (16 if stage.models == "starter" else count), 60)
        running, ended = gateway.running(cast.name), _ended(gateway, cast.name)
        begun = [entry for entry in entries if entry.events]
        ledger.leave(begun[:1])
        left_at = time.monotonic()
        wait_for(lambda: _ended(gateway, cast.name) > ended, 20)
        told_s = time.monotonic() - left_at
        ledger.leave(entries)
        left_at = time.monotonic()
        wait_for(lambda: gateway.running(cast.name) == 0, 30)
        free_s = time.monotonic() - left_at
        wait_for(lambda: _ended(gateway, cast.name) >= ended + count, 20)
        next_one = ledger.answer(CHAT, cast.request(2))
        return [
            told("clients", count),
            told("of them running", int(running)),
            stage.within("one told to the worker after", told_s, 0.2),
            stage.within("every place free after", free_s, 1.0),
            exactly("ended", int(_ended(gateway, cast.name) - ended), count + 1),
            at_most("more descriptors", quiet_fds(pid, before) - before, 5),
            exactly("outcomes", dict(ledger.counts(entries)), {"left": count}),
            exactly("next", next_one.verdict, "done"),
        ]


def _begun(entries: Sequence[Entry]) -> int:
    return sum(entry.events > 0 for entry in entries)


def _refused(entries: Sequence[Entry]) -> int:
    return sum(entry.outcome == "refused" for entry in entries)


def _ended(gateway: GatewayProcess, model: str) -> float:
    return gateway.total("requests_total", model=model)


@row(10, "clients that never read", quick=False)  # see tests/process/test_http_streams.py
def never_read(stage: Stage) -> list[Figure]:
    send_s, stuck_count = 3.0, stage.size(20, 5)
    settings = {
        "models": [fake(step_ms=20, max_sequences=64)],
        "timeouts": {"send_s": send_s},
        "limits": ROOMY,
    }
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        pid = gateway.process.pid
        watch_s = stage.size(8.0, 2.0)
        # The same company that reads, to compare with: what counts is that not reading costs nobody more.
        company = ledger.send(CHAT, _wide(), count=stuck_count)
        beside_readers = _watch(ledger, watch_s)
        ledger.leave(company)
        wait_for(lambda: gateway.running("fake") == 0, 20)
        before = rss_bytes(pid)
        stuck = ledger.send(CHAT, _wide(), count=stuck_count, manner=Manner(reads=False, patience_s=90))
        started_at = time.monotonic()
        beside_stuck = _watch(ledger, watch_s)
        peak = 0
        while gateway.running("fake") and time.monotonic() < started_at + 60:
            peak = max(peak, rss_bytes(pid))
            time.sleep(0.05)
        freed_s = time.monotonic() - started_at
        ledger.read_on(stuck)
        ledger.settle(stuck, 30)
        ratio = _p99(beside_stuck) / _p99(beside_readers)
        return [
            told("clients", stuck_count),
            at_most("gateway grew by", (max(peak, rss_bytes(pid)) - before) / MIB, 20, "MiB"),
            told("freed after", f"{freed_s:.1f} s, of them {send_s:g} s send_timeout"),
            exactly("still running", int(gateway.running("fake")), 0),
            exactly("they see", dict(ledger.counts(stuck)), {"cut": stuck_count}),
            told("p99 between events of others", f"{_p99(beside_stuck) * 1e3:.1f} ms"),
            *([at_most("of what it is beside readers", ratio, 1.10)] if stage.full else []),
        ]


def _wide() -> Mapping[str, Any]:
    """Events of 4 kB, so that what the system keeps for a socket is full soon."""
    return chat(f"@tokens:{ENDLESS} @wide:4000")


def _watch(ledger: Ledger, seconds: float) -> list[float]:
    """Gaps between the events of eight streams that are read."""
    entries = ledger.send(CHAT, chat(f"@tokens:{ENDLESS}"), count=8, manner=Manner(keeps_gaps=True))
    time.sleep(seconds)
    ledger.leave(entries)
    return [gap for entry in entries for gap in entry.gaps or []]


def _p99(gaps: Sequence[float]) -> float:
    return sorted(gaps)[len(gaps) * 99 // 100]


@row(30, "many requests, one after the other")
def many(stage: Stage) -> list[Figure]:
    count = stage.size(10_000, 300)
    with (
        GatewayProcess.serving({"models": [fake(tokens=2)], "limits": ROOMY}, stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        pid = gateway.process.pid
        ledger.settle(ledger.send(CHAT, chat("warm"), count=50))
        before, rss_before = quiet_fds(pid), rss_bytes(pid)
        bodies = [chat("hi", stream=bool(i % 2)) for i in range(count)]
        entries = ledger.settle(ledger.send_each(CHAT, bodies, at_once=32), 600)
        return [
            exactly("done", ledger.counts(entries)["done"], count),
            at_most("more descriptors", quiet_fds(pid, before) - before, 5),
            exactly("zombies", zombies(pid), 0),
            told("gateway grew by", f"{(rss_bytes(pid) - rss_before) / MIB:.1f} MiB"),
        ]


@row(30, "ulimit -n 64 and more connections than that")
def few_descriptors(stage: Stage) -> list[Figure]:
    watch_s = stage.size(5.0, 2.0)
    with GatewayProcess.serving(
        {"models": [fake(tokens=2)]}, stage.folder, preexec_fn=lambda: _limit_descriptors(64)
    ) as gateway:
        gateway.wait_until_ready()
        pid = gateway.process.pid
        with Ledger(gateway.base_url) as ledger:
            held = ledger.send(CHAT, chat(f"@tokens:{ENDLESS} @slow:1000"), count=150, at_once=200)
            wait_for(lambda: _begun(held) + _refused(held) == len(held), 30)
            cpu_before, lines_before, began_at = cpu_s(pid), _lines(gateway), time.monotonic()
            time.sleep(watch_s)
            watched_s = time.monotonic() - began_at
            busy = (cpu_s(pid) - cpu_before) / watched_s
            said = (_lines(gateway) - lines_before) / watched_s
            served, refused = _begun(held), _refused(held)
            ledger.leave(held)
            ledger.settle(held, 20)
            wait_for(lambda: gateway.running("fake") == 0, 20)
            after = ledger.answer(CHAT, chat("@tokens:2"))
            return [
                told("of 150 held", served),
                exactly("held or refused in order", served + refused, len(held)),
                at_most("processor while full", busy, 0.2, "cores"),
                at_most("log lines a second", said, 20),
                exactly("after it", after.verdict, "done"),
                exactly("exit status", gateway.process.poll(), None),
                exactly("zombies", zombies(pid), 0),
            ]


def _lines(gateway: GatewayProcess) -> int:
    return gateway.log.read_bytes().count(b"\n")


def _limit_descriptors(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
