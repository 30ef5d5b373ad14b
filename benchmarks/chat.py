"""Streamed chat, ours against a peer on the same model: tokens/s, time to first token, inter-token latency.

One interleaved run: in each round both servers get the same prompts at each number of streams, one after
the other, and the order turns with every round. The server that waits is idle but runs on; its processor
time is reported. Ratios are taken within a round; the figure is their median.

usage: python -m benchmarks.chat [--model FILE.gguf] [--peer auto|llama-server|xllamacpp|none] [--rounds 5] …
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import machine, ours, peers, report
from benchmarks.chat_figures import Measure, Plan, Result, Slot, measured, progress, summary
from benchmarks.client import post
from benchmarks.load import run_streams
from benchmarks.machine import CpuMeter
from benchmarks.openai_stream import read_chat
from benchmarks.prompts import story_prompt
from benchmarks.servers import Server, stop_on_sigterm

PATH = "/v1/chat/completions"
STARTER = "smollm2-135m-instruct"


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    plan = Plan(
        streams=arguments.streams,
        rounds=arguments.rounds,
        requests_per_stream=arguments.requests,
        max_tokens=arguments.max_tokens,
        prompt_words=arguments.prompt_words,
        seed=arguments.seed,
        timeout_s=120.0,
    )
    with (
        tempfile.TemporaryDirectory(prefix="bench-chat-") as scratch,
        _sides(arguments, Path(scratch)) as sides,
    ):
        measures = uvloop.run(_measure(plan, sides, arguments.deadline_s))
        result = Result(machine.describe(), plan, {side.name: side.command for side in sides}, measures)
    report.say(summary(result))
    report.say(f"\nwritten to {report.write('chat', result)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="GGUF file for both; default: the starter chat model")
    parser.add_argument("--peer", choices=["auto", *peers.KINDS, "none"], default="auto", help=peers.AUTO)
    parser.add_argument("--no-gateway", action="store_true", help="measure the peer alone")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2, help="by each stream, one after another")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--prompt-words", type=int, default=40)
    parser.add_argument("--context", type=int, default=8192, help="KV cells for all streams together, tokens")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline-s", type=float, default=1800.0, help="the whole run gives up after this")
    parser.add_argument("--peer-arguments", default="", help="more for llama-server, in one string")
    return parser.parse_args()


@contextlib.contextmanager
def _sides(arguments: argparse.Namespace, scratch: Path) -> Iterator[list[Server]]:
    setting = peers.Setting(
        model=(arguments.model or ours.starter_weights(STARTER)).resolve(),
        slots=max(arguments.streams),
        context=arguments.context,
        threads=arguments.threads,
    )
    with contextlib.ExitStack() as stack:
        sides = []
        if not arguments.no_gateway:
            sides.append(stack.enter_context(ours.gateway([_our_model(setting)], scratch)))
        kind = peers.best() if arguments.peer == "auto" else arguments.peer
        if kind == "llama-server":
            extra = arguments.peer_arguments.split()
            sides.append(stack.enter_context(peers.llama_server(setting, scratch, extra)))
        elif kind == "xllamacpp":
            sides.append(stack.enter_context(peers.xllamacpp(setting, scratch)))
        yield sides


def _our_model(setting: peers.Setting) -> dict[str, Any]:
    return {
        "name": "bench",
        "backend": "llama_cpp",
        "tasks": ["generate"],
        "source": str(setting.model),
        "parameters": {
            "n_ctx": setting.context,
            "n_seq_max": setting.slots,
            "n_threads": setting.threads,
            "n_threads_batch": setting.threads,
        },
    }


async def _measure(plan: Plan, sides: Sequence[Server], deadline_s: float) -> list[Measure]:
    measures = []
    async with asyncio.timeout(deadline_s):
        for side in sides:  # first use of everything: pages, connections, kernels
            await _measure_one(plan, side, sides, plan.streams[-1], round_index=-1)
        for round_index in range(plan.rounds):
            for streams in plan.streams:
                for side in sides if round_index % 2 == 0 else reversed(sides):
                    measure = await _measure_one(plan, side, sides, streams, round_index)
                    report.say(progress(measure))
                    measures.append(measure)
    return measures


async def _measure_one(
    plan: Plan, side: Server, sides: Sequence[Server], streams: int, round_index: int
) -> Measure:
    requests = [
        [post(PATH, _body(plan, (round_index, streams, stream, n))) for n in range(plan.requests_per_stream)]
        for stream in range(streams)
    ]
    meter = CpuMeter(side.pid, [other.pid for other in sides if other is not side])
    run = await run_streams(side.address, requests, plan.timeout_s, fresh=True)
    cpu = meter.read(run.client_cpu_s)
    readings = [read_chat(answer) for answers in run.answers for answer in answers]
    return measured(Slot(side.name, streams, round_index), readings, run.wall_s, cpu)


def _body(plan: Plan, place: tuple[int, ...]) -> dict[str, Any]:
    return {
        "model": "bench",
        "messages": [{"role": "user", "content": story_prompt(plan.seed, place, plan.prompt_words)}],
        "max_tokens": plan.max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


if __name__ == "__main__":
    main()
