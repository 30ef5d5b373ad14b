"""`make swaps MINUTES=10`: the starter models take turns in memory that holds about two of them.

Chat, embeddings, transcription and speech are asked for at random by a few clients at once. Every request
must be answered at the first try, the workers together stay below the budget and a tenth more, and the
gateway itself grows neither in memory nor in open files. Prints figures; exits with 1 where that is not so.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from gateway.engine.launcher.memory import children, group_memory
from tests.faults.outside import quiet_fds
from tests.gateway_process import GatewayProcess, wait_for

DEFAULT = Path(__file__).parents[2] / "config" / "default.yaml"
MIB = 1024 * 1024
MOST_OVER_BUDGET = 1.1
MOST_GROWTH_BYTES = 50 * MIB
MOST_NEW_FILES = 5
SAMPLE_S = 0.2
TIMEOUT_S = 120.0

Ask = Callable[[httpx.Client, random.Random], bool]


def chat(client: httpx.Client, chance: random.Random) -> bool:
    body = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": f"Say something about the number {chance.randint(1, 99)}."}],
        "max_tokens": chance.randint(1, 40),
        "stream": chance.random() < 0.5,
    }
    answer = client.post("/v1/chat/completions", json=body)
    text = answer.text
    return answer.status_code == 200 and ("[DONE]" in text if body["stream"] else "choices" in answer.json())


def embed(client: httpx.Client, chance: random.Random) -> bool:
    texts = [f"harbour {chance.random()}"] * chance.randint(1, 20)
    answer = client.post("/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": texts})
    return answer.status_code == 200 and len(answer.json()["data"]) == len(texts)


def speak(client: httpx.Client, chance: random.Random) -> bool:
    text = f"The tide is out, and {chance.randint(2, 99)} birds walk on the sand."
    answer = client.post("/v1/audio/speech", json={"model": "hibari", "input": text, "voice": "alloy"})
    return answer.status_code == 200 and len(answer.content) > 1000


def transcriber(recording: bytes) -> Ask:
    def transcribe(client: httpx.Client, chance: random.Random) -> bool:
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": ("tide.wav", recording)},
            data={"model": chance.choice(["whisper-base", "whisper-tiny.en"]), "language": "en"},
        )
        return answer.status_code == 200 and "tide" in answer.json()["text"].lower()

    return transcribe


class Clients:
    """Each asks for something at random, gets it, and asks for the next thing."""

    def __init__(self, base_url: str, asks: list[Ask], ends_at: float, seed: int) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self.slowest_s = 0.0
        self._base_url = base_url
        self._asks = asks
        self._ends_at = ends_at
        self._seed = seed

    def run(self, number: int) -> None:
        chance = random.Random(self._seed + number)
        with httpx.Client(base_url=self._base_url, timeout=TIMEOUT_S) as client:
            while time.monotonic() < self._ends_at:
                self._ask(client, chance)

    def _ask(self, client: httpx.Client, chance: random.Random) -> None:
        ask = chance.choice(self._asks)
        began_at = time.monotonic()
        try:
            good = ask(client, chance)
            said = ""
        except (httpx.HTTPError, ValueError, KeyError) as error:
            good, said = False, repr(error)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_at)
        if good:
            self.answered[ask.__name__] += 1
        else:
            self.failed.append(f"{ask.__name__} {said}".strip())


class Sampler:
    """Looks at the workers from outside."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            held = sum(group_memory(pid).bytes for pid in children(self._pid))
            self.peak_bytes = max(self.peak_bytes, held)


def configuration(budget_bytes: int, residency_s: float) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(DEFAULT.read_text())
    models = [model | {"preload": False} for model in config["models"]]
    return {
        "models": models,
        "devices": [{"name": "cpu", "memory_bytes": budget_bytes}],
        "placement": {"min_residency_s": residency_s},
    }


@contextmanager
def serving(budget_bytes: int, residency_s: float) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(budget_bytes, residency_s)
        with GatewayProcess.serving(config, Path(folder)) as gateway:
            yield gateway


