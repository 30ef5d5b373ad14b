"""Speech: how soon it begins, how fast it flows, and what a long text does to a short one behind it.

One client alone, eight at once, and one short request alone and behind a long one; all as PCM, whose length
is its duration. Real time is 1: at 50, a minute of speech takes 1.2 s.

usage: python -m benchmarks.speech [--voice hibari] [--clients 8] [--rounds 5]
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.client import Answer, Connection, post
from benchmarks.figures import spread
from benchmarks.load import run_streams
from benchmarks.report import MILLISECONDS, ONE_DIGIT
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.servers import Server, stop_on_sigterm
from benchmarks.sides import GATEWAY

PATH = "/v1/audio/speech"
STARTER = "hibari"
BYTES_A_SECOND = 2 * 24000
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
)
LONG, SHORT = 60, 1
"""Sentences of the texts of which one stands behind the other."""
ALONE, BEHIND = "short alone", "short behind a long one"
TIMEOUT_S = 120.0
COLUMNS = [
    Column("first_s", "first byte ms", MILLISECONDS),
    Column("realtime", "times real time", ONE_DIGIT),
    Column("whole_s", "whole ms", MILLISECONDS),
]


def main() -> None:
    arguments = _arguments()
    stop_on_sigterm()
    weights = (arguments.model or ours.starter_weights(STARTER)).resolve()
    clients = {f"{count} clients": count for count in (1, arguments.clients)}
    one, many = clients

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        if case in clients:
            return await _together(side, clients[case], arguments.texts)
        return await _short(side, behind=case == BEHIND)

    compared = [
        Ratio("realtime", (GATEWAY, many), (GATEWAY, one), "at least 1"),
        Ratio("whole_s", (GATEWAY, BEHIND), (GATEWAY, ALONE)),
    ]
    contest = Contest("speech", [*clients, ALONE, BEHIND], measuring, COLUMNS, compared)
    with (
        tempfile.TemporaryDirectory(prefix="bench-speech-") as scratch,
        ours.gateway([_model(weights)], Path(scratch)) as server,
    ):
        hold(contest, arguments, [server])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="ONNX file of a voice; default: the starter voice")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--texts", type=int, default=16, help="in each measure, of six sentences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deadline-s", type=float, default=900.0, help="the whole run gives up after this")
    return parser.parse_args()


def _model(weights: Path) -> dict[str, Any]:
    return {"name": "bench", "backend": "hibari", "tasks": ["speak"], "source": str(weights)}


def _request(sentences: int) -> bytes:
    text = " ".join(SENTENCES[number % len(SENTENCES)] for number in range(sentences))
    return post(PATH, {"model": "bench", "voice": "alloy", "input": text, "response_format": "pcm"})


async def _together(server: Server, clients: int, texts: int) -> Seen:
    requests = [_request(len(SENTENCES))] * texts
    run = await run_streams(server.address, [requests[start::clients] for start in range(clients)], TIMEOUT_S)
    answers = [answer for stream in run.answers for answer in stream]
    spoken_s = sum(len(answer.body) for answer in answers) / BYTES_A_SECOND
    return Seen({**_times(answers), "realtime": spoken_s / run.wall_s}, _errors(answers))


async def _short(server: Server, *, behind: bool) -> Seen:
    """One short text; `behind`: after sound of a long one has come."""
    long, short = [await Connection.connect(server.address) for _ in range(2)]
    answers = []
    try:
        if behind:
            speaking = asyncio.create_task(long.exchange(_request(LONG), TIMEOUT_S))
            while not speaking.done() and not (long.answer and long.answer.first_at):  # noqa: ASYNC110 (as in load)
                await asyncio.sleep(0.002)
        answer = await short.exchange(_request(SHORT), TIMEOUT_S)
        if behind:
            early = speaking.done()
            answers.append(await speaking)
            if early:
                answers[0].failure = "the long text ended before the short one"
    finally:
        long.close()
        short.close()
    return Seen(_times([answer]), _errors([*answers, answer]))


def _times(answers: list[Answer]) -> dict[str, float]:
    return {
        "first_s": spread([answer.first_at - answer.sent_at for answer in answers]).p50,
        "whole_s": spread([answer.ended_at - answer.sent_at for answer in answers]).p50,
    }


def _errors(answers: list[Answer]) -> list[str]:
    return [
        answer.failure or f"status {answer.status}: {answer.body[:200]!r}"
        for answer in answers
        if answer.failure or answer.status != 200
    ]


if __name__ == "__main__":
    main()
