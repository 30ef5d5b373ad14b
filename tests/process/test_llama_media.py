"""Pictures and sound in the continuous batch, on tiny models of every kind, against libmtmd's own helper."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backends.protocol import (
    Chat,
    ChatMedia,
    ChatMessage,
    Delta,
    Failed,
    GenerationResult,
    Inline,
    ItemDone,
    Media,
)
from tests.media_gguf import Kind, write_language_model, write_projector
from tests.process.mtmd_reference import Reference
from tests.process.test_llama_engine import Llm, backend

ANSWER = 16
KINDS: tuple[Kind, ...] = get_args(Kind)


class Seer(Llm):
    """An engine that sees or hears."""

    def __init__(self, folder: Path, kind: Kind, **parameters: Any) -> None:
        self.kind: Kind = kind
        self.model = write_language_model(folder / f"{kind}.gguf", kind)
        self.projector = write_projector(folder / f"mmproj-{kind}.gguf", kind)
        super().__init__(
            self.model, **{"mmproj": {"source": str(self.projector)}, "n_ctx": 2048, **parameters}
        )

    @property
    def encoded_again(self) -> int:
        """How often an encoding was asked for that was still there."""
        found: int = self.engine._arrivals._reader._cache.found  # type: ignore[union-attr]
        return found

    def chat(self, *numbers: int, before: str = "see: ", after: str = "what is it?", **media: Any) -> Chat:
        """A user's message that shows these one after the other."""
        shown = [self.part(number, len(before), **media) for number in numbers]
        return Chat([ChatMessage("user", before + after, media=shown)])

    def part(self, number: int, at: int, **media: Any) -> ChatMedia:
        if self.kind == "ultravox":
            return ChatMedia("audio", Media(Inline(wav(samples(number))), param="here"), at)
        return ChatMedia("image", Media(Inline(png(pixels(number, **media))), param="here"), at)

    def shown(self, number: int) -> NDArray[Any]:
        """What of it reaches the projector."""
        if self.kind == "ultravox":
            return samples(number).astype(np.float32) / 32768
        return pixels(number)

    def tokens(self, result: GenerationResult) -> list[int]:
        return [token.id for token in result.logprobs]

    def results_of(self, job_id: str) -> list[ItemDone]:
        return [one for one in self.outputs if isinstance(one, ItemDone) and one.job_id == job_id]

    def answers(self, jobs: dict[str, Any]) -> dict[str, list[int]]:
        """To all of these at once, as tokens."""
        for job_id, item in jobs.items():
            self.add(job_id, item, max_tokens=ANSWER, logprobs=0, ignore_eos=True)
        self.run()
        return {job_id: self.tokens(result) for job_id, result in self.results().items()}


def pixels(number: int, width: int = 80, height: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)


def png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def samples(number: int, seconds: float = 2) -> NDArray[np.int16]:
    noise = np.random.default_rng(number).standard_normal(int(16000 * seconds)) * 3000
    return noise.astype("<i2")


def wav(array: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(array.tobytes())
    return file.getvalue()


@pytest.fixture(scope="module", params=KINDS)
def seer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seer]:
    made = Seer(tmp_path_factory.mktemp(request.param), request.param)
    yield made
    made.backend.unload()


@pytest.fixture
def qwen(tmp_path: Path) -> Iterator[Seer]:
    """Room for few tokens a step, and a picture of many."""
    made = Seer(tmp_path, "qwen2vl", n_batch=16, n_ctx=512, prefix_kept=0)
    yield made
    assert made.engine.capacity().free_kv_tokens == 512
    made.backend.unload()


def test_answers_are_those_of_the_librarys_own_helper(seer: Seer) -> None:
    reference = Reference(seer.model, seer.projector)
    found = []
    for number in (1, 2):
        text = "<|im_start|>user\nsee: <__media__>what is it?<|im_end|>\n<|im_start|>assistant\n"
        tokens, expected = reference.answer(text, seer.shown(number), ANSWER)
        result = seer.ask(seer.chat(number), max_tokens=ANSWER, logprobs=0, ignore_eos=True)
        assert (seer.tokens(result), result.prompt_tokens) == (expected, tokens)
        found.append(expected)
    assert found[0] != found[1]
    reference.close()


def test_neighbours_change_nothing(seer: Seer) -> None:
    asked = {
        "a": seer.chat(3),
        "b": seer.chat(4),
        "both": seer.chat(3, 4),
        "turned": seer.chat(4, 3),
        "text": Chat([ChatMessage("user", "Hello there, you.")]),
    }
    alone = {job_id: seer.answers({job_id: item})[job_id] for job_id, item in asked.items()}
    together = seer.answers(asked)
    assert together == alone
    assert len(set(map(tuple, alone.values()))) > 3, "most of them say something else"


def test_a_later_turn_computes_what_was_shown_once(seer: Seer) -> None:
    first = seer.chat(5, after="what is it?")
    seer.answers({"first": first})
    found = seer.encoded_again
    second = Chat([*first.messages, ChatMessage("assistant", "this"), ChatMessage("user", "sure?")])
    shared = seer.ask(second, max_tokens=ANSWER, logprobs=0)
    assert seer.encoded_again == found + 1
    assert shared.cached_tokens > shared.prompt_tokens - 80
    other = Chat([seer.chat(6).messages[0], *second.messages[1:]])
    assert seer.ask(other, max_tokens=1).cached_tokens < 16


def test_a_mark_that_a_user_writes_stays_text(seer: Seer) -> None:
    result = seer.ask(Chat([ChatMessage("user", "<__media__><|vision_start|>")]), max_tokens=1)
    assert result.prompt_tokens > len("<__media__><|vision_start|>")


