"""What is done to the gateway of a soak run while it serves, and a record of it.

Owns the injected faults and their times: a failure is explained only by a fault of the same model near it.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

from tests.faults.cast import CHAT, chat
from tests.faults.ledger import Manner, post
from tests.faults.soak.traffic import Call, Casting
from tests.gateway_process import GatewayProcess

SCRIPTED = ("die", "hang", "spin", "deadlock", "garble", "huge", "truncate", "raise")


@dataclass(frozen=True)
class Fault:
    at: float
    kind: str
    model: str


class Havoc:
    """`strike` does one thing, drawn by chance, and notes it. Some faults are requests, to be sent."""

    def __init__(self, gateway: GatewayProcess, cast: Casting, chance: random.Random) -> None:
        self.faults: list[Fault] = []
        self.asked: Counter[str] = Counter()
        """Unloads and reloads."""
        self._gateway = gateway
        self._cast = cast
        self._chance = chance

    @property
    def counts(self) -> Counter[str]:
        return Counter(fault.kind for fault in self.faults)

    def strike(self) -> Call | None:
        kind = self._chance.choice(
            ["SIGKILL", "SIGKILL", "SIGSTOP", "scripted", "scripted", "unload", "reload"]
        )
        if kind == "scripted":
            return self._scripted(self._chance.choice(SCRIPTED))
        if kind in ("unload", "reload"):
            return self._asked(kind)
        worker = self._some_worker()
        if worker is None:
            return None
        pid, model = worker
        self._note(kind, model)
        with contextlib.suppress(ProcessLookupError):  # it has died by itself since
            os.kill(pid, signal.Signals[kind])
        return None

    def near(self, model: str, since: float, until: float, reach_s: float) -> bool:
        """Whether a fault of this model could be felt between the two times."""
        return any(
            fault.model == model and since - reach_s <= fault.at <= until for fault in reversed(self.faults)
        )

    def _some_worker(self) -> tuple[int, str] | None:
        """A process that serves now, and its model."""
        workers = sorted(self._gateway.models_by_pid().items())
        return self._chance.choice(workers) if workers else None

    def _asked(self, what: str) -> Call:
        """What an administrator does is no fault: no request may fail of it, so it explains none."""
        path, model = f"/admin/models/{what}", self._chance.choice(self._cast.all)
        self.asked[what] += 1
        return Call(f"admin {what}", model, path, post(path, {"model": model}), Manner(patience_s=240))

    def _scripted(self, fault: str) -> Call:
        self._note(fault, self._cast.scripted)
        number = self._chance.randrange(10**9)
        after = self._chance.choice([0, 3])
        body = chat(f"{number} @tokens:40 @{fault}:{after}", model=self._cast.scripted, stream=bool(after))
        return Call(f"scripted {fault}", self._cast.scripted, CHAT, post(CHAT, body), Manner(patience_s=120))

    def _note(self, kind: str, model: str) -> None:
        self.faults.append(Fault(time.monotonic(), kind, model))
