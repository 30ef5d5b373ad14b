"""The engine of all voices, with one that hums."""

import pytest
from msgspec.structs import replace

from backends.protocol import (
    MAX_AUDIO_DELTA_BYTES,
    AudioDelta,
    Failed,
    Finished,
    ItemDone,
    SpeechResult,
)
from backends.speech.engine import SpeechEngine
from tests.unit.backends.speech.fakes import Humming, audio, drain, item, job


def engine(voice: Humming, most_streams: int = 8) -> SpeechEngine:
    return SpeechEngine(voice, most_streams)


def test_sound_flows_piece_by_piece_and_ends_with_the_result() -> None:
    voice = Humming()
    speaking = engine(voice)
    speaking.add(job("a"), [item("one", "four")])
    (first,) = speaking.step()
    assert isinstance(first, AudioDelta)
    assert voice.log == ["one"], "the second piece is still to be spoken"
    second, done, finished = speaking.step()
    assert isinstance(second, AudioDelta)
    assert (len(first.data), len(second.data)) == (3 * 4800, 4 * 4800)
    assert done == ItemDone("a", 0, SpeechResult(0.7, 7, 2))
    assert isinstance(finished, Finished)
    assert not speaking.has_work()


def test_a_long_text_does_not_hold_up_a_short_one() -> None:
    voice = Humming()
    speaking = engine(voice)
    speaking.add(job("long"), [item("l1", "l2", "l3", "l4")])
    speaking.step()
    speaking.add(job("short"), [item("s1")])
    drain(speaking)
    assert voice.log == ["l1", "l2", "s1", "l3", "l4"]


def test_a_piece_in_stretches_is_not_interrupted() -> None:
    voice = Humming(stretches=2)
    speaking = engine(voice)
    speaking.add(job("a"), [item("a1", "a2")])
    speaking.add(job("b"), [item("b1")])
    drain(speaking)
    assert voice.log == ["a1", "a1", "b1", "b1", "a2", "a2"]


def test_jobs_are_announced_once_and_before_they_are_spoken() -> None:
    voice = Humming()
    speaking = engine(voice)
    speaking.announce = lambda job_id: voice.log.append(f"announce {job_id}")
    speaking.add(job("a"), [item("a1", "a2")])
    speaking.add(job("b"), [item("b1")])
    drain(speaking)
    assert voice.log == ["announce a", "a1", "announce b", "b1", "a2"]


@pytest.mark.parametrize(("piece", "kind"), [("!", "internal"), ("M", "out_of_memory")])
def test_a_failing_text_fails_alone(piece: str, kind: str) -> None:
    speaking = engine(Humming())
    speaking.add(job("bad", 2), [item("x", piece), item("y", "y", "y")])
    speaking.add(job("good"), [item("gg", "g")])
    outputs = drain(speaking)
    failed = [output for output in outputs if isinstance(output, Failed)]
    assert [(output.job_id, output.kind) for output in failed] == [("bad", kind)]
    assert [output.job_id for output in outputs if isinstance(output, Finished)] == ["good"]
    assert len(audio(outputs, "good")) == 3 * 4800


def test_an_abort_takes_effect_at_the_next_piece() -> None:
    voice = Humming()
    speaking = engine(voice)
    speaking.add(job("a", 2), [item("a1", "a2"), item("a3")])
    speaking.add(job("b"), [item("b1")])
    speaking.step()
    assert speaking.abort("a")
    assert not speaking.abort("a")
    outputs = drain(speaking)
    assert voice.log == ["a1", "b1"]
    assert {output.job_id for output in outputs if isinstance(output, Finished)} == {"b"}


def test_several_items_are_kept_apart() -> None:
    speaking = engine(Humming())
    speaking.add(job("a", 2), [item("x"), item("yy", "y")])
    outputs = drain(speaking)
    assert (len(audio(outputs, "a", 0)), len(audio(outputs, "a", 1))) == (4800, 3 * 4800)
    assert sum(isinstance(output, Finished) for output in outputs) == 1
    assert isinstance(outputs[-1], Finished)


def test_more_than_the_bound_waits_and_can_be_given_back() -> None:
    speaking = engine(Humming(), most_streams=1)
    for name in "abc":
        speaking.add(job(name), [item("x", "x")])
    speaking.step()
    assert (speaking.capacity().free_sequences, speaking.capacity().queued) == (0, 2)
    assert speaking.requeue(1) == ["c"]
    assert speaking.requeue(0) == ["b"]
    assert {output.job_id for output in drain(speaking) if isinstance(output, Finished)} == {"a"}


def test_a_larger_priority_begins_first() -> None:
    voice = Humming()
    speaking = engine(voice, most_streams=1)
    for name, priority in (("a", 0), ("b", -1), ("c", 1)):
        speaking.add(replace(job(name), priority=priority), [item(name)])
    drain(speaking)
    assert voice.log == ["c", "a", "b"]


def test_long_stretches_are_sent_in_several_messages() -> None:
    speaking = engine(Humming())
    speaking.add(job("a"), [item("x" * 300)])
    outputs = drain(speaking)
    sizes = [len(output.data) for output in outputs if isinstance(output, AudioDelta)]
    assert max(sizes) <= MAX_AUDIO_DELTA_BYTES
    assert sum(sizes) == 300 * 4800


def test_a_speed_beyond_the_voice_is_made_by_stretching() -> None:
    voice = Humming()
    speaking = engine(voice)
    speaking.add(job("a"), [item("x" * 20, "y" * 20, speed=4.0)])
    done = next(output for output in drain(speaking) if isinstance(output, ItemDone))
    assert voice.speeds == [2.0]
    assert isinstance(done.result, SpeechResult)
    assert done.result.duration_s == pytest.approx(2.0, rel=0.05)


def test_warming_up_is_the_voices() -> None:
    voice = Humming()
    engine(voice).warm_up()
    assert voice.log == ["warm up"]
