"""Rows 24, 25 and 31: the gateway is told to end, is killed, or cannot begin."""

import signal
import socket
import time

from tests.faults.cast import CHAT, Cast, chat, fake
from tests.faults.ledger import Ledger, Manner
from tests.faults.outside import any_alive, descendants
from tests.faults.table import Figure, Stage, at_least, exactly, row, told
from tests.gateway_process import GatewayProcess, start, wait_for


@row(24, "SIGTERM with 50 streams open", starter=True)
def told_to_end(stage: Stage) -> list[Figure]:
    cast = Cast(stage)
    count = stage.size(50, 20)
    timeouts = {"drain_s": 120 if stage.models == "starter" else 30}
    with (
        GatewayProcess.serving(cast.config(step_ms=50, timeouts=timeouts), stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        entries = ledger.send(CHAT, cast.request(40), count=count, manner=Manner(patience_s=150))
        wait_for(lambda: any(entry.events > 2 for entry in entries), 20)
        wait_for(lambda: _taken(gateway, cast.name) >= count, 20)
        family = gateway.family()
        gateway.process.send_signal(signal.SIGTERM)
        unready_s = wait_for(lambda: gateway.get("/health/ready").status_code == 503, 20)
        late = ledger.answer(CHAT, cast.request(2))
        ledger.settle(entries, 150)
        ended_at = time.monotonic()
        status = gateway.process.wait(20)
        wait_for(lambda: not any_alive(family), 20)
        return [
            stage.within("not ready after", unready_s, 0.1),
            exactly("a new request", late.verdict, "refused 503 shutting_down"),
            at_least("retry-after", int(late.headers.get("retry-after", 0)), 1, "s"),
            exactly(f"of {count} whole", ledger.counts(entries)["done"], count),
            exactly("exit status", status, 0),
            stage.within("no child after", time.monotonic() - ended_at, 5),
        ]


def _taken(gateway: GatewayProcess, model: str) -> float:
    """Requests that are running, waiting or done."""
    return (
        gateway.running(model)
        + gateway.metric("num_requests_waiting", model=model)
        + gateway.total("requests_total", model=model)
    )


@row(24, "streams that outlast the drain, and a second signal")
def forced_to_end(stage: Stage) -> list[Figure]:
    settings = {"models": [fake(step_ms=10)], "timeouts": {"drain_s": 0.5}}
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        count = stage.size(50, 10)
        ledger.send(CHAT, chat("@tokens:5000"), count=count)
        wait_for(lambda: all(entry.events for entry in ledger.entries), 10)
        family = gateway.family()
        gateway.process.send_signal(signal.SIGTERM)
        ledger.settle(timeout_s=10)
        told_s = max(entry.ended_at for entry in ledger.entries)
        status = gateway.process.wait(20)
        wait_for(lambda: not any_alive(family), 20)
        figures = [
            exactly("outlasting", dict(ledger.counts()), {"in_band shutting_down": count}),
            exactly("exit status", status, 0),
            stage.within("no child after", time.monotonic() - told_s, 5),
        ]
    with GatewayProcess.serving({"models": [fake(step_ms=10)]}, stage.folder) as gateway:
        gateway.wait_until_ready()
        with Ledger(gateway.base_url) as ledger:
            (entry,) = ledger.send(CHAT, chat("@tokens:5000"))
            wait_for(lambda: entry.events > 0, 10)
            family = gateway.family()
            gateway.process.send_signal(signal.SIGTERM)
            wait_for(lambda: gateway.get("/health/ready").status_code == 503, 20)
            gateway.process.send_signal(signal.SIGTERM)
            forced_at = time.monotonic()
            status = gateway.process.wait(20)
            wait_for(lambda: not any_alive(family), 10)
            ledger.settle(timeout_s=5)
            return [
                *figures,
                exactly("forced", status, 128 + signal.SIGTERM),
                stage.within("and gone after", time.monotonic() - forced_at, 2),
                exactly("its client sees", entry.verdict, "cut"),
            ]


@row(25, "SIGKILL of the gateway")
def gateway_killed(stage: Stage) -> list[Figure]:
    settings = {"models": [fake(step_ms=10)]}
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        ledger.send(CHAT, chat("@tokens:5000"), count=10)
        wait_for(lambda: all(entry.events for entry in ledger.entries), 10)
        family = gateway.family()
        gateway.process.kill()
        gateway.process.wait()
        gone_s = wait_for(lambda: not any_alive(family), 10)
        ledger.settle(timeout_s=5)
        again = settings | {"server": {"port": gateway.port}}
        with GatewayProcess.serving(again, stage.folder) as restarted, Ledger(restarted.base_url) as after:
            return [
                at_least("processes", len(family), 2),
                stage.within("gone after", gone_s, 2),
                exactly("clients", dict(ledger.counts()), {"cut": 10}),
                exactly("the same port again", restarted.port, gateway.port),
                exactly("next", after.answer(CHAT, chat("@tokens:2")).verdict, "done"),
            ]


@row(31, "port in use")
def port_in_use(stage: Stage) -> list[Figure]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started_at = time.monotonic()
        process = start({"models": [fake()]}, stage.folder, "--port", str(port))
        workers = 0
        while process.poll() is None and time.monotonic() - started_at < 10:
            workers = max(workers, len(descendants(process.pid)))
            time.sleep(0.01)
        took_s = time.monotonic() - started_at
        out, _ = process.communicate(timeout=10)
    lines = (stage.folder / "log").read_text().splitlines()
    return [
        told("exit status", process.returncode),
        exactly("not 0", process.returncode != 0, True),
        stage.within("after", took_s, 2),
        exactly("lines", len(lines), 1),
        exactly("that name it", f"127.0.0.1:{port}" in "".join(lines), True),
        exactly("printed", out, ""),
        exactly("workers started", workers, 0),
    ]
