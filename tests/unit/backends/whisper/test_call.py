"""Calls beside the loop: what is left out of one, and that the loop is not held up by it."""

import itertools
import threading
from collections.abc import Sequence
from typing import Any, cast

import ctranslate2
import numpy as np
import pytest

from backends.protocol import Inline, Job, Media, TranscribeParameters
from backends.whisper.attempts import Attempt, Score
from backends.whisper.call import Beside, Call
from backends.whisper.hearing import Heard, Hearing, Request, joined, take
from backends.whisper.speech import Span
from backends.whisper.transcript import Transcript, Window
from backends.whisper.windows import Key

KEY = Key(500, 0, 0.0, detect=False, logprobs=False)


class Recorder:
    """Hears in each window the number that its features are. `each`: encodes them one by one."""

    def __init__(self, each: bool) -> None:
        self.encoded: list[int] = []
        self._each = each

    def encode(self, requests: Sequence[Request], frames: int) -> list[Any]:
        self.encoded.append(len(requests))
        rows = np.array([[[request.features[0, 0]]] for request in requests], np.float32)
        return [
            ctranslate2.StorageView.from_array(part)
            for part in np.split(rows, len(rows) if self._each else 1)
        ]

    def write(self, encoded: Any, requests: Sequence[Request], *options: object) -> list[Heard]:
        numbers = np.asarray(encoded)[:, 0, 0]
        assert len(numbers) == len(requests)
        return [Heard([int(n)], "", Score(0, 0, 0), "en", 1.0, []) for n in numbers]


def window(number: int) -> Window:
    job = Job(str(number), "m", "transcribe", TranscribeParameters(), [Media(Inline(b""))])
    transcript = Transcript(job, 0, np.zeros(0, np.int16), [], number)
    return Window(transcript, Span(0, 1), [Attempt(0.0, full=False)])


def call(count: int, at_once: int) -> tuple[Call, list[Window]]:
    windows = [window(number) for number in range(count)]
    requests = [Request(np.full((1, 1), n, np.float32), [], "en", False) for n in range(count)]
    return Call(windows, requests, KEY, at_once), windows


def run(one: Call, unwanted: Sequence[Window] = (), after: int = 99, *, each: bool = False) -> Recorder:
    """To its end; nobody waits for some of it any more after so many parts."""
    recorder = Recorder(each)
    hearing = cast("Hearing", recorder)
    gone: list[Window] = []
    for part in itertools.count(1):
        if one.heard or not one.windows:
            break
        (one.write if one.encoded else one.encode)(hearing)
        if part >= after:
            gone = list(unwanted)
        one.keep(lambda each: each not in gone)  # noqa: B023 (asked at once)
    return recorder


@pytest.mark.parametrize(("at_once", "calls"), [(1, [1, 1, 1]), (2, [2, 1]), (8, [3])])
def test_windows_are_encoded_so_many_at_once(at_once: int, calls: list[int]) -> None:
    one, _ = call(3, at_once)
    assert run(one).encoded == calls
    assert [heard.tokens for heard in one.heard] == [[0], [1], [2]]
    assert one.rows == [0, 1, 2]


@pytest.mark.parametrize(("at_once", "each"), [(1, False), (2, True), (8, False)])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_what_nobody_waits_for_is_left_out_wherever_the_call_is(at_once: int, each: bool, after: int) -> None:
    one, windows = call(3, at_once)
    run(one, [windows[1]], after, each=each)
    parts = 1 + -(-3 // at_once)
    wanted = [0, 2] if after <= parts else [0, 1, 2]
    assert [heard.tokens for heard in one.heard] == [[number] for number in wanted]
    assert one.windows == [windows[number] for number in wanted]
    assert [int(np.asarray(one.output)[row, 0, 0]) for row in one.rows] == wanted


def test_windows_of_one_encoder_call_stay_together_until_they_are_written() -> None:
    """Taking one out would copy the others."""
    one, windows = call(3, 8)
    hearing = cast("Hearing", Recorder(each=False))
    one.encode(hearing)
    one.keep(lambda each: each is not windows[1])
    assert len(one.windows) == 3
    one.write(hearing)
    one.keep(lambda each: each is not windows[1])
    assert [heard.tokens for heard in one.heard] == [[0], [2]]


def test_nothing_more_is_encoded_of_a_call_that_nobody_waits_for() -> None:
    one, windows = call(3, 1)
    assert run(one, windows, after=1).encoded == [1]
    assert one.windows == []


def test_rows_are_taken_out_and_put_together_on_their_device() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    encoded = ctranslate2.StorageView.from_array(rows)
    assert (np.asarray(take(encoded, [0, 2])) == rows[[0, 2]]).all()
    assert take(encoded, [0, 1, 2]) is encoded
    parts = [ctranslate2.StorageView.from_array(rows[place : place + 1]) for place in range(3)]
    assert (np.asarray(joined(parts)) == rows).all()


def test_the_loop_goes_on_while_something_runs() -> None:
    beside, hold = Beside(patience_s=60), threading.Event()
    beside.begin(lambda: hold.wait(60) and None)
    assert not beside.ended()
    hold.set()
    while not beside.ended():
        pass
    beside.result()


def test_what_hangs_is_waited_for() -> None:
    """The worker then shows no sign of life, and is taken for what it is."""
    beside, hold = Beside(patience_s=0), threading.Event()
    beside.begin(lambda: hold.wait(60) and None)
    threading.Timer(0.2, hold.set).start()
    assert beside.ended()
    assert hold.is_set()


def test_errors_come_through() -> None:
    beside = Beside(patience_s=60)
    beside.begin(lambda: {}["what"])
    while not beside.ended():
        pass
    with pytest.raises(KeyError):
        beside.result()