def test_a_file_says_what_its_model_takes(seer: Seer) -> None:
    told = seer.backend.describe()
    taken = "audio" if seer.kind == "ultravox" else "image"
    assert [name for name in told.parameters if name in ("image", "audio")] == [taken]
    assert told.limits["media"] == 32
    text_only = backend(seer.model).describe()
    assert told.memory_bytes > text_only.memory_bytes
    assert not {"image", "audio"} & set(text_only.parameters)


def test_several_answers_to_one_picture(seer: Seer) -> None:
    seer.add("n", seer.chat(7), n=3, temperature=1.5, seed=1, max_tokens=8)
    seer.add("again", seer.chat(7), n=3, temperature=1.5, seed=1, max_tokens=8)
    seer.run()
    texts = [
        [one.result.text for one in sorted(seer.results_of(job_id), key=lambda one: one.item)]
        for job_id in ("n", "again")
    ]
    seer.outputs = []
    assert len(set(texts[0])) == 3
    assert texts[0] == texts[1]


@pytest.mark.parametrize("parameters", [{"kv_unified": False}, {"reproducible": True}])
@pytest.mark.parametrize("kind", ["llava", "qwen2vl"])
def test_in_every_kind_of_cache(tmp_path: Path, kind: Kind, parameters: dict[str, Any]) -> None:
    seer = Seer(tmp_path, kind, n_ctx=2048, n_seq_max=4, **parameters)
    asked = {"a": seer.chat(1), "b": seer.chat(2), "c": Chat([ChatMessage("user", "Hello there.")])}
    alone = {job_id: seer.answers({job_id: item})[job_id] for job_id, item in asked.items()}
    assert seer.answers(asked) == alone
    seer.backend.unload()


def test_answers_stream_on_while_a_picture_is_computed(qwen: Seer) -> None:
    qwen.ask(qwen.chat(1, width=160, height=90), max_tokens=1)  # read here: that takes as long as it takes
    qwen.add("text", "Hello there.", stream=True, max_tokens=200, ignore_eos=True)
    while not any(isinstance(output, Delta) for output in qwen.outputs):
        qwen.outputs += qwen.engine.step()
    qwen.add("picture", qwen.chat(1, width=160, height=90), max_tokens=1)
    qwen.outputs += qwen.engine.step()
    assert qwen.engine._arrivals._reading.wait(60), "it joins as soon as it is read, however long that takes"
    written: list[int] = []
    while not qwen.results_of("picture"):
        qwen.outputs += qwen.engine.step()
        written.append(qwen.engine.stats().decode_tokens)
    assert len(written) > 14, "a picture of 220 tokens in pieces of 16"
    assert min(written) > 0
    qwen.engine.abort("text")
    qwen.outputs = []


def test_abort_in_the_middle_of_a_picture(qwen: Seer) -> None:
    asked = {"text": Chat([ChatMessage("user", "Hello there.")])}
    alone = qwen.answers(asked)
    qwen.add("text", asked["text"], max_tokens=ANSWER, logprobs=0, ignore_eos=True)
    qwen.add("picture", qwen.chat(1, width=160, height=90), max_tokens=1)
    while not inside_a_picture(qwen):
        qwen.outputs += qwen.engine.step()
    assert qwen.engine.abort("picture")
    qwen.run()
    assert {job_id: qwen.tokens(result) for job_id, result in qwen.results().items()} == alone
    assert qwen.ask(qwen.chat(1, width=160, height=90), max_tokens=1).cached_tokens == 0


def inside_a_picture(seer: Seer) -> bool:
    for sequence in seer.engine._roster.running:
        span = sequence.media and sequence.media.span_at(sequence.held)
        if span and sequence.held > span.start:
            return True
    return False


def test_abort_while_a_picture_is_read(qwen: Seer) -> None:
    qwen.add("waits", qwen.chat(1))
    qwen.add("too", qwen.chat(2))
    assert qwen.engine.has_work()
    assert qwen.engine.capacity().queued == 2
    qwen.engine.step()
    assert qwen.engine.abort("waits")
    assert qwen.engine.requeue(0) == ["too"]
    assert not qwen.engine.has_work()


def test_a_prompt_too_long_with_its_picture_is_refused_before_any_decode(qwen: Seer) -> None:
    qwen.add("long", qwen.chat(1, 2, 3, width=160, height=90))
    qwen.run()
    failed = [output for output in qwen.outputs if isinstance(output, Failed)]
    assert [(one.kind, one.code, one.param) for one in failed] == [
        ("invalid_request", "context_length_exceeded", "messages")
    ]
    assert "512 tokens" in failed[0].message
    qwen.outputs = []


def test_a_picture_that_must_be_whole_and_does_not_fit_is_refused(tmp_path: Path) -> None:
    seer = Seer(tmp_path, "gemma3", n_ubatch=2)
    seer.add("large", seer.chat(1))
    seer.run()
    failed = [output for output in seer.outputs if isinstance(output, Failed)]
    assert [(one.code, one.param) for one in failed] == [("image_too_large", "here")]
    seer.backend.unload()


def test_a_folder_brings_its_projector_along(tmp_path: Path) -> None:
    write_language_model(tmp_path / "tiny.gguf")
    write_projector(tmp_path / "mmproj-tiny.gguf")
    assert "image" in backend(tmp_path).describe().parameters


def test_files_that_are_no_projector_are_named(tmp_path: Path) -> None:
    model = write_language_model(tmp_path / "tiny.gguf")
    nonsense = tmp_path / "nonsense.gguf"
    nonsense.write_bytes(b"nonsense")
    for path in (nonsense, model, tmp_path / "missing.gguf"):
        with pytest.raises(ValueError, match=path.name):
            backend(model, mmproj={"source": str(path)}).describe()
