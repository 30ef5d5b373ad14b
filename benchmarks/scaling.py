"""How decoding speeds up with 8 streams: ours over HTTP against llama-batched-bench, which serves nobody.

Decode speed is counted while all streams decode: prefill, joining and leaving are not in it. The scaling is
the speed of the many over the speed of one, both measured one right after the other.

usage: python -m benchmarks.scaling [--model FILE.gguf] [--streams 8] …
"""

import argparse
import asyncio
import resource
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from benchmarks import peers, report
from benchmarks.client import Address
from benchmarks.figures import steady_rate
from benchmarks.load import run_streams
from benchmarks.openai_stream import Reading, read_chat
from benchmarks.prompts import story_prompt
from benchmarks.report import ONE_DIGIT, TWO_DIGITS
from benchmarks.requests import chat_request
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server
from benchmarks.sides import GATEWAY, setting, settings, started

OFFLINE = "batched-bench"
COLUMNS = [
    Column("one_tokens_per_s", "1 stream tok/s", ONE_DIGIT),
    Column("many_tokens_per_s", "together tok/s", ONE_DIGIT),
    Column("scaling", "scaling", TWO_DIGITS),
]


def main() -> None:
    parser = settings(__doc__, context=8192)
    parser.set_defaults(peer=["none"])
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    arguments = parser.parse_args()
    alike = setting(arguments, arguments.streams)

    async def measuring(side: Server, _case: str, round_index: int) -> Seen:
        speed = _offline if side.name == OFFLINE else _served
        return await _scaling(
            [await speed(arguments, side, streams, round_index) for streams in (1, arguments.streams)]
        )

    with started(arguments, alike) as served:
        sides = [*served, *_offline_side(alike)]
        case = f"1 and {arguments.streams}"
        compared = [
            Ratio(
                "scaling", (side.name, case), (OFFLINE, case), "at least 0.95" if side.name == GATEWAY else ""
            )
            for side in served
        ]
        hold(Contest("scaling", [case], measuring, COLUMNS, compared), arguments, sides)


async def _scaling(seen: Sequence[Seen]) -> Seen:
    one, many = (some.values.get("tokens_per_s", 0.0) for some in seen)
    values = {"one_tokens_per_s": one, "many_tokens_per_s": many, "scaling": many / one if one else 0.0}
    return Seen(values, [error for some in seen for error in some.errors], sum(some.cpu_s for some in seen))


# --- a server -------------------------------------------------------------------------------------------


async def _served(arguments: argparse.Namespace, side: Server, streams: int, round_index: int) -> Seen:
    words = round(arguments.prompt_tokens / 2)
    requests = [
        [
            chat_request(
                side,
                story_prompt(arguments.seed, (round_index, streams, stream), words),
                max_tokens=arguments.max_tokens,
            )
        ]
        for stream in range(streams)
    ]
    run = await run_streams(side.address, requests, timeout_s=300.0)
    readings = [read_chat(answer) for answers in run.answers for answer in answers]
    return Seen({"tokens_per_s": decode_rate(readings)}, [r.error for r in readings if r.error])


def decode_rate(readings: Sequence[Reading]) -> float:
    """Tokens/s while all decode: the pieces of text in that time, at the tokens that a piece stands for."""
    pieces = sum(reading.pieces for reading in readings)
    tokens = sum(reading.completion_tokens for reading in readings)
    return steady_rate([reading.text_at for reading in readings]) * tokens / max(pieces, 1)


# --- llama-batched-bench --------------------------------------------------------------------------------


class _Line(Struct):
    """One line of its `--output-format jsonl`."""

    speed_tg: float
    """Tokens generated a second, all sequences together."""


def _offline_side(alike: peers.Setting) -> list[Server]:
    if not peers.BATCHED_BENCH.exists():
        report.say(f"{OFFLINE} is not built (make bench-build): there is nothing to compare with")
        return []
    command = [str(peers.BATCHED_BENCH), "-m", str(alike.model), "-c", str(alike.context)]
    command += ["-t", str(alike.threads), "-tb", str(alike.threads), "--output-format", "jsonl"]
    return [Server(OFFLINE, Address("", 0), 0, command)]


async def _offline(arguments: argparse.Namespace, side: Server, streams: int, _round: int) -> Seen:
    lengths = ["-npp", str(arguments.prompt_tokens), "-ntg", str(arguments.max_tokens), "-npl", str(streams)]
    before_s = _children_cpu_s()
    process = await asyncio.create_subprocess_exec(
        *side.command, *lengths, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    lines = [line for line in output.splitlines() if line.startswith(b"{")]
    if process.returncode or not lines:
        return Seen({}, [f"{OFFLINE} ended with {process.returncode} and {len(lines)} results"])
    speed = msgspec.json.decode(lines[-1], type=_Line).speed_tg
    return Seen({"tokens_per_s": speed}, [], _children_cpu_s() - before_s)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
