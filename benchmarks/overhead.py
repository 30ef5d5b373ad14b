"""The gateway's own cost, against the fake engine, beside a bare Litestar route in the same interleaved run.

Four cases: latency of one client; requests/s of 32 clients; streamed pieces/s of 8 unpaced streams; lateness
of each piece with 64 streams paced at 20 ms. The order of the two servers turns with every round.

usage: python -m benchmarks.overhead [--rounds 5]
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import machine, ours, report
from benchmarks.client import post
from benchmarks.load import run_streams
from benchmarks.machine import CpuMeter
from benchmarks.overhead_figures import (
    CASES,
    PACE_S,
    Case,
    Measure,
    Result,
    body,
    measured,
    progress,
    see,
    summary,
)
from benchmarks.servers import Server, free_port, running, stop_on_sigterm

PATH = "/v1/chat/completions"
TIMEOUT_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-gateway", action="store_true", help="measure the yardstick alone")
    parser.add_argument("--deadline-s", type=float, default=900.0, help="the whole run gives up after this")
    arguments = parser.parse_args()
    stop_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as scratch:
        with _sides(Path(scratch), not arguments.no_gateway) as sides:
            measures = uvloop.run(_measure(sides, arguments.rounds, arguments.deadline_s))
        commands = {side.name: side.command for side in sides}
    result = Result(machine.describe(), CASES, commands, measures)
    report.say(summary(result))
    report.say(f"\nwritten to {report.write('overhead', result)}")


@contextlib.contextmanager
def _sides(scratch: Path, with_gateway: bool) -> Iterator[list[Server]]:
    port = free_port()
    bare = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--port", str(port)]
    bare += ["--log-level", "warning", "--no-access-log"]
    with contextlib.ExitStack() as stack:
        sides = []
        if with_gateway:
            models = [_fake("free", 0.0), _fake("paced", PACE_S)]
            sides.append(stack.enter_context(ours.gateway(models, scratch)))
        yardstick = running("bare", bare, port=port, ready_path="/health", log=scratch / "bare.log")
        yield [*sides, stack.enter_context(yardstick)]


def _fake(name: str, step_s: float) -> dict[str, Any]:
    parameters = {"tokens": 100_000, "step_ms": step_s * 1000, "max_sequences": 64}
    return {"name": name, "backend": "fake", "tasks": ["generate"], "source": ".", "parameters": parameters}


async def _measure(sides: Sequence[Server], rounds: int, deadline_s: float) -> list[Measure]:
    measures = []
    async with asyncio.timeout(deadline_s):
        for side in sides:  # first use of everything
            for case in CASES:
                await _measure_one(case, side, sides, -1)
        for round_index in range(rounds):
            for case in CASES:
                for side in sides if round_index % 2 == 0 else reversed(sides):
                    measures.append(await _measure_one(case, side, sides, round_index))
                    report.say(progress(measures[-1]))
    return measures


async def _measure_one(case: Case, side: Server, sides: Sequence[Server], round_index: int) -> Measure:
    requests = [[post(PATH, body(case))] * case.requests] * case.clients
    meter = CpuMeter(side.pid, [other.pid for other in sides if other is not side])
    run = await run_streams(side.address, requests, TIMEOUT_S)
    cpu = meter.read(run.client_cpu_s)
    seen = see(case, [answer for answers in run.answers for answer in answers])
    return measured(case, side.name, round_index, seen=seen, wall_s=run.wall_s, cpu=cpu)


if __name__ == "__main__":
    main()
