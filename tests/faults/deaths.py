"""Rows 1 and 2: a worker is killed under streams, and under requests that wait for a whole answer."""

import os
import signal
import time

from tests.faults.cast import CHAT, Cast
from tests.faults.ledger import Entry, Ledger, Manner
from tests.faults.table import Figure, Stage, at_least, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

RESTART_S = 2.0
"""Over the load time: a new process, its helper."""


@row(1, "SIGKILL of one of two workers under 100 streams", starter=True)
def killed_under_streams(stage: Stage) -> list[Figure]:
    cast = Cast(stage)
    count = stage.size(100, 60)
    patience = Manner(patience_s=300)
    with (
        GatewayProcess.serving(cast.config(replicas=2, step_ms=50), stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        wait_for(lambda: gateway.workers(cast.name) == 2, 120)
        at_rest_s, loads_s = gateway.load_s(cast.name), gateway.loads_s(cast.name)
        victim, _ = gateway.worker_pids()
        entries = ledger.send(CHAT, cast.request(stage.size(60, 40)), count=count, manner=patience)
        wait_for(lambda: sum(entry.events > 2 for entry in entries) >= 20, 60)
        died = _deaths(gateway, cast)
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_for(lambda: _deaths(gateway, cast) > died, 20)
        wait_for(lambda: gateway.workers(cast.name) == 2, 60)
        back_s = time.monotonic() - killed_at
        load_s = gateway.loads_s(cast.name) - loads_s  # it shares the cores with the streams that go on
        ledger.settle(timeout_s=300)
        lost = [entry for entry in entries if entry.outcome == "in_band"]
        return [
            told("of", count),
            at_least("told in-band", len(lost), 1),
            at_most("and at most as many as it ran", len(lost), 16),
            exactly("without a byte before", sum(entry.events == 0 for entry in lost), 0),
            exactly("other losses", count - len(lost) - ledger.counts()["done"], 0),
            exactly("codes", sorted({entry.code for entry in lost}), ["worker_died"]),
            stage.within("told within", max((entry.ended_at - killed_at for entry in lost), default=9), 1.0),
            told("a load", f"{load_s:.1f} s, with no stream {at_rest_s:.1f} s"),
            stage.within("two ready after", back_s, load_s + RESTART_S),
        ]


@row(2, "SIGKILL of the worker of a request without a stream")
def killed_under_a_whole_answer(stage: Stage) -> list[Figure]:
    cast = Cast(stage)
    with (
        GatewayProcess.serving(cast.config(step_ms=20), stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        once = _kill_under(gateway, ledger, cast, 1)
        gateway.wait_until_ready()
        twice = _kill_under(gateway, ledger, cast, 2)
        return [
            exactly("after one death", once.verdict, "done"),
            exactly("after two", twice.verdict, "refused 503 worker_died"),
            at_least("retry-after-ms", int(twice.headers.get("retry-after-ms", 0)), 1),
            exactly("x-should-retry", twice.headers.get("x-should-retry"), None),
        ]


def _kill_under(gateway: GatewayProcess, ledger: Ledger, cast: Cast, times: int) -> Entry:
    # Long enough not to be done before it is killed for the last time.
    entries = ledger.send(CHAT, cast.request(200 if times == 1 else 5000, stream=False))
    for _ in range(times):
        wait_for(lambda: gateway.running(cast.name) == 1, 20)
        died = _deaths(gateway, cast)
        (worker,) = gateway.worker_pids()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda died=died: _deaths(gateway, cast) > died, 20)  # type: ignore[misc]
    (entry,) = ledger.settle(entries, 30)
    return entry


def _deaths(gateway: GatewayProcess, cast: Cast) -> float:
    return gateway.metric("worker_events_total", model=cast.name, event="died")
