"""Decoding within a JSON schema against decoding freely, and against a peer with the same schema.

Every answer has the same number of tokens: schemas ask for more items than fit, and free answers ignore the
end. Speed is counted while all streams decode, so that compiling the schema and prefill show in the time to
the first token instead.

usage: python -m benchmarks.structured [--model FILE.gguf] [--streams 1 8] …
"""

import argparse
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import spread
from benchmarks.load import run_streams
from benchmarks.openai_stream import Reading, read_chat
from benchmarks.prompts import story_prompt
from benchmarks.report import MILLISECONDS, ONE_DIGIT, WHOLE
from benchmarks.requests import chat_request
from benchmarks.rounds import Column, Contest, Ratio, Seen, hold
from benchmarks.scaling import decode_rate
from benchmarks.servers import Server
from benchmarks.sides import GATEWAY, setting, settings, started

COLUMNS = [
    Column("tokens_per_s", "decode tok/s", ONE_DIGIT),
    Column("ttft_p50_s", "TTFT p50 ms", MILLISECONDS),
    Column("itl_p50_s", "ITL p50 ms", MILLISECONDS),
    Column("itl_p99_s", "ITL p99", MILLISECONDS),
    Column("completion_tokens", "tokens", WHOLE),
]
FREE, SCHEMA = "free", "schema"
_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}


def _list_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object with a list so long that no answer of a measurement reaches its end."""
    listed = {"type": "array", "items": item, "minItems": 100}
    return {"type": "object", "properties": {"items": listed}, "required": ["items"]}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS = [
    _list_of(_object(name=_TEXT, age=_NUMBER, kind={"enum": ["friend", "colleague", "stranger"]})),
    _list_of(_TEXT),
    _list_of(
        _object(title=_TEXT, tags={"type": "array", "items": _TEXT, "minItems": 2}, done={"type": "boolean"})
    ),
    _list_of({"type": "array", "items": {"type": "number"}, "minItems": 3}),
]
"""What applications ask for: records, texts, nested lists, numbers. Streams take turns."""


def main() -> None:
    parser = settings(__doc__, context=8192)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--max-tokens", type=int, default=256)
    arguments = parser.parse_args()
    cases = {f"{kind} {count}": (kind, count) for count in arguments.streams for kind in (FREE, SCHEMA)}

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        return await _measure(arguments, side, *cases[case], round_index)

    with started(arguments, setting(arguments, max(arguments.streams))) as sides:
        compared = [
            Ratio("tokens_per_s", (GATEWAY, f"{SCHEMA} {count}"), place, target)
            for count in arguments.streams
            for place, target in [
                ((GATEWAY, f"{FREE} {count}"), "at least 0.95"),
                *(((s.name, f"{SCHEMA} {count}"), "at least 1.0") for s in sides if s.name != GATEWAY),
            ]
        ]
        hold(Contest("structured", list(cases), measuring, COLUMNS, compared), arguments, sides)


async def _measure(
    arguments: argparse.Namespace, side: Server, kind: str, streams: int, round_index: int
) -> Seen:
    requests = [
        [
            chat_request(
                side,
                story_prompt(arguments.seed, (round_index, streams, stream, kind == SCHEMA), 30),
                max_tokens=arguments.max_tokens,
                more=_format(SCHEMAS[(stream + round_index) % len(SCHEMAS)]) if kind == SCHEMA else {},
            )
        ]
        for stream in range(streams)
    ]
    run = await run_streams(side.address, requests, timeout_s=300.0)
    return seen(
        [read_chat(answer) for answers in run.answers for answer in answers], kind, arguments.max_tokens
    )


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": "answer", "strict": True, "schema": schema}
    # What must match a schema ends where that does; these do not in the tokens that there are.
    return {"response_format": {"type": "json_schema", "json_schema": named}, "ignore_eos": None}


def seen(readings: list[Reading], kind: str, max_tokens: int) -> Seen:
    itl = spread([gap for reading in readings for gap in reading.gaps_s])
    values = {
        "tokens_per_s": decode_rate(readings),
        "ttft_p50_s": spread([reading.ttft_s for reading in readings if reading.ttft_s is not None]).p50,
        "itl_p50_s": itl.p50,
        "itl_p99_s": itl.p99,
        "completion_tokens": float(sum(reading.completion_tokens for reading in readings)),
    }
    return Seen(values, [trouble for reading in readings if (trouble := _trouble(reading, kind, max_tokens))])


def _trouble(reading: Reading, kind: str, max_tokens: int) -> str:
    if reading.error:
        return reading.error
    if kind == SCHEMA and not reading.text.lstrip().startswith("{"):
        return f"no JSON object: {reading.text[:40]!r}"
    if reading.completion_tokens != max_tokens:
        return f"{reading.completion_tokens} tokens where {max_tokens} were wanted"
    return ""


if __name__ == "__main__":
    main()
