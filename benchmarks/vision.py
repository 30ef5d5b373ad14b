"""Captions, labels and vectors of pictures: eight requests at once, beside transformers called directly.

Same weights, threads and number format. The peer, in a process of its own, takes one picture after the other
through the processors and models of transformers, as one would without a server, over a local socket.

usage: python -m benchmarks.vision [--captioner FOLDER] [--clip FOLDER] [--rounds 5]
"""

import argparse
import base64
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import ours, pictures
from benchmarks.client import post, post_bytes
from benchmarks.figures import spread
from benchmarks.load import run_streams
from benchmarks.openai_stream import read_whole
from benchmarks.report import MILLISECONDS, ONE_DIGIT
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server, free_port, running, stop_on_sigterm
from benchmarks.sides import GATEWAY

PEER = "transformers"
CAPTIONS, LABELS, VECTORS = "captions", "labels", "vectors"
COLUMNS = [
    Column("pictures_per_s", "pictures/s", ONE_DIGIT),
    Column("p50_s", "p50 ms", MILLISECONDS),
    Column("p99_s", "p99 ms", MILLISECONDS),
]
LABEL_TEXTS = [
    f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("circle", "star", "ring", "square")
]
_CAPTIONER, _CLIP = "shapes-captioner", "shapes-clip"


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    captioner = (arguments.captioner or ours.starter_weights(_CAPTIONER)).resolve()
    clip = (arguments.clip or ours.starter_weights(_CLIP)).resolve()
    sent = [pictures.drawn(number) for number in range(arguments.pictures)]

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        return await _measure(side, case, sent, arguments.clients)

    cases = [CAPTIONS, LABELS, VECTORS]
    compared = [Ratio("pictures_per_s", (GATEWAY, case), (PEER, case), "2.0") for case in cases]
    contest = Contest("vision", cases, measuring, COLUMNS, compared)
    models = [
        _model(_CAPTIONER, "blip", ["caption"], captioner, arguments),
        _model(_CLIP, "clip", ["classify", "embed"], clip, arguments),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-vision-") as folder:
        scratch = Path(folder)
        with (
            ours.gateway(models, scratch) as gateway,
            _peer(captioner, clip, arguments, scratch) as peer,
        ):
            hold(contest, arguments, [gateway, peer])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captioner", type=Path, help="BLIP folder; default: the starter captioner")
    parser.add_argument("--clip", type=Path, help="CLIP folder; default: the starter CLIP")
    parser.add_argument("--clients", type=int, default=8, help="requests at once")
    parser.add_argument("--pictures", type=int, default=128, help="in each measure")
    parser.add_argument("--max-tokens", type=int, default=24, help="of a caption")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--deadline-s", type=float, default=900.0, help="the whole run gives up after this")
    return parser.parse_args()


def _model(
    name: str, backend: str, tasks: list[str], weights: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"n_threads": arguments.threads}
    if backend == "blip":
        parameters["max_tokens"] = arguments.max_tokens
    return {
        "name": name,
        "backend": backend,
        "tasks": tasks,
        "source": str(weights),
        "parameters": parameters,
    }


@contextlib.contextmanager
def _peer(captioner: Path, clip: Path, arguments: argparse.Namespace, scratch: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.vision_server", str(port), str(captioner), str(clip)]
    command += [str(arguments.threads), str(arguments.max_tokens), *LABEL_TEXTS]
    with running(PEER, command, port=port, ready_path="/", log=scratch / "peer.log") as server:
        yield server


async def _measure(server: Server, case: str, sent: list[bytes], clients: int) -> Seen:
    if server.name == GATEWAY:
        requests = [_request(case, picture) for picture in sent]
        streams = [requests[start::clients] for start in range(clients)]
    else:
        streams = [[post_bytes(f"/{case}", picture) for picture in sent]]
    run = await run_streams(server.address, streams, 120.0)
    answers = [answer for stream in run.answers for answer in stream]
    errors = [error for error in map(read_whole, answers) if error]
    times = spread([answer.ended_at - answer.sent_at for answer in answers])
    values = {
        "pictures_per_s": (len(answers) - len(errors)) / run.wall_s,
        "p50_s": times.p50,
        "p99_s": times.p99,
    }
    return Seen(values, errors)


def _request(case: str, picture: bytes) -> bytes:
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    if case == CAPTIONS:
        return post("/v1/vision/caption", {"model": _CAPTIONER, "image": url})
    if case == LABELS:
        return post("/v1/vision/classify", {"model": _CLIP, "image": url, "labels": LABEL_TEXTS})
    return post("/v1/embeddings", {"model": _CLIP, "input": {"image": url}, "encoding_format": "base64"})


if __name__ == "__main__":
    main()
