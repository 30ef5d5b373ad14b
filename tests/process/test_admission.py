"""Who waits, who goes first and who is refused, seen through HTTP."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.keys import USUAL, KeyLimits, KeyRing
from tests.gateway_process import GatewayProcess, wait_for

CHAT = "/v1/chat/completions"
ENDLESS = "@tokens:1000000"
MODEL = {
    "name": "fake",
    "backend": "fake",
    "tasks": ["generate"],
    "source": __file__,
    "parameters": {"max_sequences": 1, "step_ms": 20, "tokens": 3},
    "preload": True,
}
IN_PLACE = 3
"""Jobs that a worker with one place has: one that runs, two that lie ahead."""


class Site:
    """A gateway with keys, and many clients at once."""

    def __init__(self, gateway: GatewayProcess, keys: dict[str, str], pool: ThreadPoolExecutor) -> None:
        self.done: list[str] = []
        """Names of what has been answered, in that order."""
        self.client = httpx.Client(base_url=gateway.base_url, timeout=60)
        self._port = gateway.port
        self._keys = keys
        self._pool = pool
        self._blockers = ExitStack()

    def ask(self, name: str, text: str = "", key: str = "one", **headers: str) -> "Future[httpx.Response]":
        """A request on a thread of its own, which has arrived and waits."""
        before = self.open
        future = self._pool.submit(self.ask_now, name, text, key, **headers)
        wait_for(lambda: self.open > before, 30)
        return future

    def ask_now(
        self, name: str, text: str = "", key: str = "one", *, stream: bool = False, **headers: str
    ) -> httpx.Response:
        answer = self.client.post(CHAT, json=body(text, stream), headers=self.headers(key, headers))
        self.done.append(name)
        return answer

    def headers(self, key: str, more: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"authorization": f"Bearer {self._keys[key]}", **named}

    def block(self, count: int = IN_PLACE, key: str = "blocker") -> None:
        """Streams without end take the worker, until `release`."""
        content = json.dumps(body(ENDLESS, stream=True)).encode()
        head = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(content))}
        lines = [f"POST {CHAT} HTTP/1.1", *(f"{n}: {v}" for n, v in (head | self.headers(key, {})).items())]
        for _ in range(count):
            before = self.open
            sock = socket.create_connection(("127.0.0.1", self._port))
            self._blockers.enter_context(sock)
            sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            wait_for(lambda before=before: self.open > before, 30)  # type: ignore[misc]

    def release(self) -> None:
        self._blockers.close()

    @property
    def open(self) -> float:
        """Jobs that run or wait."""
        text = self.metrics()
        names = ("num_requests_running", "num_requests_waiting")
        return sum(_sample(text, name, {"model": "fake"}) for name in names)

    def metrics(self) -> str:
        return self.client.get("/metrics", headers=self.headers("one", {})).text

    def metric(self, name: str, **labels: str) -> float:
        return _sample(self.metrics(), name, labels)


def body(text: str, stream: bool) -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": stream}


def _sample(text: str, name: str, labels: dict[str, str]) -> float:
    lines = [line for line in text.splitlines() if line.startswith(f"llm_cortex_{name}{{")]
    found = [line for line in lines if all(f'{key}="{value}"' in line for key, value in labels.items())]
    return sum(float(line.rpartition(" ")[2]) for line in found)


@contextmanager
def site(folder: Path, keys: dict[str, KeyLimits] | None = None, **sections: Any) -> Iterator[Site]:
    ring = KeyRing.open(folder / "keys.json")
    named = {"one": USUAL, "blocker": USUAL} | (keys or {})
    texts = {name: ring.create(name, limits=limits) for name, limits in named.items()}
    config = {"models": [MODEL], "auth": {"keys_file": str(folder / "keys.json")}} | sections
    with GatewayProcess.serving(config, folder) as gateway, ThreadPoolExecutor(32) as pool:
        running = Site(gateway.wait_until_ready(), texts, pool)
        try:
            yield running
        finally:
            running.release()
            running.client.close()


def test_classes_and_keys_take_turns(tmp_path: Path) -> None:
    # Slow enough that clients are told in the order in which they were answered.
    model = MODEL | {"parameters": {"max_sequences": 1, "step_ms": 100, "tokens": 3}}
    with site(tmp_path, {"two": USUAL}, models=[model], timeouts={"ageing_s": 60}) as running:
        running.block()
        asked = [running.ask("batch", x_priority="batch")]
        asked += [running.ask(f"mine{number}") for number in range(4)]
        asked += [running.ask("theirs", key="two"), running.ask("urgent", x_priority="interactive")]
        lengths = {name: running.metric("queue_length", priority=name) for name in ("interactive", "normal")}
        assert lengths == {"interactive": 1, "normal": 5}
        running.release()
        assert all(future.result().status_code == 200 for future in asked)
        assert running.done[0] == "urgent"
        assert running.done.index("theirs") < running.done.index("mine2")
        assert running.done[-1] == "batch"
        assert running.metric("request_queue_time_seconds_count", priority="batch") == 1


def test_full_queues_say_how_long_they_are(tmp_path: Path) -> None:
    with site(tmp_path, {"narrow": KeyLimits(max_waiting=1)}, limits={"queued_jobs_per_model": 2}) as running:
        running.block()
        waiting = [running.ask("waits", key="narrow")]
        mine = running.ask_now("refused", key="narrow")
        assert (mine.status_code, mine.json()["error"]["code"]) == (429, "key_queue_full")
        assert mine.headers["x-queue-length"] == "1"
        waiting.append(running.ask("waits too"))
        full = running.ask_now("refused")
        assert (full.status_code, full.json()["error"]["code"]) == (503, "queue_full")
        assert full.headers["x-queue-length"] == "2"
        for refused in (mine, full):
            assert int(refused.headers["retry-after"]) >= 1
            assert int(refused.headers["retry-after-ms"]) >= 1
        assert running.metric("refusals_total", model="fake", reason="queue_full") == 1
        running.release()
        assert all(future.result().status_code == 200 for future in waiting)


def test_a_key_runs_no_more_at_once_than_it_may(tmp_path: Path) -> None:
    model = MODEL | {"parameters": {"max_sequences": 8, "step_ms": 20, "tokens": 3}}
    with site(tmp_path, {"narrow": KeyLimits(max_running=1)}, models=[model]) as running:
        running.block(1, "narrow")
        mine = running.ask("mine", key="narrow")
        assert running.ask_now("other").status_code == 200
        assert running.done == ["other"]
        running.release()
        assert mine.result().status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_ends_a_request(tmp_path: Path, stream: bool) -> None:
    with site(tmp_path) as running:
        answer = running.ask_now("late", ENDLESS, stream=stream, x_request_timeout="4")
        if stream:
            *before, last = answer.text.rstrip().split("\n\n")
            assert before
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert answer.status_code == 504
            error = answer.json()["error"]
        assert error["code"] == "timeout"
        wait_for(lambda: running.open == 0, 5)


def test_what_could_not_begin_in_time_is_refused_at_once(tmp_path: Path) -> None:
    with site(tmp_path) as running:
        running.block()
        asked = [running.ask("slow", "@tokens:10") for _ in range(8)]
        running.release()
        assert all(future.result().status_code == 200 for future in asked)
        running.block()  # by now it is known how long one waits for a place
        asked = [running.ask("waits") for _ in range(2)]
        refused = running.ask_now("hasty", x_request_timeout="0.1")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "wait_too_long")
        assert int(refused.headers["x-queue-position"]) >= 2
        assert int(refused.headers["retry-after-ms"]) >= 1
        running.release()
        assert all(future.result().status_code == 200 for future in asked)


def test_a_stream_that_begins_late_says_where_it_stands(tmp_path: Path) -> None:
    with site(tmp_path, timeouts={"first_event_s": 0.2}) as running:
        running.block()
        ahead = running.ask("ahead")
        headers = running.headers("one", {})
        with running.client.stream("POST", CHAT, json=body("", stream=True), headers=headers) as late:
            assert (late.headers["x-queue-position"], late.headers["x-queue-length"]) == ("2", "2")
            running.release()
            assert late.read().rstrip().endswith(b"data: [DONE]")
        assert ahead.result().status_code == 200


def test_hardly_any_memory_refuses_new_work(tmp_path: Path) -> None:
    """No machine has all of its memory available."""
    pressure = {"refuse_below": 1.0, "relief_above": 1.0, "check_s": 0.1, "step_s": 0.3}
    with site(tmp_path, models=[MODEL | {"preload": False}], pressure=pressure) as running:
        wait_for(lambda: running.metric("memory_pressure", step="calm") == 0, 30)
        refused = running.ask_now("now")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "memory_short")
        assert int(refused.headers["retry-after"]) >= 1
        wait_for(lambda: running.metric("memory_pressure", step="shed") == 1, 30)
