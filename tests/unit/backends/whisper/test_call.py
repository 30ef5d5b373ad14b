"""Calls beside the loop: what is left out of one, and that the loop is not held up by them."""

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
from backends.whisper.hearing import Heard, Hearing, Request, Sound, together
from backends.whisper.speech import Span
from backends.whisper.transcript import Transcript, Window
from backends.whisper.windows import Key

KEY = Key(500, 0, 0.0, detect=False, logprobs=False)
DETECT = Key(500, 0, 0.0, detect=True, logprobs=False)


class Recorder:
    """Hears in each window the number that its features are."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, requests: Sequence[Request], frames: int) -> Any:
        self.encoded.append(len(requests))
        rows = np.array([[[request.features[0, 0]]] for request in requests], np.float32)
        return ctranslate2.StorageView.from_array(rows)

    def languages(self, encoded: Any) -> list[tuple[str, float]]:
        return [(str(int(number)), 1.0) for number in np.asarray(encoded)[:, 0, 0]]

    def write(self, encoded: Any, requests: Sequence[Request], *options: object) -> list[Heard]:
        numbers = np.asarray(encoded)[:, 0, 0]
        assert len(numbers) == len(requests)
        return [Heard([int(n)], "", Score(0, 0, 0), []) for n in numbers]


def window(number: int) -> Window:
    job = Job(str(number), "m", "transcribe", TranscribeParameters(), [Media(Inline(b""))])
    transcript = Transcript(job, 0, np.zeros(0, np.int16), [], number)
    return Window(transcript, Span(0, 1), [Attempt(0.0, full=False)])


def ask(windows: Sequence[Window], at_once: int, key: Key = KEY) -> Call:
    requests = [
        Request(np.full((1, 1), int(each.transcript.job.id), np.float32), [], "en", False) for each in windows
    ]
    return Call(windows, requests, key, at_once)


def run(one: Call, unwanted: Sequence[Window] = (), after: int = 99) -> Recorder:
    """To its end; nobody waits for some of it any more after so many parts."""
    recorder = Recorder()
    gone: list[Window] = []
    for part in itertools.count(1):
        if one.has_ended or not one.windows:
            break
        one.part(cast("Hearing", recorder))
        if part >= after:
            gone = list(unwanted)
        one.keep(lambda each: each not in gone)  # noqa: B023 (asked at once)
    return recorder


@pytest.mark.parametrize(("at_once", "calls"), [(1, [1, 1, 1]), (2, [2, 1]), (8, [3])])
def test_windows_are_encoded_so_many_at_once(at_once: int, calls: list[int]) -> None:
    one = ask([window(number) for number in range(3)], at_once)
    assert run(one).encoded == calls
    assert [heard.tokens for heard in one.heard] == [[0], [1], [2]]


@pytest.mark.parametrize("at_once", [1, 2, 8])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_what_nobody_waits_for_is_left_out_wherever_the_call_is(at_once: int, after: int) -> None:
    windows = [window(number) for number in range(3)]
    one = ask(windows, at_once)
    run(one, [windows[1]], after)
    parts = 1 + -(-3 // at_once)
    wanted = [0, 2] if after <= parts else [0, 1, 2]
    assert [heard.tokens for heard in one.heard] == [[number] for number in wanted]
    assert one.windows == [windows[number] for number in wanted]


def test_nothing_more_is_encoded_of_a_call_that_nobody_waits_for() -> None:
    windows = [window(number) for number in range(3)]
    one = ask(windows, 1)
    assert run(one, windows, after=1).encoded == [1]
    assert one.windows == []


def test_a_window_is_encoded_once_for_a_length() -> None:
    windows = [window(number) for number in range(2)]
    first = ask(windows, 1, DETECT)
    assert run(first).encoded == [1, 1]
    assert [language for language, _ in first.languages] == ["0", "1"]
    assert first.heard == []
    again = ask(windows[::-1], 1)
    assert run(again).encoded == []
    assert [heard.tokens for heard in again.heard] == [[1], [0]]
    assert run(ask(windows, 8, Key(3000, 0, 0.0, detect=False, logprobs=False))).encoded == [2]


def test_windows_of_several_outputs_are_put_together_on_their_device() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    output = ctranslate2.StorageView.from_array(rows)
    sounds = [Sound(output, row, 500) for row in range(3)]
    assert together(sounds) is output
    assert (np.asarray(together(sounds[:2])) == rows[:2]).all()
    other = Sound(ctranslate2.StorageView.from_array(-rows), 1, 500)
    assert (np.asarray(together([sounds[2], other])) == np.stack([rows[2], -rows[1]])).all()


def some_call() -> Call:
    return ask([window(0)], 1)


def test_the_loop_goes_on_while_something_runs() -> None:
    beside, hold, one = Beside(1, patience_s=60), threading.Event(), some_call()
    beside.begin(one, lambda: hold.wait(60) and None)
    assert (beside.ended(), beside.free, beside.calls) == ([], 0, [one])
    hold.set()
    while not (done := beside.ended()):
        pass
    assert [call for call, _ in done] == [one]
    assert (beside.free, beside.calls) == (1, [])


def test_calls_run_side_by_side() -> None:
    beside, both = Beside(2, patience_s=60), threading.Barrier(2, timeout=30)
    calls = [some_call(), some_call()]
    for one in calls:
        beside.begin(one, lambda: both.wait() and None)
    ended: list[Call] = []
    while len(ended) < 2:
        for call, part in beside.ended():
            part.result()
            ended.append(call)
    assert set(ended) == set(calls)


def test_what_hangs_is_waited_for() -> None:
    """The worker then shows no sign of life, and is taken for what it is, whatever else goes on."""
    beside, hold, one = Beside(2, patience_s=0), threading.Event(), some_call()
    beside.begin(some_call(), lambda: None)
    beside.begin(one, lambda: hold.wait(60) and None)
    threading.Timer(0.2, hold.set).start()
    assert one in [call for call, _ in beside.ended()]
    assert hold.is_set()


def test_errors_come_through() -> None:
    beside = Beside(1, patience_s=60)
    beside.begin(some_call(), lambda: {}["what"])
    while not (done := beside.ended()):
        pass
    with pytest.raises(KeyError):
        done[0][1].result()