def needs(gateway: GatewayProcess) -> dict[str, int]:
    """What each model is thought to need, bytes."""
    names = [model["id"] for model in gateway.get("/v1/models").json()["data"]]
    for name in names:
        gateway.get(f"/v1/models/{name}").raise_for_status()
    return {name: int(gateway.metric("model_memory_predicted_bytes", model=name)) for name in names}


def record(gateway: GatewayProcess) -> bytes:
    body = {
        "model": "hibari",
        "input": "The tide is out and the boats lie on the sand.",
        "voice": "alloy",
        "response_format": "wav",
    }
    answer = httpx.post(f"{gateway.base_url}/v1/audio/speech", json=body, timeout=TIMEOUT_S)
    return answer.raise_for_status().content


def total(gateway: GatewayProcess, name: str) -> int:
    lines = gateway.get("/metrics").text.splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"llm_cortex_{name}{{")))


def empty(gateway: GatewayProcess) -> None:
    """No worker is there: the same state before and after."""
    for model in gateway.get("/v1/models").json()["data"]:
        answer = httpx.post(
            f"{gateway.base_url}/admin/models/unload", json={"model": model["id"]}, timeout=60
        )
        answer.raise_for_status()
    wait_for(lambda: not gateway.worker_pids(), 60)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--residency", type=float, default=1.0, help="placement.min_residency_s")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    with serving(64 * 1024 * MIB, asked.residency) as gateway:
        by_model = needs(gateway)
        recording = record(gateway)
    print("predicted, MiB:", {name: size // MIB for name, size in by_model.items()})
    # The two largest fit side by side, with a little to spare: never three of the large ones.
    budget = int(sum(sorted(by_model.values())[-2:]) * 1.05)
    with serving(budget, asked.residency) as gateway:
        return measure(gateway, asked, recording, budget)


def measure(gateway: GatewayProcess, asked: argparse.Namespace, recording: bytes, budget: int) -> int:
    asks = [chat, embed, speak, transcriber(recording)]
    needs(gateway)
    server = psutil.Process(gateway.process.pid)
    warm_up = Clients(gateway.base_url, asks, time.monotonic() + 10, asked.seed)
    warm_up.run(99)
    empty(gateway)
    before, files_before = server.memory_info().rss, quiet_fds(server.pid)
    clients = Clients(gateway.base_url, asks, time.monotonic() + asked.minutes * 60, asked.seed)
    threads = [threading.Thread(target=clients.run, args=(number,)) for number in range(asked.clients)]
    with Sampler(gateway.process.pid) as sampler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    empty(gateway)
    growth = server.memory_info().rss - before
    new_files = quiet_fds(server.pid, files_before) - files_before
    swaps, loads, evictions = (total(gateway, f"model_{n}_total") for n in ("turns", "loads", "evictions"))
    unreturned = int(gateway.metric("memory_unreturned_total"))
    failed = warm_up.failed + clients.failed
    print(f"{sum(clients.answered.values())} requests answered {dict(clients.answered)}, {len(failed)} not")
    print(f"slowest answer {clients.slowest_s:.1f} s; {loads} loads, {swaps} swaps, {evictions} evictions")
    print(
        f"workers held at most {sampler.peak_bytes / MIB:.0f} MiB of {budget / MIB:.0f} MiB "
        f"({sampler.peak_bytes / budget:.0%}); memory not returned in time: {unreturned}"
    )
    print(f"gateway: {growth / MIB:+.1f} MiB resident, {new_files:+d} open files")
    faults = [f"not answered: {name} ({count})" for name, count in Counter(failed).most_common()]
    faults += ["over the budget"] * (sampler.peak_bytes > budget * MOST_OVER_BUDGET)
    faults += ["nothing was swapped"] * (swaps == 0)
    faults += ["the gateway grows"] * (growth > MOST_GROWTH_BYTES or new_files > MOST_NEW_FILES)
    for fault in faults:
        print(f"FAILED: {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
