"""Company changes nothing: log-probabilities of prompts decoded together against each decoded alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.forced import Forced, ForcedDecoder, first_gap, largest_difference

WORDS = """
the quick brown fox jumps over a lazy dog while seven wise men discuss how rivers carve mountains
and why old clocks run slow in cold rooms
""".split()  # noqa: SIM905 - a list of these would be a page long
LENGTHS = (3, 8, 150, 30, 60, 220)
PROMPTS, TOKENS = 20, 10


@pytest.fixture(scope="module")
def decoder(smollm2_path: Path) -> Iterator[ForcedDecoder]:
    made = ForcedDecoder(smollm2_path, n_seq_max=PROMPTS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(decoder: ForcedDecoder) -> list[Forced]:
    return [decoder.greedy(prompt(decoder, index), TOKENS) for index in range(PROMPTS)]


def prompt(decoder: ForcedDecoder, index: int) -> list[int]:
    words = [WORDS[(index * 7 + k * (3 + index % 5)) % len(WORDS)] for k in range(LENGTHS[index % 6])]
    text = (
        f"<|im_start|>user\nQuestion {index}: {' '.join(words)}. Continue:<|im_end|>\n<|im_start|>assistant\n"
    )
    return [int(token) for token in decoder.model.vocabulary.tokenize(text, parse_special=True)]


def spread(one: list[Forced], other: list[Forced]) -> tuple[float, float]:
    """Largest difference of a log-probability, and of a first differing greedy token, nats."""
    pairs = list(zip(one, other, strict=True))
    return max(largest_difference(a, b) for a, b in pairs), max(first_gap(a, b) for a, b in pairs)


@pytest.mark.slow
def test_company_changes_nothing(decoder: ForcedDecoder, alone: list[Forced]) -> None:
    company = decoder.together(alone, leave=False)
    assert len({len(forced.prompt) for forced in company}) >= len(LENGTHS)
    difference, gap = spread(alone, company)
    assert difference <= 0.1
    assert gap <= 0.2


@pytest.mark.slow
def test_a_neighbours_content_changes_nothing(decoder: ForcedDecoder, alone: list[Forced]) -> None:
    subject, others = alone[2], alone[3:9]
    first = decoder.together([subject, *others[:3]], leave=False)[0]
    second = decoder.together([subject, *others[3:]], leave=False)[0]
    difference, gap = spread([first], [second])
    assert difference <= 0.1
    assert gap <= 0.2


@pytest.mark.slow
def test_coming_and_going_changes_less_than_with_llama_servers_settings(
    decoder: ForcedDecoder, alone: list[Forced], smollm2_path: Path
) -> None:
    """Cells that others left are out of order, and so are the sums over them; the weights' 8-bit activations
    make that visible, with any settings. llama-server's own are a f16 cache and automatic flash attention."""
    theirs = ForcedDecoder(smollm2_path, n_seq_max=PROMPTS, type_k="f16", type_v="f16")
    their_alone = [theirs.greedy(forced.prompt, TOKENS) for forced in alone]
    their_difference, their_gap = spread(their_alone, theirs.together(their_alone))
    theirs.close()
    difference, gap = spread(alone, decoder.together(alone))
    print(f"{difference=:.3f} {gap=:.3f} {their_difference=:.3f} {their_gap=:.3f}")
    assert difference <= max(0.1, 2 * their_difference)
    assert gap <= max(0.2, 2 * their_gap)
