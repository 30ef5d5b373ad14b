"""Rows 4 to 7: workers that run out of memory, crash in a loop, are killed by a request, or never load."""

import os
import signal
import time
from functools import partial

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Entry, Ledger
from tests.faults.outside import MIB, descendants, family_pss_bytes
from tests.faults.table import Figure, Stage, at_least, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

_SECRET = "sw0rdfish-sw0rdfish"


@row(4, "no memory on the device, and a worker killed for the system's")
def out_of_memory(stage: Stage) -> list[Figure]:
    settings = {"models": [fake(step_ms=10), _embedder(), fake("huge", load_fault="oom", preload=False)]}
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        workers = gateway.models_by_pid()
        company = ledger.send(CHAT, chat("@tokens:60"), count=5)
        step = ledger.answer(CHAT, chat("@oom:2", stream=False))
        batch = ledger.answer("/v1/embeddings", {"model": "vectors", "input": "@oom"})
        ledger.settle(company)
        kept = gateway.models_by_pid()
        load = ledger.answer(CHAT, chat("hi", model="huge"))  # idle models may leave for it
        gateway.wait_until_ready()
        # What the system's killer does is a SIGKILL, and nothing else can be seen of it.
        (stream,) = ledger.send(CHAT, chat("@tokens:2000"))
        wait_for(lambda: stream.events > 2, 10)
        for pid, model in gateway.models_by_pid().items():
            if model == "fake":
                os.kill(pid, signal.SIGKILL)
        ledger.settle([stream], 10)
        return [
            exactly("in a step", step.verdict, "refused 503 insufficient_memory"),
            at_least("retry-after", int(step.headers.get("retry-after", 0)), 1, "s"),
            exactly("in a batch", batch.verdict, "refused 503 insufficient_memory"),
            exactly("at a load", load.verdict, "refused 503 insufficient_memory"),
            exactly("neighbours", dict(ledger.counts(company)), {"done": 5}),
            exactly("workers kept", kept == workers, True),
            exactly("killed for the system's", stream.verdict, "in_band worker_died"),
            exactly("next", ledger.answer(CHAT, chat("@tokens:2")).verdict, "done"),
        ]


def _embedder() -> dict[str, object]:
    return fake("vectors") | {"backend": "fake_batch", "tasks": ["embed"]}


@row(5, "crash loop", quick=False)
def crash_loop(stage: Stage) -> list[Figure]:
    settings = {
        "models": [fake("broken", load_fault="die"), fake("sound")],
        "backends": {"fake": {"env": {"FAKE_API_KEY": _SECRET, "FAKE_LAST_WORDS": f"the key was {_SECRET}"}}},
    }
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        started_at = time.monotonic()
        most = 0
        while _state(gateway, "broken") != "failed" and time.monotonic() < started_at + 60:
            most = max(most, len(descendants(gateway.process.pid)))
            time.sleep(0.05)
        took_s = time.monotonic() - started_at
        deaths = gateway.metric("worker_events_total", model="broken", event="died")
        refused = ledger.answer(CHAT, chat("hi", model="broken"))
        sound = ledger.answer(CHAT, chat("hi", model="sound"))
        told_of = gateway.get("/admin/models/broken").json()["stderr"]
        time.sleep(3)
        log = gateway.log.read_text()
        return [
            exactly("deaths until failed", int(deaths), 5),
            at_least("which took, by a back-off of 1, 2, 4 and 8 s", took_s, 15, "s"),
            at_most("processes at once", most, 6),
            exactly("a request", refused.verdict, "refused 503 model_failed"),
            stage.within("refused after", refused.ended_at - refused.sent_at, 0.2),
            at_least("retry-after", int(refused.headers.get("retry-after", 0)), 1, "s"),
            exactly(
                "starts after that",
                gateway.metric("worker_events_total", model="broken", event="started"),
                deaths,
            ),
            exactly("its last words in /admin", told_of[-1:], ["the key was [removed]"]),
            exactly("secrets in them and in the log", _SECRET in f"{told_of}{log}", False),
            exactly("another model", sound.verdict, "done"),
        ]


def _state(gateway: GatewayProcess, model: str) -> str:
    return str(gateway.get("/health/ready").json()["models"][model])


@row(6, "a request that kills each worker that runs it")
def poison(stage: Stage) -> list[Figure]:
    with (
        GatewayProcess.serving({"models": [fake(step_ms=10)]}, stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        whole = _insist(gateway, ledger, "@die:0", stream=False)
        whole_deaths = gateway.metric("worker_events_total", model="fake", event="died")
        figures = [
            exactly("whole", whole.verdict, "refused 500 poison_request"),
            exactly("x-should-retry", whole.headers.get("x-should-retry"), "false"),
            exactly("deaths, however often it is asked", int(whole_deaths), 2),
        ]
        if stage.full:
            streamed = _insist(gateway, ledger, "@die:3", stream=True)
            deaths = gateway.metric("worker_events_total", model="fake", event="died")
            figures += [
                exactly("streamed", streamed.verdict, "refused 500 poison_request"),
                exactly("deaths", int(deaths - whole_deaths), 2),
            ]
        other = ledger.answer(CHAT, chat("@tokens:2"))
        return [*figures, exactly("another request", other.verdict, "done")]


def _insist(gateway: GatewayProcess, ledger: Ledger, text: str, *, stream: bool) -> Entry:
    """Ask the same six times, as a client that retries whatever it is told."""
    for _ in range(6):
        entry = ledger.answer(CHAT, chat(text, stream=stream))
        wait_for(lambda: gateway.workers("fake") == 1, 30)
    return entry


def _died(gateway: GatewayProcess, model: str, sizes: list[int]) -> bool:
    sizes.append(family_pss_bytes(gateway.process.pid))
    return gateway.metric("worker_events_total", model=model, event="died") > 0


@row(7, "hang at load, and death half-way through it")
def bad_loads(stage: Stage) -> list[Figure]:
    ballast = stage.size(500, 100) * MIB
    limit_s = 6.0
    settings = {
        "models": [
            fake("hangs", load_fault="hang", ballast_bytes=ballast, preload=False),
            fake("dies", load_fault="die", load_ms=2000, ballast_bytes=ballast, preload=False),
            fake("sound"),
        ],
        "timeouts": {"load_s": limit_s},
    }
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        pid = gateway.process.pid
        before = family_pss_bytes(pid)
        figures: list[Figure] = []
        for name in ("hangs", "dies"):
            sizes: list[int] = []
            ledger.send(CHAT, chat("hi", model=name))
            wait_for(partial(_died, gateway, name, sizes), 30)
            died_at = time.monotonic()
            ledger.leave(ledger.entries)  # nobody waits for it: it is not tried again
            peak = max(sizes)
            wait_for(lambda: family_pss_bytes(pid) < before + 10 * MIB, 20)
            back_s = time.monotonic() - died_at
            figures += [
                at_least(f"{name}, having taken", (peak - before) / MIB, ballast / MIB / 2, "MiB"),
                stage.within("memory back after", back_s, 5),
            ]
        return [
            *figures,
            told("load timeout", f"{limit_s:g} s"),
            exactly("another model", ledger.answer(CHAT, chat("hi", model="sound")).verdict, "done"),
        ]
