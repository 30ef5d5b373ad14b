"""`python -m tests.faults.soak --minutes 60`: mixed load with random faults, judged at the end.

At the end the gateway's memory may have grown by 100 MB since its warm-up, its descriptors by none; every
request has one outcome, and every failure an injected fault that explains it. Exit status 0 if all hold.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.ledger import Entry, Ledger
from tests.faults.outside import MIB, family_pss_bytes, fds, quiet_fds, rss_bytes, zombies
from tests.faults.soak.havoc import Havoc
from tests.faults.soak.judge import complaint
from tests.faults.soak.traffic import SPEECH, Call, Traffic, casting, model_settings, silence
from tests.faults.table import Figure, Models, at_least, at_most, exactly, told
from tests.gateway_process import GatewayProcess, wait_for

LOAD_S = 900.0
QUIET_S = 200.0
"""After the last request: longer than a failed model's cool-down."""


class Soak:
    """One run over one gateway."""

    def __init__(self, gateway: GatewayProcess, ledger: Ledger, models: Models, seed: int) -> None:
        self.gateway = gateway
        self.pid = gateway.process.pid
        self.ledger = ledger
        self.cast = casting(models)
        chance = random.Random(seed)
        self.havoc = Havoc(gateway, self.cast, chance)
        self.traffic = Traffic(self.cast, self._recording(models), chance, real=models == "starter")
        self.chance = chance
        self.open: list[tuple[Call, Entry]] = []
        self.verdicts: Counter[str] = Counter()
        self.complaints: Counter[str] = Counter()
        self.peak_rss = 0

    def _recording(self, models: Models) -> bytes:
        """Speech of the gateway's own voice, where it has a real one."""
        if models == "fake":
            return silence(1.0)
        body = {"model": self.cast.speak, "input": "The tide is out.", "voice": "alloy"}
        entry = self.ledger.answer(SPEECH, body | {"response_format": "wav"}, patience_s=LOAD_S)
        assert entry.outcome == "done", entry
        return entry.body

    def settle(self) -> None:
        """Everything answers again, and nothing is open: the same state before and after."""
        wait_for(self._all_answer, QUIET_S)
        self.ledger.settle([entry for _, entry in self.open], 300)
        self._retire()
        time.sleep(2)

    def _all_answer(self) -> bool:
        calls = self.traffic.one_each()
        entries = [self._send(call) for call in calls]
        self.ledger.settle(entries, 120)
        whole = all(entry.outcome == "done" for entry in entries)
        if not whole:
            time.sleep(2)
        return whole

    def run(self, minutes: float, clients: int, fault_every_s: float) -> None:
        ends_at = time.monotonic() + minutes * 60
        fault_at = time.monotonic() + fault_every_s
        report_at = time.monotonic() + 60
        while time.monotonic() < ends_at:
            self._retire()
            while len(self.open) < clients:
                self._send(self.traffic.draw())
            if time.monotonic() >= fault_at:
                fault_at = time.monotonic() + self.chance.uniform(0.5, 1.5) * fault_every_s
                if (call := self.havoc.strike()) is not None:
                    self._send(call)
            if time.monotonic() >= report_at:
                report_at += 60
                self._report()
            self.peak_rss = max(self.peak_rss, rss_bytes(self.pid))
            time.sleep(0.05)

    def _send(self, call: Call) -> Entry:
        (entry,) = self.ledger.send_raw(call.path, [call.data], manner=call.manner)
        self.open.append((call, entry))
        return entry

    def _retire(self) -> None:
        ended = [(call, entry) for call, entry in self.open if entry.outcome is not None]
        self.open = [(call, entry) for call, entry in self.open if entry.outcome is None]
        for call, entry in ended:
            self.verdicts[f"{call.kind}: {entry.verdict}"] += 1
            if wrong := complaint(call, entry, self.havoc.near):
                self.complaints[f"{call.kind} to {call.model}: {entry.verdict} ({wrong})"] += 1
                print(
                    f"  complaint: {call.kind} {call.model} {entry.verdict}: {wrong} {entry.error}",
                    flush=True,
                )
            entry.body = b""

    @property
    def convicted(self) -> int:
        """Innocent requests that were refused as if they had killed workers themselves."""
        return sum(
            count
            for verdict, count in self.verdicts.items()
            if verdict.endswith("poison_request") and not verdict.startswith("scripted")
        )

    def _report(self) -> None:
        print(
            f"  {sum(self.verdicts.values())} requests, {len(self.havoc.faults)} faults, "
            f"{sum(self.complaints.values())} complaints, "
            f"gateway {rss_bytes(self.pid) / MIB:.0f} MiB, {fds(self.pid)} descriptors",
            flush=True,
        )


