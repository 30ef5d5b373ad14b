"""What running streams feel of prompts that join: their inter-token latency while long prefills come in.

Seven answers are streamed; a client then sends prompts of 512 tokens, each as soon as the one before is
answered. Only the time from the first such prompt to the last answer counts, and the streams outlast it.

usage: python -m benchmarks.joining [--model FILE.gguf] [--streams 7] [--joins 6] …
"""

import argparse
from collections.abc import Sequence

from benchmarks.client import Answer
from benchmarks.figures import gaps_within, spread
from benchmarks.load import Background, run_streams
from benchmarks.openai_stream import read_chat
from benchmarks.prompts import story_prompt
from benchmarks.report import MILLISECONDS, ONE_DIGIT, WHOLE
from benchmarks.requests import chat_request
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server
from benchmarks.sides import GATEWAY, setting, settings, started

COLUMNS = [
    Column("itl_p50_s", "ITL p50 ms", MILLISECONDS),
    Column("itl_p99_s", "ITL p99", MILLISECONDS),
    Column("itl_worst_s", "worst", MILLISECONDS),
    Column("tokens_per_s", "streams tok/s", ONE_DIGIT),
    Column("join_ttft_p50_s", "TTFT of joins p50 ms", MILLISECONDS),
    Column("join_tokens", "prompt tokens", WHOLE),
]
TIMEOUT_S = 300.0
FLOWING_EVENTS = 8


def main() -> None:
    arguments = _arguments()
    case = f"{arguments.streams} + joins"

    async def measuring(side: Server, _case: str, round_index: int) -> Seen:
        return await _measure(arguments, side, round_index)

    with started(arguments, setting(arguments, arguments.streams + 1)) as sides:
        compared = [
            Ratio(value, (GATEWAY, case), (side.name, case), target)
            for side in sides
            if side.name != GATEWAY
            for value, target in (("itl_p99_s", "below 1.0"), ("join_ttft_p50_s", ""), ("tokens_per_s", ""))
        ]
        hold(Contest("joining", [case], measuring, COLUMNS, compared), arguments, sides)


def _arguments() -> argparse.Namespace:
    parser = settings(__doc__, context=16384)
    parser.add_argument("--streams", type=int, default=7)
    parser.add_argument("--joins", type=int, default=6)
    parser.add_argument("--join-words", type=int, default=250, help="about 512 tokens")
    parser.add_argument("--max-tokens", type=int, default=1500, help="of a stream: more than it gets to")
    return parser.parse_args()


async def _measure(arguments: argparse.Namespace, side: Server, round_index: int) -> Seen:
    def request(kind: int, number: int, words: int, max_tokens: int) -> bytes:
        prompt = story_prompt(arguments.seed, (round_index, kind, number), words)
        return chat_request(side, prompt, max_tokens=max_tokens)

    streams = [request(0, number, 20, arguments.max_tokens) for number in range(arguments.streams)]
    joins = [request(1, number, arguments.join_words, 1) for number in range(arguments.joins)]
    background = await Background.started(side.address, streams, TIMEOUT_S, FLOWING_EVENTS)
    run = await run_streams(side.address, [joins], TIMEOUT_S, fresh=True)
    return seen(await background.cut(), run.answers[0])


def seen(streams: Sequence[Answer], joins: Sequence[Answer]) -> Seen:
    """The streams' figures between the first join's request and the last one's answer."""
    start, end = joins[0].sent_at, joins[-1].ended_at
    running = [read_chat(answer, cut=True) for answer in streams]
    joined = [read_chat(answer) for answer in joins]
    itl = spread([gap for reading in running for gap in gaps_within(reading.text_at, start, end)])
    pieces = sum(start < at <= end for reading in running for at in reading.text_at)
    values = {
        "itl_p50_s": itl.p50,
        "itl_p99_s": itl.p99,
        "itl_worst_s": itl.worst,
        "tokens_per_s": pieces / (end - start),
        "join_ttft_p50_s": spread([r.ttft_s for r in joined if r.ttft_s is not None]).p50,
        "join_tokens": sum(reading.prompt_tokens for reading in joined) / len(joined),
    }
    return Seen(values, [reading.error for reading in [*running, *joined] if reading.error])


if __name__ == "__main__":
    main()
