"""A growing answer: what a stream has shown is what the result would have said."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from backends.chat.answer import AnswerFormat
from backends.llama_cpp.answer import FinishReason, GrowingAnswer
from backends.protocol import Delta, GenerationResult, TokenLogprob

PLAIN = AnswerFormat()
CALLS = AnswerFormat(calls="hermes", tools=["add"], think_open="<think>", think_close="</think>")
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def logprob(piece: bytes, number: int = 0) -> TokenLogprob:
    return TokenLogprob(piece, -1.0 - number, [], number)


def grow(
    pieces: list[bytes],
    *,
    format: AnswerFormat = PLAIN,
    stops: tuple[str, ...] = (),
    streams: bool = False,
    echo: str = "",
    reason: FinishReason = "stop",
) -> tuple[list[Delta], GenerationResult]:
    """All of an answer whose tokens are these, fed until a stop string ends it."""
    answer = GrowingAnswer("job", 0, format, stops, streams=streams)
    told = [answer.echo(echo, [logprob(b"e")] * len(echo))] if echo else []
    fed = 0
    for number, piece in enumerate(pieces):
        told.append(answer.feed(piece, logprob(piece, number)))
        fed += 1
        if answer.stopped:
            break
    told.append(answer.finish())
    result = answer.result(reason, prompt_tokens=3, completion_tokens=fed, cached=2, drafted=1)
    return [delta for delta in told if delta is not None], result


def shown(deltas: list[Delta]) -> tuple[str, str, list[TokenLogprob], list[tuple[str, str]]]:
    """What a client puts together from a stream: text, reasoning, log-probabilities, calls."""
    calls: dict[int, tuple[str, str]] = {}
    for delta in deltas:
        for call in delta.calls:
            name, arguments = calls.get(call.index, ("", ""))
            calls[call.index] = (name + call.name, arguments + call.arguments)
    return (
        "".join(delta.text for delta in deltas),
        "".join(delta.reasoning for delta in deltas),
        [one for delta in deltas for one in delta.logprobs],
        [calls[index] for index in sorted(calls)],
    )


def held(result: GenerationResult) -> tuple[str, str, list[TokenLogprob], list[tuple[str, str]]]:
    calls = [(call.name, call.arguments) for call in result.tool_calls]
    return result.text, result.reasoning, result.logprobs, calls


_PIECES = st.lists(
    st.sampled_from(
        [
            *[
                b"a",
                b"ab",
                b"b",
                b"\xc3",
                b"\xa4",
                b"\xc3\xa4b",
                b"",
                b"<",
                b"think>",
                b"</think>",
                b"<think>",
            ],
            *[CALL[:15].encode(), CALL[15:].encode(), CALL.encode()],
        ]
    ),
    max_size=20,
)
_WORDS = st.builds(
    lambda text, cuts: [
        text[begin:end]
        for begin, end in pairwise([0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)])
    ],
    st.text("abcä<t", max_size=20).map(str.encode),
    st.lists(st.integers(0, 99), max_size=12),
)
"""A text whose characters tokens may cut, and no whole mark."""
_STOPS = st.sampled_from([(), ("ab",), ("aab", "ba"), ("bbb",), ("<", "b")])


@given(_PIECES, st.sampled_from([PLAIN, CALLS]), _STOPS, st.sampled_from(["", "ae"]))
def test_a_stream_shows_what_the_result_would_hold(
    pieces: list[bytes], format: AnswerFormat, stops: tuple[str, ...], echo: str
) -> None:
    deltas, streamed = grow(pieces, format=format, stops=stops, streams=True, echo=echo)
    nothing, whole = grow(pieces, format=format, stops=stops, echo=echo)
    assert nothing == []
    assert shown(deltas) == held(whole)
    assert held(streamed) == ("", "", [], [])
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.reasoning_tokens == whole.reasoning_tokens
    assert whole.text.startswith(echo)
    assert not any(stop in whole.text.removeprefix(echo) for stop in stops) or format is CALLS


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=20), _STOPS, st.booleans())
def test_log_probabilities_stand_beside_the_text_and_never_for_more(
    pieces: list[str], stops: tuple[str, ...], streams: bool
) -> None:
    deltas, result = grow([piece.encode() for piece in pieces], stops=stops, streams=streams)
    text, _, logprobs, _ = shown(deltas) if streams else held(result)
    spelled = b"".join(one.token for one in logprobs).decode()
    assert [one.id for one in logprobs] == list(range(len(logprobs)))
    if any(stop in "".join(pieces) for stop in stops):
        assert text.startswith(spelled)
        assert len(text) - len(spelled) < 3, (
            "but for a token that the stop string begins in, all of the text has some"
        )
    else:
        assert spelled == text


@example([b"aaa", b"a"], ("aab", "ba"), PLAIN)
@example([b"a\xc3", b"\xa4"], (), PLAIN)
@example([b"a<", b"b"], (), CALLS)
@example([b"ca", b"a", b"ab"], ("aab", "ab"), PLAIN)
@given(_WORDS, _STOPS, st.sampled_from([PLAIN, CALLS]))
def test_a_stream_is_never_ahead_of_its_text(
    pieces: list[bytes], stops: tuple[str, ...], format: AnswerFormat
) -> None:
    deltas, _ = grow(pieces, format=format, stops=stops, streams=True)
    text, told = b"", b""
    for delta in deltas:
        text += delta.text.encode()
        told += b"".join(one.token for one in delta.logprobs)
        assert text.startswith(told)


def test_a_token_whose_text_is_told_in_two_parts_is_told_with_the_second() -> None:
    deltas, _ = grow([b"ca", b"a", b"ab"], stops=("aab", "xy"), streams=True)
    assert [(delta.text, [one.token for one in delta.logprobs]) for delta in deltas] == [
        ("c", []),
        ("a", [b"ca"]),
    ]


def test_a_stop_string_that_was_only_feared_is_told_with_its_log_probabilities() -> None:
    deltas, _ = grow([b"x", b"S", b"T", b"y"], stops=("STOP",), streams=True)
    assert [(delta.text, len(delta.logprobs)) for delta in deltas] == [("x", 1), ("STy", 3)]


def test_a_stop_strings_own_tokens_are_not_shown() -> None:
    _, result = grow([b"x", b"S", b"ST", b"OP", b"z"], stops=("STOP",))
    assert (result.text, [one.token for one in result.logprobs]) == ("xS", [b"x", b"S"])


def test_the_beginning_of_a_mark_before_a_stop_string_keeps_its_log_probability() -> None:
    _, result = grow([b"x", b"<tool", b"STOP"], format=CALLS, stops=("STOP",))
    assert (result.text, [one.token for one in result.logprobs]) == ("x<tool", [b"x", b"<tool"])


def test_reasoning_is_told_apart_and_counted() -> None:
    _, result = grow([b"<think>", b"let", b" me", b"</think>", b"done"], format=CALLS)
    assert (result.reasoning, result.text) == ("let me", "done")
    assert result.reasoning_tokens == 3


def test_a_call_is_the_reason_to_end_only_if_the_answer_ended_by_itself() -> None:
    _, result = grow([CALL.encode()], format=CALLS)
    assert [(call.name, call.arguments) for call in result.tool_calls] == [("add", '{"a": 1}')]
    assert result.tool_calls[0].id.startswith("call_")
    assert result.finish_reason == "tool_calls"
    assert grow([CALL.encode()], format=CALLS, reason="length")[1].finish_reason == "length"
    assert grow([b"text"], format=CALLS)[1].finish_reason == "stop"


def test_an_echo_calls_nothing_and_stops_nothing() -> None:
    _, result = grow([b"x"], format=CALLS, stops=("STOP",), echo=f"STOP{CALL}")
    assert result.text == f"STOP{CALL}x"
    assert result.tool_calls == []


def test_deltas_count_the_tokens_behind_them() -> None:
    deltas, _ = grow([b"\xc3", b"\xa4", b"S", b"x"], stops=("ST",), streams=True)
    assert [(delta.text, delta.tokens) for delta in deltas] == [("ä", 2), ("Sx", 2)]


def test_the_result_carries_the_counts() -> None:
    _, result = grow([b"a", b"b"])
    counts = (result.prompt_tokens, result.completion_tokens, result.cached_tokens)
    assert (*counts, result.accepted_draft_tokens) == (3, 2, 2, 1)
