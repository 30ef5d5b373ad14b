"""What the benchmarks read from answers: every way in which a stream can fail must count as an error."""

import pytest

from benchmarks.client import Answer
from benchmarks.openai_stream import read_chat, read_whole

ROLE = b'{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}'
USAGE = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
DONE = b"[DONE]"


def text(piece: str) -> bytes:
    return b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % piece.encode()


def answer(*payloads: bytes) -> Answer:
    return Answer(sent_at=1.0, status=200, events=[(2.0 + i, payload) for i, payload in enumerate(payloads)])


def test_times_count_from_sending_and_only_pieces_with_text() -> None:
    reading = read_chat(answer(ROLE, text("a"), text(""), text("b"), USAGE, DONE))
    assert (reading.ttft_s, reading.gaps_s, reading.pieces) == (2.0, [2.0], 2)
    assert (reading.prompt_tokens, reading.completion_tokens, reading.error) == (7, 3, "")


def test_text_and_cached_tokens_are_read() -> None:
    details = b'"prompt_tokens_details":{"cached_tokens":5}'
    usage = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,%s}}' % details
    reading = read_chat(answer(text("a"), text("b"), usage, DONE))
    assert (reading.text, reading.cached_tokens) == ("ab", 5)


def test_without_usage_pieces_are_counted() -> None:
    assert read_chat(answer(text("a"), text("b"), DONE)).completion_tokens == 2


def test_a_stream_that_the_client_cut_needs_no_end() -> None:
    assert read_chat(answer(text("a")), cut=True).error == ""


def test_a_stream_without_its_end_is_an_error() -> None:
    assert "[DONE]" in read_chat(answer(text("a"), USAGE)).error


def test_an_error_inside_the_stream_is_an_error() -> None:
    reading = read_chat(answer(text("a"), b'{"error":{"message":"worker died"}}', DONE))
    assert "worker died" in reading.error


@pytest.mark.parametrize("read", [lambda a: read_chat(a).error, read_whole])
def test_a_refusal_shows_status_and_body(read: object) -> None:
    assert callable(read)
    assert read(Answer(sent_at=0.0, status=503, body=b"full")) == "HTTP 503: full"


@pytest.mark.parametrize("read", [lambda a: read_chat(a).error, read_whole])
def test_a_broken_connection_is_an_error(read: object) -> None:
    assert callable(read)
    assert read(Answer(sent_at=0.0, failure="connection lost")) == "connection lost"
