"""A system prompt of about 1,000 tokens that requests share: what it costs the first and what the others.

Cases: `cold`, prefixes that nobody has sent before; `warm`, the prefix of a request that has ended;
`running`, the prefix of answers that are still streamed; `at once`, eight requests with one new prefix
together; `checked`, whether the gateway answers the same whether or not it has seen the prefix (against a
second copy of the model that never has: greedy answers with their log-probabilities).

usage: python -m benchmarks.prefix [--model FILE.gguf] [--cases cold warm] [--prefix-words 480] …
"""

import argparse

from benchmarks.figures import median, spread
from benchmarks.load import Background, run_streams
from benchmarks.openai_stream import read_chat
from benchmarks.prompts import story_prompt
from benchmarks.report import MILLISECONDS, THREE_DIGITS, WHOLE
from benchmarks.requests import chat_request
from benchmarks.rounds import WARM_UP, Column, Contest, Ratio, Seen, hold
from benchmarks.sameness import compared, read_tokens
from benchmarks.servers import Server
from benchmarks.sides import GATEWAY, setting, settings, started

COLUMNS = [
    Column("ttft_p50_s", "TTFT p50 ms", MILLISECONDS),
    Column("ttft_worst_s", "worst", MILLISECONDS),
    Column("prompt_tokens", "prompt tokens", WHOLE),
    Column("cached_tokens", "of them cached", WHOLE),
    Column("answers", "answers checked", WHOLE),
    Column("same_answers", "equal", WHOLE),
    Column("logprob_difference", "log-prob difference", THREE_DIGITS),
    Column("tie_gap", "gap where they part", THREE_DIGITS),
]
COLD, WARM, RUNNING, AT_ONCE, CHECKED = CASES = ["cold", "warm", "running", "at once", "checked"]
NEVER_ASKED = "reference"
"""The copy of the model that sees every prefix for the first time."""
TIMEOUT_S = 300.0
QUESTIONS = 3


def main() -> None:
    arguments = _arguments()

    async def measuring(side: Server, case: str, round_index: int) -> Seen:
        measure = {AT_ONCE: _at_once, CHECKED: _checked, RUNNING: _running, WARM: _warm, COLD: _cold}[case]
        return await measure(_Place(arguments, side, case, round_index))

    alike = setting(arguments, arguments.streams, prompt_cache=True)
    with started(arguments, alike, models=("bench", NEVER_ASKED)) as sides:
        peers = [side.name for side in sides if side.name != GATEWAY]
        ratios = [
            Ratio("ttft_p50_s", (GATEWAY, WARM), (GATEWAY, COLD), "at most 0.2"),
            *(Ratio("ttft_p50_s", (GATEWAY, WARM), (peer, WARM), "at most 1.0") for peer in peers),
            *(Ratio("ttft_p50_s", (GATEWAY, case), (peer, case)) for peer in peers for case in CASES),
        ]
        shown = [ratio for ratio in ratios if {ratio.ours[1], ratio.theirs[1]} <= set(arguments.cases)]
        hold(Contest("prefix", arguments.cases, measuring, COLUMNS, shown), arguments, sides)


def _arguments() -> argparse.Namespace:
    parser = settings(__doc__, context=16384)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prefix-words", type=int, default=480, help="about 1,000 tokens")
    parser.add_argument("--max-tokens", type=int, default=16)
    return parser.parse_args()


class _Place:
    """One measure: its prefixes are like no other's."""

    def __init__(self, arguments: argparse.Namespace, side: Server, case: str, round_index: int) -> None:
        self.side = side
        self.counted = round_index != WARM_UP
        self.streams: int = arguments.streams
        self._arguments = arguments
        self._place = (CASES.index(case), round_index)

    def request(
        self,
        prefix: int,
        question: int,
        *,
        max_tokens: int | None = None,
        model: str = "bench",
        **more: object,
    ) -> bytes:
        system = story_prompt(self._arguments.seed, (*self._place, prefix), self._arguments.prefix_words)
        user = story_prompt(self._arguments.seed, (*self._place, prefix, question), 8)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        wanted = max_tokens or self._arguments.max_tokens
        return chat_request(self.side, messages, max_tokens=wanted, model=model, more=more)

    async def ask(self, *streams: list[bytes]) -> Seen:
        """The figures of these requests: by stream, one after another."""
        run = await run_streams(self.side.address, streams, TIMEOUT_S, fresh=True)
        readings = [read_chat(answer) for answers in run.answers for answer in answers]
        ttft = spread([reading.ttft_s for reading in readings if reading.ttft_s is not None])
        values = {
            "ttft_p50_s": ttft.p50,
            "ttft_worst_s": ttft.worst,
            "prompt_tokens": median([float(reading.prompt_tokens) for reading in readings]),
            "cached_tokens": median([float(reading.cached_tokens) for reading in readings]),
        }
        return Seen(values, [reading.error for reading in readings if reading.error])


async def _cold(place: _Place) -> Seen:
    return await place.ask([place.request(prefix, 0) for prefix in range(QUESTIONS)])


async def _warm(place: _Place) -> Seen:
    await place.ask([place.request(0, 0)])
    return await place.ask([place.request(0, 1 + question) for question in range(QUESTIONS)])


async def _running(place: _Place) -> Seen:
    """Some answers are half-way, and places are free."""
    running = [place.request(0, number, max_tokens=600) for number in range(place.streams // 2 - 1)]
    background = await Background.started(place.side.address, running, TIMEOUT_S, flowing_events=4)
    seen = await place.ask([place.request(0, 100 + question) for question in range(QUESTIONS)])
    cut = [read_chat(answer, cut=True).error for answer in await background.cut()]
    return Seen(seen.values, seen.errors + [error for error in cut if error])


async def _at_once(place: _Place) -> Seen:
    return await place.ask(*([place.request(0, number)] for number in range(place.streams)))


async def _checked(place: _Place) -> Seen:
    """The gateway's warm answer against the first answer of a model that has not seen the prefix."""
    if place.side.name != GATEWAY or not place.counted:
        return Seen({}, [])
    shown = {"stream": False, "stream_options": None, "logprobs": True, "top_logprobs": 2}
    await place.ask([place.request(0, 0)])
    asked = [place.request(0, 1, model=model, max_tokens=48, **shown) for model in ("bench", NEVER_ASKED)]
    run = await run_streams(place.side.address, [asked], TIMEOUT_S, fresh=True)
    warm, cold = (read_tokens(answer) for answer in run.answers[0])
    return compared(warm, cold)


if __name__ == "__main__":
    main()
