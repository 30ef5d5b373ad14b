"""Pictures: eight clients at once, beside diffusers called directly, one picture after the other.

Same folder, threads, number format, steps and seeds; the peer, in a process of its own, calls the library's
pipeline for one request at a time and writes a PNG too. Without --model a pipeline of random weights is made,
whose pictures are noise: it takes the time that any of its size takes.

usage: python -m benchmarks.images [--model FOLDER] [--clients 8] [--rounds 5]
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import ours
from benchmarks.client import post
from benchmarks.load import run_streams
from benchmarks.openai_stream import read_whole
from benchmarks.report import ONE_DIGIT, TWO_DIGITS
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server, free_port, running, stop_on_sigterm
from benchmarks.sides import GATEWAY

PATH = "/v1/images/generations"
PEER = "diffusers"
TIMEOUT_S = 600.0
COLUMNS = [Column("speed", "pictures/s", TWO_DIGITS), Column("wall_s", "wall s", ONE_DIGIT)]


class Case(Struct, frozen=True):
    steps: int
    guidance: float


CASES = {
    "1 step": Case(1, 0.0),
    "8 steps": Case(8, 0.0),
    "8 steps, guided": Case(8, 5.0),
}


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="bench-images-") as folder:
        scratch = Path(folder)
        weights = (arguments.model or _random_model(scratch / "model", arguments)).resolve()

        async def measuring(side: Server, case: str, round_index: int) -> Seen:
            return await _measure(side, CASES[case], arguments.clients, round_index)

        compared = [Ratio("speed", (GATEWAY, case), (PEER, case), "at least 1") for case in CASES]
        contest = Contest("images", list(CASES), measuring, COLUMNS, compared)
        with (
            ours.gateway([_model(weights, arguments)], scratch) as gateway,
            _peer(weights, arguments, scratch) as peer,
        ):
            hold(contest, arguments, [gateway, peer])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder in diffusers' layout; default: random weights")
    parser.add_argument("--width", type=int, default=96, help="of random weights: channels of the denoiser")
    parser.add_argument("--pixels", type=int, default=256, help="of random weights: edge of a picture")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--deadline-s", type=float, default=1800.0, help="the whole run gives up after this")
    return parser.parse_args()


def _random_model(folder: Path, arguments: argparse.Namespace) -> Path:
    command = [sys.executable, "-m", "tests.diffusion_checkpoint", str(folder)]
    command += ["--width", str(arguments.width), "--pixels", str(arguments.pixels)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def _model(weights: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": "bench",
        "backend": "diffusion",
        "tasks": ["paint"],
        "source": str(weights),
        "parameters": {"n_threads": arguments.threads, "dtype": "float32"},
    }


@contextlib.contextmanager
def _peer(weights: Path, arguments: argparse.Namespace, scratch: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.diffusers_server", str(port), str(weights)]
    command += [str(arguments.threads)]
    with running(PEER, command, port=port, ready_path="/", log=scratch / "peer.log") as server:
        yield server


async def _measure(server: Server, case: Case, clients: int, round_index: int) -> Seen:
    """A picture for each client; prompts differ from round to round, as reading them is part of the work."""
    requests = []
    for number in range(clients):
        body = {
            "model": "bench",
            "prompt": f"picture {number} of round {round_index}",
            "seed": number,
            "steps": case.steps,
            "guidance": case.guidance,
        }
        requests.append([post(PATH, body)])
    run = await run_streams(server.address, requests, TIMEOUT_S)
    answers = [answer for stream in run.answers for answer in stream]
    errors = [error for answer in answers if (error := read_whole(answer) or _lack(answer.body))]
    return Seen({"speed": clients / run.wall_s, "wall_s": run.wall_s}, errors)


def _lack(body: bytes) -> str:
    """What is wrong with an answer that is a 200."""
    pictures = json.loads(body)["data"]
    return "" if pictures and pictures[0]["b64_json"] else "there is no picture in the answer"


if __name__ == "__main__":
    main()
