"""Embeddings of single texts: 32 clients at once against one client alone, on our own server.

What batching across requests gains: the same texts, sent one by one and by all clients together.

usage: python -m benchmarks.embeddings [--model FOLDER] [--rounds 5]
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.client import post
from benchmarks.figures import spread
from benchmarks.load import run_streams
from benchmarks.openai_stream import read_whole
from benchmarks.prompts import short_text
from benchmarks.report import MILLISECONDS, ONE_DIGIT
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server, stop_on_sigterm
from benchmarks.sides import GATEWAY

PATH = "/v1/embeddings"
STARTER = "all-minilm-l6-v2"
SHORTEST, LONGEST = 4, 48
"""Words of a text; lengths go evenly from one to the other, as a batch of equal lengths would flatter."""
COLUMNS = [
    Column("texts_per_s", "texts/s", ONE_DIGIT),
    Column("p50_s", "p50 ms", MILLISECONDS),
    Column("p99_s", "p99 ms", MILLISECONDS),
]


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    weights = (arguments.model or ours.starter_weights(STARTER)).resolve()
    clients = {f"{count} clients": count for count in (1, arguments.clients)}
    alone, together = clients

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        return await _measure(side, clients[case], arguments.texts, round_index)

    compared = [Ratio("texts_per_s", (GATEWAY, together), (GATEWAY, alone))]
    contest = Contest("embeddings", list(clients), measuring, COLUMNS, compared)
    with (
        tempfile.TemporaryDirectory(prefix="bench-embeddings-") as scratch,
        ours.gateway([_model(weights, arguments.threads)], Path(scratch)) as server,
    ):
        hold(contest, arguments, [server])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; default: the starter embedding model")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--texts", type=int, default=256, help="in each measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--deadline-s", type=float, default=900.0, help="the whole run gives up after this")
    return parser.parse_args()


def _model(weights: Path, threads: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "backend": "sentence",
        "tasks": ["embed"],
        "source": str(weights),
        "parameters": {"n_threads": threads},
    }


async def _measure(server: Server, clients: int, texts: int, round_index: int) -> Seen:
    requests = [post(PATH, {"model": "bench", "input": _text(round_index, n)}) for n in range(texts)]
    run = await run_streams(server.address, [requests[start::clients] for start in range(clients)], 60.0)
    answers = [answer for stream in run.answers for answer in stream]
    errors = [error for error in map(read_whole, answers) if error]
    times = spread([answer.ended_at - answer.sent_at for answer in answers])
    values = {
        "texts_per_s": (len(answers) - len(errors)) / run.wall_s,
        "p50_s": times.p50,
        "p99_s": times.p99,
    }
    return Seen(values, errors)


def _text(round_index: int, number: int) -> str:
    words = SHORTEST + number * 7 % (LONGEST - SHORTEST + 1)
    return short_text(1, (round_index, number), words)


if __name__ == "__main__":
    main()
