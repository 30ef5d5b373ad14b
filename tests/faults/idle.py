"""Row 11: thousands of silent streams, clients over the cap, and clients that send byte by byte."""

import resource
import socket
import time

import httpx

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Ledger, Manner
from tests.faults.outside import MIB, fds, quiet_fds, rss_bytes
from tests.faults.table import Figure, Stage, at_most, exactly, row, told
from tests.gateway_process import GatewayProcess, wait_for

SPARE = 500
"""Descriptors beside the connections themselves."""


@row(11, "10,000 idle SSE streams, more than the cap, slow loris")
def idle_streams(stage: Stage) -> list[Figure]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(stage.size(10_000, 300), hard - SPARE)
    drips = stage.size(200, 20)
    settings = {
        # One at a time, and that one is slow: the others are streams on which nothing happens.
        "models": [fake(step_ms=1000, max_sequences=1)],
        "timeouts": {"queue_s": 600, "first_event_s": 2, "keepalive_s": 5, "send_s": 3},
        "limits": {
            "queued_jobs_per_model": count + 100,
            "jobs_per_key": count,
            "open_requests": count + 500,
            "connections": count + 1000,
        },
    }
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        pid = gateway.process.pid
        before = quiet_fds(pid)
        entries = ledger.send(
            CHAT, chat("@tokens:3000"), count=count, manner=Manner(patience_s=600), at_once=count
        )
        wait_for(lambda: sum(entry.status == 200 for entry in entries) >= count, 120)
        over = ledger.settle(ledger.send(CHAT, chat("one more"), count=20), 10)
        loris = [_begin_slowly(gateway.port) for _ in range(drips)]
        latencies = _health(gateway, stage.size(200, 30))
        wait_for(lambda: all(map(_closed, loris)), 60) if stage.full else None
        size = rss_bytes(pid)
        still = sum(entry.outcome is None for entry in entries)
        ledger.leave(entries)
        wait_for(lambda: fds(pid) <= before + 5 + drips, 30)
        for sock in loris:
            sock.close()
        return [
            told("streams", count),
            exactly("still open", still, count),
            at_most("gateway", size / MIB, 600, "MiB"),
            exactly("over the cap", dict(ledger.counts(over)), {"refused 429 rate_limit_exceeded": 20}),
            stage.within("at once", max(entry.ended_at - entry.sent_at for entry in over), 1.0),
            stage.within("/health p99", sorted(latencies)[len(latencies) * 99 // 100], 0.1),
            told("slow loris", drips),
            at_most("more descriptors after", quiet_fds(pid, before) - before, 5),
        ]


def _health(gateway: GatewayProcess, count: int) -> list[float]:
    latencies = []
    with httpx.Client(base_url=gateway.base_url, timeout=10) as client:
        for _ in range(count):
            started_at = time.monotonic()
            client.get("/health/live")
            latencies.append(time.monotonic() - started_at)
            time.sleep(0.02)
    return latencies


def _begin_slowly(port: int) -> socket.socket:
    """A request that never comes to the end of its headers."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-")
    sock.setblocking(False)
    return sock


def _closed(sock: socket.socket) -> bool:
    """A byte more, as they send it; whether the other side still takes it."""
    try:
        sock.send(b"a")
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
