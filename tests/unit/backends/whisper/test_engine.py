"""The loop: which windows share a call, what is heard again, in which order segments leave.

The model is a fake that records its calls. A recording is a run of loud stretches; how loud one is says which
letter the fake hears in it.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.protocol import (
    Failed,
    Finished,
    Inline,
    ItemDone,
    Job,
    JobTask,
    Media,
    Output,
    TranscribeParameters,
    TranscriptDelta,
    TranscriptionResult,
)
from backends.whisper.engine import Ears, EngineSettings, WhisperEngine
from backends.whisper.hearing import Decoding, Hearing, Sound
from backends.whisper.prepare import RecordingItem
from backends.whisper.speech import FRAME_SAMPLES, SAMPLE_RATE, SpeechSettings
from backends.whisper.vocabulary import Vocabulary
from backends.whisper.windows import StepBudget

STEP = 1000
"""Loudness of the letter a; b has twice as much."""


def sound(*letters: tuple[str, float]) -> RecordingItem:
    """Stretches: a letter, or a space for silence, and its seconds."""
    parts = [
        np.full(int(seconds * SAMPLE_RATE), 0 if letter == " " else (ord(letter) - 96) * STEP, np.int16)
        for letter, seconds in letters
    ]
    samples = np.concatenate(parts)
    return RecordingItem(len(samples), samples.tobytes())


class Loudness:
    """Voice activity: what is not silent is speech."""

    def feed(self, samples: Any) -> list[float]:
        return [
            0.9 if np.abs(samples[begin : begin + FRAME_SAMPLES]).any() else 0.0
            for begin in range(0, len(samples), FRAME_SAMPLES)
        ]


class Result:
    def __init__(self, tokens: list[int], score: float, no_speech: float) -> None:
        self.sequences_ids = [tokens]
        self.scores = [score]
        self.no_speech_prob = no_speech
        self.logits = [[np.zeros(60000, np.float32) for _ in tokens]]


class Alignment:
    def __init__(self, tokens: int, frames: int) -> None:
        self.alignments = [(token, token * frames // 2 // tokens) for token in range(tokens)]
        self.text_token_probs = [0.5] * tokens


class Encoded:
    """What the fake encoder gives: of each row the loudest letter."""

    def __init__(self, letters: list[str], frames: int) -> None:
        self.letters = letters
        self.shape = [len(letters), frames // 2, 4]


class FakeModel:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.encoded: list[tuple[int, int]] = []
        """Rows and frames of each call."""
        self.generated: list[dict[str, Any]] = []
        self.aligned: list[list[int]] = []
        self.bad: dict[str, list[float]] = {}
        """Scores of a letter's next hearings."""
        self.no_speech: dict[str, float] = {}
        self.tails: dict[str, list[int]] = {}
        """Tokens that follow a letter at its first hearing."""
        self.room = 100
        self.language = "de"
        self.hold = threading.Event()
        """It writes nothing until this is set."""
        self.hold.set()
        self.meeting: threading.Barrier | None = None
        """So many calls write at once, or none comes back."""
        self.aligned_letters: list[list[str]] = []

    def encode(self, features: Any, to_cpu: bool = False) -> Encoded:
        values = np.array(features)
        rows, _, frames = values.shape
        if rows > self.room:
            raise RuntimeError("CUDA failed with error out of memory")
        self.encoded.append((rows, frames))
        return Encoded([chr(96 + round(float(row[0].max()))) for row in values], frames)

    def detect_language(self, features: Encoded) -> list[list[tuple[str, float]]]:
        return [[(f"<|{self.language}|>", 0.8)] for _ in features.letters]

    def generate(self, features: Encoded, prompts: list[list[int]], **options: Any) -> list[Result]:
        self.generated.append({"prompts": prompts, **options})
        assert self.hold.wait(60)
        if self.meeting:
            self.meeting.wait()
        return [self._heard(letter) for letter in features.letters]

    def align(self, features: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Any]:
        self.aligned.append(start)
        self.aligned_letters.append(features.letters)
        return [Alignment(len(text), count) for text, count in zip(texts, frames, strict=True)]

    def _heard(self, letter: str) -> Result:
        first = self.vocabulary.first_timestamp
        tokens = [first, *self.vocabulary.prompt(letter), *self.tails.pop(letter, [first + 50])]
        scores = self.bad.get(letter, [])
        return Result(tokens, scores.pop(0) if scores else -0.1, self.no_speech.get(letter, 0.0))


