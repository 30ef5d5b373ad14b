"""Rows 3 and 8: a worker that says nothing any more, and one that says what is no message."""

import os
import signal
import time

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Ledger
from tests.faults.outside import MIB, rss_bytes
from tests.faults.table import Figure, Stage, at_most, exactly, row
from tests.gateway_process import GatewayProcess, wait_for

SILENT = ("stop", "spin", "hang", "deadlock")
GARBLED = ("garble", "huge", "truncate")


@row(3, "SIGSTOP, endless loop, sleep or deadlock in a worker")
def silent(stage: Stage) -> list[Figure]:
    return [figure for fault in stage.size(SILENT, SILENT[:2]) for figure in _silent(stage, fault)]


def _silent(stage: Stage, fault: str) -> list[Figure]:
    limit_s = stage.size(2.0, 1.5)
    settings = {"models": [fake(step_ms=5)], "timeouts": {"step_s": limit_s}}
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        (worker,) = gateway.worker_pids()
        scripted = "" if fault == "stop" else f" @{fault}:30"
        (entry,) = ledger.send(CHAT, chat(f"@tokens:2000{scripted}"))
        wait_for(lambda: entry.events > 10, 10)
        if fault == "stop":
            os.kill(worker, signal.SIGSTOP)
        ledger.settle(timeout_s=limit_s + 10)
        wait_for(lambda: worker not in gateway.worker_pids(), 20)
        gone_s = time.monotonic() - entry.last_at
        again = ledger.answer(CHAT, chat("@tokens:2"))
        return [
            exactly(fault, entry.verdict, "in_band worker_died"),
            stage.within("gone after", gone_s, limit_s + 1),
            exactly("next", again.verdict, "done"),
        ]


@row(8, "a garbled, a truncated or a 4 GB frame from a worker")
def garbled(stage: Stage) -> list[Figure]:
    figures: list[Figure] = []
    for fault in GARBLED:
        with (
            GatewayProcess.serving({"models": [fake(step_ms=5)]}, stage.folder) as gateway,
            Ledger(gateway.base_url) as ledger,
        ):
            gateway.wait_until_ready()
            ledger.answer(CHAT, chat("@tokens:5"))
            before = rss_bytes(gateway.process.pid)
            broken = ledger.answer(CHAT, chat(f"@tokens:50 @{fault}:3"))
            again = ledger.answer(CHAT, chat("@tokens:2"))
            grown_mib = (rss_bytes(gateway.process.pid) - before) / MIB
            figures += [
                exactly(fault, broken.verdict, "in_band worker_died"),
                exactly("next", again.verdict, "done"),
                at_most("gateway grew by", grown_mib, 10, "MiB"),
            ]
    return figures
