"""The Whisper backend with its real starter models on real speech: texts, times, batches, bounds."""

import time
from pathlib import Path

import jiwer
import numpy as np
import pytest

from backends.protocol import (
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
from backends.whisper import WhisperBackend
from backends.whisper.engine import WhisperEngine
from backends.whisper.parallel import calls_and_threads
from backends.whisper.prepare import WhisperPreparer
from config.load import cache_dir, load_config
from config.parameters import WhisperParameters
from config.schema import ModelSpec, Task
from tests.process.conftest import starter_weights
from tests.wer.corpus import Clip, audioeval
from tests.wer.wav import wav

RATE = 16_000


class Whisper:
    """A model as a worker would hold it."""

    def __init__(self, name: str, tasks: list[Task]) -> None:
        folder = starter_weights(name, "LLM_CORTEX_TEST_" + name.upper().replace("-", "_").replace(".", "_"))
        parameters = {"max_step_s": 60}  # a busy machine must not make batches smaller here
        spec = ModelSpec(name=name, backend="whisper", tasks=tasks, source=str(folder), parameters=parameters)
        self.backend = WhisperBackend(spec, folder)
        self.preparer: WhisperPreparer = self.backend.preparer()
        self.engine: WhisperEngine = self.backend.load("cpu")
        self.engine.warm_up()

    def add(self, name: str, data: bytes, task: JobTask = "transcribe", **options: object) -> None:
        stream = bool(options.pop("stream", False))
        parameters = TranscribeParameters(**options)  # type: ignore[arg-type]
        job = Job(name, "m", task, parameters, [Media(Inline(data))], stream)
        self.engine.add(job, self.preparer.prepare(job))

    def run(self) -> list[Output]:
        outputs = []
        while self.engine.has_work():
            outputs += self.engine.step()
        return outputs

    def hear(self, data: bytes, task: JobTask = "transcribe", **options: object) -> TranscriptionResult:
        self.add("one", data, task, **options)
        return results(self.run())["one"]


def results(outputs: list[Output]) -> dict[str, TranscriptionResult]:
    done = [output for output in outputs if isinstance(output, ItemDone)]
    return {o.job_id: o.result for o in done if isinstance(o.result, TranscriptionResult)}


@pytest.fixture(scope="module")
def base() -> Whisper:
    return Whisper("whisper-base", ["transcribe", "translate"])


@pytest.fixture(scope="module")
def tiny() -> Whisper:
    return Whisper("whisper-tiny.en", ["transcribe"])


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return audioeval(cache_dir(load_config()))


@pytest.fixture(scope="module")
def english(clips: list[Clip]) -> list[Clip]:
    return [clip for clip in clips if clip.language == "en"]


def spoken(clips: list[Clip], name: str) -> bytes:
    return wav(next(clip.samples for clip in clips if clip.name == name))


def joined(clips: list[Clip], pause_s: float, repeats: int = 1) -> bytes:
    pause = np.zeros(int(pause_s * RATE), np.int16)
    return wav(np.concatenate([part for clip in clips * repeats for part in (clip.samples, pause)]))


def words(text: str) -> list[str]:
    return [letters for word in text.lower().split() if (letters := "".join(filter(str.isalnum, word)))]


FOX = "the quick brown fox jumps over the lazy dog"


def test_both_models_hear_english(base: Whisper, tiny: Whisper, clips: list[Clip]) -> None:
    data = spoken(clips, "en/quick_brown_fox")
    for whisper in (base, tiny):
        result = whisper.hear(data)
        assert jiwer.wer(FOX, " ".join(words(result.text))) == 0
        assert result.language == "en"
        assert result.duration_s == pytest.approx(len(data) / 2 / RATE, abs=0.01)
        assert 0 <= result.segments[0].start_s < result.segments[-1].end_s <= result.duration_s


def test_eight_clips_together_say_what_they_say_alone(base: Whisper, clips: list[Clip]) -> None:
    chosen = [clip for clip in clips if 2 < len(clip.samples) / RATE < 4][:8]  # one encoder window
    alone = {clip.name: base.hear(wav(clip.samples)) for clip in chosen}
    for clip in chosen:
        base.add(clip.name, wav(clip.samples))
    outputs: list[Output] = []
    largest = 0
    while base.engine.has_work():
        outputs += base.engine.step()
        largest = max(largest, base.engine.stats().batch_items)
    calls, _ = calls_and_threads(WhisperParameters(), "cpu")
    assert largest == 8 // calls
    together = results(outputs)
    texts = {name: result.text for name, result in together.items()}
    assert texts == {name: result.text for name, result in alone.items()}


def test_the_language_is_found(base: Whisper, clips: list[Clip]) -> None:
    for name in ("fr/pangrama", "it/pangrama", "ja/pangrama"):
        result = base.hear(spoken(clips, name))
        assert result.language == name[:2]
        assert 0.5 < result.language_probability <= 1


def test_a_translation_is_english(base: Whisper, clips: list[Clip]) -> None:
    result = base.hear(spoken(clips, "fr/bonjour_monde"), "translate", language="fr")
    assert "world" in result.text.lower()


def test_words_are_timed_in_order_within_the_recording(tiny: Whisper, clips: list[Clip]) -> None:
    result = tiny.hear(spoken(clips, "en/quick_brown_fox"), word_timestamps=True)
    found = [word for segment in result.segments for word in segment.words]
    assert words(" ".join(word.word for word in found)) == FOX.split()
    times = [time for word in found for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= result.duration_s
    assert all(0 < word.probability <= 1 for word in found)
    assert "".join(word.word for word in found).strip() == result.text


def test_logprobs_spell_the_text(tiny: Whisper, clips: list[Clip]) -> None:
    result = tiny.hear(spoken(clips, "en/quick_brown_fox"), logprobs=True)
    assert b"".join(token.token for token in result.logprobs).decode().strip() == result.text
    sure = [token.logprob for token in result.logprobs if token.logprob is not None]
    assert len(sure) == len(result.logprobs)
    assert all(-20 < logprob <= 0 for logprob in sure)
    assert np.mean(sure) > -1


def test_a_long_recording_keeps_order_and_times_and_streams(tiny: Whisper, english: list[Clip]) -> None:
    data = joined(english, pause_s=4, repeats=6)
    tiny.add("long", data, stream=True)
    steps = []
    while tiny.engine.has_work():
        steps.append(tiny.engine.step())
    deltas = [o for step in steps for o in step if isinstance(o, TranscriptDelta)]
    result = results([o for step in steps for o in step])["long"]
    segments = [segment for delta in deltas for segment in delta.segments]
    assert segments == result.segments
    assert len(deltas) > 1
    assert not any(isinstance(o, ItemDone) for step in steps[:-1] for o in step)
    times = [time for segment in segments for time in (segment.start_s, segment.end_s)]
    assert times == sorted(times)
    assert words(result.text).count("fox") == 6
    period_s = result.duration_s / 6
    foxes = [s.start_s % period_s for s in segments if "fox" in s.text]
    assert max(foxes) - min(foxes) < 1.5


def test_a_short_request_does_not_wait_for_a_long_recording(tiny: Whisper, english: list[Clip]) -> None:
    tiny.add("long", joined(english, pause_s=4, repeats=20))
    tiny.engine.step()
    tiny.add("short", wav(english[0].samples))
    ended: list[str] = []
    while tiny.engine.has_work():
        ended += results(tiny.engine.step())
    assert ended == ["short", "long"]


def test_an_abort_frees_at_once(tiny: Whisper, english: list[Clip]) -> None:
    tiny.add("long", joined(english, pause_s=4, repeats=20))
    tiny.engine.step()
    assert tiny.engine.abort("long")
    assert not tiny.engine.has_work()
    assert "fox" in tiny.hear(wav(english[2].samples)).text.lower()


@pytest.mark.parametrize("loudness", [0, 300, 3000, 15000])
def test_silence_and_noise_are_quick(tiny: Whisper, loudness: int) -> None:
    noise = np.random.default_rng(1).normal(0, loudness, 30 * RATE).clip(-32768, 32767).astype(np.int16)
    began_at = time.monotonic()
    result = tiny.hear(wav(noise))
    assert time.monotonic() - began_at < 60
    assert len(words(result.text)) < 20
    if loudness == 0:
        assert (result.text, result.segments) == ("", [])


def test_music_is_bounded(base: Whisper) -> None:
    """Tones that rise and fall like a voice: nothing to be heard, and the model may try again and again."""
    moments = np.arange(30 * RATE) / RATE
    pitch = 200 + 80 * np.sin(2 * np.pi * 3 * moments)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.abs(np.sin(2 * np.pi * 2 * moments))
    began_at = time.monotonic()
    base.hear(wav((tone * 12000).astype(np.int16)))
    assert time.monotonic() - began_at < 120


def test_a_description_needs_no_weights(base: Whisper, tiny: Whisper) -> None:
    multilingual, english = base.backend.describe(), tiny.backend.describe()
    assert set(multilingual.tasks) - {"listen"} == {"transcribe", "translate"}
    assert set(english.tasks) - {"listen"} == {"transcribe"}
    assert english.languages == ["en"]
    assert {"en", "de", "zh", "haw"} <= set(multilingual.languages)
    assert len(multilingual.languages) == 99
    assert "seed" not in multilingual.parameters


def test_an_english_model_that_is_to_translate_is_refused(tiny: Whisper) -> None:
    spec = ModelSpec(name="t", backend="whisper", tasks=["translate"], source="x")
    with pytest.raises(ValueError, match="English only"):
        WhisperBackend(spec, tiny.backend.weights).describe()


def test_weights_that_are_none(tmp_path: Path, tiny: Whisper) -> None:
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).write_bytes((tiny.backend.weights / name).read_bytes())
    (tmp_path / "model.bin").write_bytes(b"\0" * 1000)
    spec = ModelSpec(name="t", backend="whisper", tasks=["transcribe"], source=str(tmp_path))
    with pytest.raises(ValueError, match="model"):
        WhisperBackend(spec, tmp_path).load("cpu")


def test_numbers_that_the_device_cannot_compute_in(tiny: Whisper) -> None:
    parameters: dict[str, object] = {"compute_type": "float16"}
    spec = ModelSpec(name="t", backend="whisper", tasks=["transcribe"], source="x", parameters=parameters)
    with pytest.raises(ValueError, match="float16"):
        WhisperBackend(spec, tiny.backend.weights).load("cpu")