class Bench:
    """An engine, its fake model, and what came out."""

    def __init__(self, folder: Path, most_rows: int = 8, most_recordings: int = 8, **settings: Any) -> None:
        vocabulary = Vocabulary(folder, multilingual=True)
        self.vocabulary = vocabulary
        self.model = FakeModel(vocabulary)
        self.announced: list[str] = []
        hearing = Hearing(self.model, vocabulary, Decoding(5, 3))
        self.engine = WhisperEngine(
            Ears(hearing, vocabulary, _features, Loudness),
            StepBudget(1e9, most_rows),
            EngineSettings(1.0, 5.0, [0.0, 0.4, 0.8], SpeechSettings(), most_recordings, **settings),
        )
        self.engine.announce = self.announced.append

    def add(self, name: str, *items: RecordingItem, task: JobTask = "transcribe", **options: Any) -> None:
        stream, priority = options.pop("stream", False), options.pop("priority", 0)
        parameters = TranscribeParameters(**({"language": "en"} | options))
        media = [Media(Inline(b"")) for _ in items]
        self.engine.add(Job(name, "m", task, parameters, list(media), stream, priority), list(items))

    def run(self) -> list[Output]:
        outputs = []
        while self.engine.has_work():
            outputs += self.engine.step()
        return outputs

    def results(self) -> dict[str, TranscriptionResult]:
        done = [output for output in self.run() if isinstance(output, ItemDone)]
        return {o.job_id: o.result for o in done if isinstance(o.result, TranscriptionResult)}


