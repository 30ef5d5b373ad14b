"""Embeddings of single texts: 32 clients at once against one client alone, on our own server.

What batching across requests gains: the same texts, sent one by one and by all clients together, in
interleaved rounds whose order turns.

usage: python -m benchmarks.embeddings [--model FOLDER] [--rounds 5]
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct

from benchmarks import machine, ours, report
from benchmarks.client import post
from benchmarks.figures import median, ratios, spread
from benchmarks.load import run_streams
from benchmarks.machine import CpuMeter, CpuUse, Machine, disturbance
from benchmarks.openai_stream import read_whole
from benchmarks.prompts import short_text
from benchmarks.servers import Server, stop_on_sigterm

PATH = "/v1/embeddings"
STARTER = "all-minilm-l6-v2"
TIMEOUT_S = 60.0
SHORTEST, LONGEST = 4, 48
"""Words of a text; lengths go evenly from one to the other, as a batch of equal lengths would flatter."""


class Measure(Struct, frozen=True):
    clients: int
    round: int
    texts_per_s: float
    p50_s: float
    p99_s: float
    errors: int
    first_error: str
    cpu: CpuUse


class Result(Struct, frozen=True):
    machine: Machine
    texts: int
    command: list[str]
    measures: list[Measure]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; default: the starter embedding model")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--texts", type=int, default=256, help="in each measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--deadline-s", type=float, default=900.0, help="the whole run gives up after this")
    arguments = parser.parse_args()
    stop_on_sigterm()
    weights = (arguments.model or ours.starter_weights(STARTER)).resolve()
    with (
        tempfile.TemporaryDirectory(prefix="bench-embeddings-") as scratch,
        ours.gateway([_model(weights, arguments.threads)], Path(scratch)) as server,
    ):
        measures = uvloop.run(_measure(server, arguments))
    result = Result(machine.describe(), arguments.texts, server.command, measures)
    report.say(summary(result))
    report.say(f"\nwritten to {report.write('embeddings', result)}")


def _model(weights: Path, threads: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "backend": "sentence",
        "tasks": ["embed"],
        "source": str(weights),
        "parameters": {"n_threads": threads},
    }


async def _measure(server: Server, arguments: argparse.Namespace) -> list[Measure]:
    measures = []
    async with asyncio.timeout(arguments.deadline_s):
        await _measure_one(server, arguments.clients, arguments.texts, -1)
        for round_index in range(arguments.rounds):
            for clients in (1, arguments.clients) if round_index % 2 == 0 else (arguments.clients, 1):
                measures.append(await _measure_one(server, clients, arguments.texts, round_index))
                report.say(_progress(measures[-1]))
    return measures


async def _measure_one(server: Server, clients: int, texts: int, round_index: int) -> Measure:
    requests = [post(PATH, {"model": "bench", "input": _text(round_index, n)}) for n in range(texts)]
    meter = CpuMeter(server.pid, [])
    run = await run_streams(server.address, [requests[start::clients] for start in range(clients)], TIMEOUT_S)
    cpu = meter.read(run.client_cpu_s)
    answers = [answer for stream in run.answers for answer in stream]
    errors = [error for error in map(read_whole, answers) if error]
    times = spread([answer.ended_at - answer.sent_at for answer in answers])
    return Measure(
        clients=clients,
        round=round_index,
        texts_per_s=(len(answers) - len(errors)) / run.wall_s,
        p50_s=times.p50,
        p99_s=times.p99,
        errors=len(errors),
        first_error=errors[0] if errors else "",
        cpu=cpu,
    )


def _text(round_index: int, number: int) -> str:
    words = SHORTEST + number * 7 % (LONGEST - SHORTEST + 1)
    return short_text(1, (round_index, number), words)


def _progress(measure: Measure) -> str:
    trouble = f"  {measure.errors} ERRORS: {measure.first_error}" if measure.errors else ""
    return (
        f"round {measure.round + 1}  {measure.clients:2} clients  {measure.texts_per_s:6.1f} texts/s"
        f"  cpu s: server {measure.cpu.measured_s:.2f}, client {measure.cpu.client_s:.2f},"
        f" others {measure.cpu.others_pct:.0f} %, steal {measure.cpu.steal_pct:.1f} %{trouble}"
    )


def summary(result: Result) -> str:
    """Medians over the rounds, and together against one by one within each round."""
    by_clients = {
        clients: [m for m in result.measures if m.clients == clients]
        for clients in sorted({m.clients for m in result.measures})
    }
    rows = [_row(clients, taken) for clients, taken in by_clients.items()]
    alone, *_, together = by_clients.values()
    by_round = ratios([m.texts_per_s for m in together], [m.texts_per_s for m in alone])
    shown = " ".join(f"{ratio:.2f}" for ratio in by_round)
    head = ["clients", "texts/s", "p50 ms", "p99 ms", "errors", "others %", "steal %"]
    warning = disturbance([m.cpu for m in result.measures])
    return (
        f"\n{report.table(head, rows)}\n\n{warning}together / one by one = {median(by_round):.2f}  ({shown})"
    )


def _row(clients: int, taken: Sequence[Measure]) -> list[str]:
    return [
        str(clients),
        f"{median([m.texts_per_s for m in taken]):.1f}",
        report.milliseconds(median([m.p50_s for m in taken])),
        report.milliseconds(median([m.p99_s for m in taken])),
        str(sum(m.errors for m in taken)),
        f"{median([m.cpu.others_pct for m in taken]):.0f}",
        f"{median([m.cpu.steal_pct for m in taken]):.1f}",
    ]


if __name__ == "__main__":
    main()
