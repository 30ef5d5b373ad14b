"""Speech to text: eight clips at once and a long file, beside faster-whisper called directly.

Same model, number format, threads and beam size. The peer, in a process of its own, hears the clips one after
the other with its own loop, and the long file by that loop and in its offline batch of eight windows. Words
are counted: the batch does not go back for what the model left out at a window's end.

usage: python -m benchmarks.transcription [--model FOLDER] [--rounds 5]
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import ours, recordings
from benchmarks.client import post_bytes
from benchmarks.load import run_streams
from benchmarks.openai_stream import read_whole
from benchmarks.report import ONE_DIGIT, TWO_DIGITS, WHOLE
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server, free_port, running, stop_on_sigterm
from benchmarks.sides import GATEWAY

PATH = "/v1/audio/transcriptions"
STARTER = "whisper-base"
PEER = "faster-whisper"
CLIPS, LONG, BATCH = "8 clips", "long file", "long file, batch of 8"
COLUMNS = [
    Column("speed", "s of speech/s", TWO_DIGITS),
    Column("wall_s", "wall s", ONE_DIGIT),
    Column("words", "words", WHOLE),
]


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    weights = (arguments.model or ours.starter_weights(STARTER)).resolve()
    with tempfile.TemporaryDirectory(prefix="bench-transcription-") as folder:
        scratch = Path(folder)
        clips = recordings.fetch(scratch)
        longer = recordings.fetch_longer(scratch)
        long = [recordings.joined(longer * arguments.repeats)]
        files = {CLIPS: _clips(clips), LONG: long, BATCH: long}

        async def measuring(side: Server, case: str, round_index: int) -> Seen:
            return await _measure(side, case, files[case])

        compared = [Ratio("speed", (GATEWAY, case), (PEER, case)) for case in files]
        contest = Contest("transcription", list(files), measuring, COLUMNS, compared)
        with (
            ours.gateway([_model(weights, arguments)], scratch) as gateway,
            _peer(weights, arguments, scratch) as peer,
        ):
            hold(contest, arguments, [gateway, peer])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; default: the starter Whisper model")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="of the longer recordings, in the long file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--deadline-s", type=float, default=1800.0, help="the whole run gives up after this")
    return parser.parse_args()


def _clips(clips: list[bytes]) -> list[bytes]:
    """Of 2 to 10 s: one recording, two or three together."""
    sizes = [1, 1, 1, 2, 2, 2, 3, 3]
    return [recordings.joined(clips[start : start + size]) for start, size in enumerate(sizes)]


def _model(weights: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": "bench",
        "backend": "whisper",
        "tasks": ["transcribe"],
        "source": str(weights),
        "parameters": {"n_threads": arguments.threads, "beam_size": arguments.beam_size},
    }


@contextlib.contextmanager
def _peer(weights: Path, arguments: argparse.Namespace, scratch: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.whisper_server", str(port), str(weights)]
    command += [str(arguments.threads), str(arguments.beam_size)]
    with running(PEER, command, port=port, ready_path="/", log=scratch / "peer.log") as server:
        yield server


async def _measure(server: Server, case: str, files: list[bytes]) -> Seen:
    if server.name == GATEWAY:
        requests = [[recordings.upload(PATH, data, {"model": "bench"})] for data in files]
    else:
        requests = [[post_bytes("/batched" if case == BATCH else "/serial", data) for data in files]]
    run = await run_streams(server.address, requests, 300.0)
    answers = [answer for stream in run.answers for answer in stream]
    errors = [error for error in map(read_whole, answers) if error]
    length_s = sum(recordings.seconds(data) for data in files)
    words = 0 if errors else sum(len(json.loads(answer.body)["text"].split()) for answer in answers)
    return Seen({"speed": length_s / run.wall_s, "wall_s": run.wall_s, "words": words}, errors)


if __name__ == "__main__":
    main()