def _features(samples: Any) -> Any:
    letter = np.abs(samples).max() * 32768 / STEP
    return np.full((80, len(samples) // 160 + 1), letter, np.float32)


@pytest.fixture
def bench(folder: Path) -> Bench:
    return Bench(folder)


def texts(results: dict[str, TranscriptionResult]) -> dict[str, str]:
    return {name: result.text for name, result in results.items()}


def test_clips_of_a_length_share_a_call_whatever_their_language(bench: Bench) -> None:
    bench.add("one", sound(("a", 2)))
    bench.add("two", sound(("b", 3)), language="de")
    bench.add("long", sound(("c", 8)))
    assert texts(bench.results()) == {"one": "a", "two": "b", "long": "c"}
    assert bench.model.encoded == [(2, 500), (1, 1000)]
    first, second = bench.model.generated[0]["prompts"]
    assert len(first) == len(second) == 3
    assert first[1] != second[1]
    assert bench.announced == ["one", "two", "long"]


def test_prompts_of_other_lengths_go_apart(bench: Bench, folder: Path) -> None:
    item = sound(("a", 2))
    bench.add("plain", item)
    bench.add("told", RecordingItem(item.samples, item.pcm, prompt=[5, 6]))
    bench.results()
    assert [len(call["prompts"][0]) for call in bench.model.generated] == [3, 6]


def test_translation_is_told_by_a_token(bench: Bench) -> None:
    bench.add("x", sound(("a", 2)))
    bench.add("y", sound(("b", 2)), task="translate")
    bench.run()
    first, second = bench.model.generated[0]["prompts"]
    assert first[:2] == second[:2]
    assert first[2] != second[2]


def test_silence_is_empty_and_asks_the_model_nothing(bench: Bench) -> None:
    bench.add("quiet", sound((" ", 600)), language="")
    result = bench.results()["quiet"]
    assert (result.text, result.segments, result.duration_s) == ("", [], 600)
    assert result.language_probability == 0
    assert bench.model.encoded == []


def test_a_recording_of_no_samples(bench: Bench) -> None:
    bench.add("empty", RecordingItem(0))
    assert bench.results()["empty"].text == ""


def test_a_long_recording_is_cut_and_its_times_are_those_of_the_whole(bench: Bench) -> None:
    bench.add("long", sound(("a", 20), (" ", 6), ("b", 20), (" ", 6), ("c", 4)))
    result = bench.results()["long"]
    assert result.text == "a b c"
    assert [segment.id for segment in result.segments] == [0, 1, 2]
    assert [segment.start_s for segment in result.segments] == pytest.approx([0, 25, 51], abs=0.1)
    assert [segment.seek for segment in result.segments] == pytest.approx([0, 2500, 5100], abs=10)


def test_calls_run_side_by_side_and_share_the_windows(folder: Path) -> None:
    bench = Bench(folder, calls_at_once=2)
    bench.model.meeting = threading.Barrier(2, timeout=30)
    for name in "abcd":
        bench.add(name, sound((name, 2)))
    assert texts(bench.results()) == {name: name for name in "abcd"}
    assert [len(call["prompts"]) for call in bench.model.generated] == [2, 2]


def test_segments_leave_in_order_while_later_ones_are_still_heard(folder: Path) -> None:
    bench = Bench(folder, most_rows=1)
    bench.add("long", sound(("a", 4), (" ", 6), ("b", 20), (" ", 6), ("c", 4)), stream=True)
    steps = []
    while bench.engine.has_work():
        steps.append(bench.engine.step())
    deltas = [[o for o in step if isinstance(o, TranscriptDelta)] for step in steps]
    said = ["".join(s.text for delta in step for s in delta.segments) for step in deltas]
    assert [text for text in said if text] == [" a", " b", " c"]
    assert isinstance(steps[-1][-1], Finished)
    done = [o for step in steps for o in step if isinstance(o, ItemDone)]
    assert isinstance(done[0].result, TranscriptionResult)
    assert done[0].result.text == "a b c"


def test_the_language_is_found_in_the_first_window_and_kept(bench: Bench) -> None:
    bench.add("x", sound(("a", 4), (" ", 6), ("b", 4)), language="")
    result = bench.results()["x"]
    assert (result.language, result.language_probability) == ("de", 0.8)
    assert [rows for rows, _ in bench.model.encoded] == [1, 1]
    german = bench.vocabulary.start("de", translate=False)
    assert [call["prompts"] for call in bench.model.generated] == [[german, german]]


def test_a_model_of_one_language_is_not_asked_for_it(folder: Path) -> None:
    bench = Bench(folder, only_language="en")
    bench.add("x", sound(("a", 4)), language="")
    result = bench.results()["x"]
    assert (result.language, result.language_probability) == ("en", 1.0)
    assert bench.model.generated[0]["prompts"] == [bench.vocabulary.start("en", translate=False)]


def test_a_poor_text_is_heard_again_in_the_full_window_then_warmer(bench: Bench) -> None:
    bench.model.bad["a"] = [-2.0, -2.0]
    bench.add("poor", sound(("a", 2)))
    bench.add("good", sound(("b", 2)))
    results = bench.results()
    assert bench.model.encoded == [(2, 500), (1, 3000)]
    assert [call.get("sampling_temperature", 0) for call in bench.model.generated] == [0, 0, 0.4]
    assert results["poor"].segments[0].temperature == 0.4
    assert results["good"].segments[0].temperature == 0


def test_what_stays_poor_ends_with_the_best_of_it(bench: Bench) -> None:
    bench.model.bad["a"] = [-9.0, -2.0, -3.0, -4.0, -1.0]
    bench.add("poor", sound(("a", 2)))
    result = bench.results()["poor"]
    assert len(bench.model.generated) == 4
    assert bench.model.encoded == [(1, 500), (1, 3000)]
    assert result.segments[0].avg_logprob == pytest.approx(-2.0, rel=0.3)


def test_a_temperature_of_the_requests_own_is_not_left(bench: Bench) -> None:
    bench.model.bad["a"] = [-2.0, -2.0]
    bench.add("warm", sound(("a", 20)), temperature=0.5)
    bench.run()
    assert {call["sampling_temperature"] for call in bench.model.generated} == {0.5}


def test_nobody_speaking(bench: Bench) -> None:
    bench.model.no_speech["a"] = 0.9
    bench.model.bad["a"] = [-2.0, -2.0]
    bench.add("x", sound(("a", 2)))
    assert bench.results()["x"].text == ""
    assert bench.model.encoded == [(1, 500), (1, 3000)]  # only the full window says that nobody speaks


def test_what_the_model_did_not_get_to_is_heard_too(bench: Bench) -> None:
    first = bench.vocabulary.first_timestamp
    bench.model.tails["a"] = [first + 250, first + 250]
    bench.add("x", sound(("a", 12)))
    result = bench.results()["x"]
    assert result.text == "a a"
    assert [segment.start_s for segment in result.segments] == [0, 5]


def test_silence_that_the_model_did_not_get_to_is_left_alone(bench: Bench) -> None:
    first = bench.vocabulary.first_timestamp
    bench.model.tails["a"] = [first + 250, first + 250]
    bench.add("x", sound(("a", 5.1), (" ", 4)))
    assert bench.results()["x"].text == "a"
    assert bench.model.encoded == [(1, 1250)]


def test_words_are_aligned_by_language_and_timed_in_the_recording(bench: Bench) -> None:
    bench.add("en", sound((" ", 5), ("a", 2)), word_timestamps=True)
    bench.add("de", sound((" ", 5), ("b", 2)), word_timestamps=True, language="de")
    bench.add("plain", sound((" ", 5), ("c", 2)))
    results = bench.results()
    assert bench.model.encoded == [(3, 500)]
    assert len(bench.model.aligned) == 2
    (word,) = results["en"].segments[0].words
    assert (word.word, word.probability) == (" a", 0.5)
    assert 4 <= word.start_s < word.end_s < 7
    assert results["plain"].segments[0].words == []


@pytest.fixture(autouse=True)
def rows_of_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    def together(sounds: Sequence[Sound]) -> Encoded:
        return Encoded([sound.output.letters[sound.row] for sound in sounds], sounds[0].frames)

    for module in ("call", "engine"):
        monkeypatch.setattr(f"backends.whisper.{module}.together", together)


def test_logprobs_are_of_the_text_alone(bench: Bench) -> None:
    bench.add("x", sound(("a", 2)), logprobs=True)
    result = bench.results()["x"]
    assert [token.token for token in result.logprobs] == [b" ", b"a"]
    assert result.logprobs[0].logprob == pytest.approx(-np.log(60000))
    assert bench.model.generated[0]["beam_size"] == 1


def test_no_room_halves_the_batch(bench: Bench) -> None:
    bench.model.room = 2
    for name in "abcd":
        bench.add(name, sound((name, 2)))
    assert texts(bench.results()) == {name: name for name in "abcd"}
    assert bench.model.encoded == [(2, 500), (2, 500)]


def test_no_room_for_one_fails_that_job_alone(bench: Bench) -> None:
    bench.model.room = 0
    bench.add("x", sound(("a", 2)))
    (failed,) = bench.run()
    assert isinstance(failed, Failed)
    assert failed.kind == "out_of_memory"


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_aborted_job_leaves_nothing(folder: Path, steps: int) -> None:
    bench = Bench(folder, most_rows=1)
    bench.add("gone", sound(("a", 4), (" ", 6), ("b", 4), (" ", 6), ("c", 4)), stream=True)
    bench.add("other", sound(("d", 4)))
    for _ in range(steps):
        bench.engine.step()
    assert bench.engine.abort("gone")
    assert not bench.engine.abort("gone")
    outputs = bench.run()
    assert {output.job_id for output in outputs} <= {"other"}
    assert bench.engine.capacity().free_sequences == 8


def test_a_job_is_let_go_while_the_model_is_at_it(bench: Bench) -> None:
    """The model cannot be stopped, but it holds up nobody's leaving; what others wait for is kept."""
    bench.model.hold.clear()
    bench.add("gone", sound(("a", 4)))
    bench.add("other", sound(("b", 4)))
    while not bench.model.generated:
        assert bench.engine.step() == []
    assert bench.engine.abort("gone")
    assert bench.engine.capacity().free_sequences == 7
    assert bench.engine.step() == []
    assert bench.engine.stats().batch_items == 0
    bench.model.hold.set()
    assert texts(bench.results()) == {"other": "b"}
    assert not bench.engine.has_work()


def test_words_of_some_of_a_batch(bench: Bench) -> None:
    bench.model.bad["b"] = [-2.0]
    bench.add("a", sound(("a", 4)), word_timestamps=True)
    bench.add("b", sound(("b", 4)), word_timestamps=True)
    results = bench.results()
    assert [len(results[name].segments[0].words) for name in "ab"] == [1, 1]
    assert bench.model.aligned_letters == [["a"], ["b"]]


def test_jobs_beyond_the_places_wait_and_can_be_given_back(folder: Path) -> None:
    bench = Bench(folder, most_recordings=1, most_rows=1)
    bench.add("one", sound(("a", 4), (" ", 6), ("b", 4)))
    bench.add("two", sound(("b", 4)))
    bench.add("three", sound(("c", 4), (" ", 6), ("d", 4)), priority=1)
    bench.engine.step()
    capacity = bench.engine.capacity()
    assert (capacity.free_sequences, capacity.queued) == (0, 2)
    assert bench.announced == ["three"]
    assert bench.engine.requeue(1) == ["two"]
    assert texts(bench.results()) == {"three": "c d", "one": "a b"}


def test_a_low_priority_is_heard_beside_many_better_ones(folder: Path) -> None:
    bench = Bench(folder, most_rows=1)
    bench.add("patient", sound(("a", 4)), priority=-1)
    for number in range(7):
        bench.add(f"better{number}", sound(*(("b", 4), (" ", 6)) * 4), priority=1)
    order = [output.job_id for output in bench.run() if isinstance(output, Finished)]
    assert order[0] == "patient"


def test_the_items_of_a_job_end_with_it(bench: Bench) -> None:
    bench.add("two", sound(("a", 2)), sound(("b", 2)))
    outputs = bench.run()
    assert [o.item for o in outputs if isinstance(o, ItemDone)] == [0, 1]
    assert sum(isinstance(o, Finished) for o in outputs) == 1


def test_a_file_is_gone_once_it_is_open(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    item = sound(("a", 2))
    path.write_bytes(item.pcm)
    bench.add("x", RecordingItem(item.samples, path=str(path)))
    assert not path.exists()
    assert bench.results()["x"].text == "a"


def test_warming_up_goes_all_the_way(bench: Bench) -> None:
    bench.engine.warm_up()
    assert (len(bench.model.encoded), len(bench.model.generated)) == (2, 2)


def test_times_of_a_long_recording_do_not_drift(bench: Bench) -> None:
    """A part of a frame at the end of each look at it would add up. The window begins a second before."""
    bench.add("long", sound((" ", 1200), ("a", 2)))
    (segment,) = bench.results()["long"].segments
    assert segment.start_s == pytest.approx(1199, abs=0.1)
    assert segment.end_s > segment.start_s
