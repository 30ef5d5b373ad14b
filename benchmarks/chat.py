"""Streamed chat, ours against peers on the same model: tokens/s, time to first token, inter-token latency.

usage: python -m benchmarks.chat [--model FILE.gguf] [--peer auto|llama-server|example-server|…] …
"""

import argparse
from collections.abc import Sequence

from benchmarks.figures import spread
from benchmarks.load import run_streams
from benchmarks.openai_stream import Reading, read_chat
from benchmarks.prompts import story_prompt
from benchmarks.report import MILLISECONDS, ONE_DIGIT, WHOLE
from benchmarks.requests import chat_request
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server
from benchmarks.sides import GATEWAY, setting, settings, started

COLUMNS = [
    Column("tokens_per_s", "tok/s", ONE_DIGIT),
    Column("ttft_p50_s", "TTFT p50 ms", MILLISECONDS),
    Column("ttft_p99_s", "TTFT p99", MILLISECONDS),
    Column("itl_p50_s", "ITL p50 ms", MILLISECONDS),
    Column("itl_p99_s", "ITL p99", MILLISECONDS),
    Column("completion_tokens", "tokens", WHOLE),
]
TARGETS = {
    (1, "llama-server"): "at least 0.97",
    (8, "llama-server"): "at least 1.0",
    (8, "example-server"): "at least 1.5",
    (8, "llama_cpp.server"): "at least 1.6",
}


def main() -> None:
    arguments = _arguments()
    streams = {f"{count} streams": count for count in arguments.streams}

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        return await _measure(arguments, side, streams[case], round_index)

    with started(arguments, setting(arguments, max(arguments.streams))) as sides:
        compared = [
            Ratio("tokens_per_s", (GATEWAY, case), (side.name, case), TARGETS.get((count, side.name), ""))
            for case, count in streams.items()
            for side in sides
            if side.name != GATEWAY
        ]
        hold(Contest("chat", list(streams), measuring, COLUMNS, compared), arguments, sides)


def _arguments() -> argparse.Namespace:
    parser = settings(__doc__, context=8192)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--requests", type=int, default=2, help="by each stream, one after another")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--prompt-words", type=int, default=40)
    return parser.parse_args()


async def _measure(arguments: argparse.Namespace, side: Server, streams: int, round_index: int) -> Seen:
    requests = [
        [
            chat_request(
                side,
                story_prompt(arguments.seed, (round_index, streams, stream, n), arguments.prompt_words),
                max_tokens=arguments.max_tokens,
            )
            for n in range(arguments.requests)
        ]
        for stream in range(streams)
    ]
    run = await run_streams(side.address, requests, timeout_s=300.0, fresh=True)
    return seen([read_chat(answer) for answers in run.answers for answer in answers], run.wall_s)


def seen(readings: Sequence[Reading], wall_s: float) -> Seen:
    ttft = spread([reading.ttft_s for reading in readings if reading.ttft_s is not None])
    itl = spread([gap for reading in readings for gap in reading.gaps_s])
    tokens = sum(reading.completion_tokens for reading in readings)
    values = {
        "tokens_per_s": tokens / wall_s,
        "ttft_p50_s": ttft.p50,
        "ttft_p99_s": ttft.p99,
        "itl_p50_s": itl.p50,
        "itl_p99_s": itl.p99,
        "completion_tokens": float(tokens),
        "prompt_tokens": float(sum(reading.prompt_tokens for reading in readings)),
        "pieces": float(sum(reading.pieces for reading in readings)),
        "wall_s": wall_s,
    }
    return Seen(values, [reading.error for reading in readings if reading.error])


if __name__ == "__main__":
    main()