def soak(
    folder: Path, *, minutes: float, models: Models, seed: int, clients: int, fault_every_s: float
) -> list[Figure]:
    settings = {
        "models": model_settings(models),
        # Each is to end within the clients' patience; on a busy machine a load may take its time.
        "timeouts": {"step_s": 20, "send_s": 5, "queue_s": 200, "request_s": 220},
        "limits": {"queued_jobs_per_model": 256},
    }
    with GatewayProcess.serving(settings, folder) as gateway, Ledger(gateway.base_url) as ledger:
        wait_for(lambda: gateway.get("/health/ready").status_code == 200, LOAD_S)
        run = Soak(gateway, ledger, models, seed)
        warm_minutes = min(5.0, minutes / 5)
        run.run(warm_minutes, clients, fault_every_s)
        run.settle()
        rss, descriptors = rss_bytes(run.pid), quiet_fds(run.pid)
        print(f"warm: {rss / MIB:.0f} MiB, {descriptors} descriptors", flush=True)
        run.run(minutes - warm_minutes, clients, fault_every_s)
        run.settle()
        figures = [
            told("requests", sum(run.verdicts.values())),
            told("faults", dict(run.havoc.counts)),
            told("unloads and reloads", dict(run.havoc.asked)),
            told("convicted with a request that kills", run.convicted),
            at_most("gateway grew since its warm-up by", (rss_bytes(run.pid) - rss) / MIB, 100, "MiB"),
            told("its peak", f"{run.peak_rss / MIB:.0f} MiB"),
            told("family", f"{family_pss_bytes(run.pid) / MIB:.0f} MiB"),
            at_most("more descriptors", quiet_fds(run.pid, descriptors) - descriptors, 0),
            exactly("zombies", zombies(run.pid), 0),
            exactly("requests without an outcome", sum(e.outcome is None for e in ledger.entries), 0),
            exactly("unexplained failures", sum(run.complaints.values()), 0),
            at_least("done", sum(n for verdict, n in run.verdicts.items() if verdict.endswith("done")), 1),
            exactly("gateway lives", gateway.process.poll(), None),
        ]
        for verdict, count in sorted(run.verdicts.items()):
            print(f"  {count:6} {verdict}")
        for wrong, count in run.complaints.items():
            print(f"  unexplained: {count} {wrong}")
        if not all(figure.holds for figure in figures):
            print("".join(gateway.log.read_text().splitlines(keepends=True)[-40:]), file=sys.stderr)
        return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--models", choices=["fake", "starter"], default="starter")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--clients", type=int, default=8, help="requests open at once")
    parser.add_argument("--fault-every", type=float, default=20, metavar="S")
    asked = parser.parse_args()
    print(f"soak of {asked.minutes:g} minutes on {asked.models} models, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="llm-cortex-soak-") as folder:
        figures = soak(
            Path(folder),
            minutes=asked.minutes,
            models=asked.models,
            seed=asked.seed,
            clients=asked.clients,
            fault_every_s=asked.fault_every,
        )
    for figure in figures:
        print(
            f"| {figure.what} | {figure.measured} | {figure.bound} | {'PASS' if figure.holds else 'FAIL'} |"
        )
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
