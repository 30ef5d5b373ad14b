"""BLIP and CLIP through the real backends: as transformers has it, alone and in company."""

import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor, CLIPModel, CLIPTokenizerFast
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from backends.base import JobError
from backends.batch_runner import BatchRunner
from backends.blip import BlipBackend
from backends.blip.engine import BlipEngine
from backends.clip import ClipBackend
from backends.clip.engine import ClipEngine
from backends.media.image import ImageLimits, read_image
from backends.protocol import (
    CaptionParameters,
    CaptionResult,
    ClassifyParameters,
    ClassifyResult,
    EmbeddingResult,
    EmbedParameters,
    Inline,
    Item,
    ItemDone,
    Job,
    JobTask,
    Media,
    Parameters,
    Result,
    Text,
)
from backends.vision import files
from backends.vision.preprocessing import fit, read_preprocessing
from config.schema import ModelSpec, Task
from tests.vision_checkpoints import write_blip, write_clip

SIZES = [(32, 32), (100, 40), (40, 100), (301, 17), (7, 5), (64, 64)]
LABELS = ["a cat", "dog", "the red boat"]


def picture(size: tuple[int, int], seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 3 + 2, size[0] // 3 + 2, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(size, seed) for seed, size in enumerate(SIZES)]


def decoded(data: bytes) -> Image.Image:
    return read_image(Inline(data), ImageLimits())


def spec(backend: str, folder: Path, tasks: list[Task], **parameters: Any) -> ModelSpec:
    return ModelSpec(name="m", backend=backend, tasks=tasks, source=str(folder), parameters=parameters)


def job(task: JobTask, parameters: Parameters, items: Sequence[Item | bytes], name: str = "job") -> Job:
    media = [Media(Inline(item)) if isinstance(item, bytes) else item for item in items]
    return Job(name, "m", task, parameters, media)


def run(runner: "BatchRunner[Any]", count: int) -> dict[tuple[str, int], Result]:
    """Results of `count` items by job and place."""
    done: dict[tuple[str, int], Result] = {}
    while runner.has_work():
        done |= {(o.job_id, o.item): o.result for o in runner.step() if isinstance(o, ItemDone)}
    assert len(done) == count
    return done


def floats(data: bytes) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.frombuffer(data, "<f4")


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def blip(blip_folder: Path) -> BlipBackend:
    return BlipBackend(spec("blip", blip_folder, ["caption"], max_tokens=12), blip_folder)


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> ClipBackend:
    return ClipBackend(spec("clip", clip_folder, ["classify", "embed"]), clip_folder)


@pytest.fixture(scope="module")
def captioner(blip: BlipBackend) -> BlipEngine:
    engine = blip.load("cpu")
    engine.warm_up()
    return engine


@pytest.fixture(scope="module")
def clip_engine(clip: ClipBackend) -> ClipEngine:
    engine = clip.load("cpu")
    engine.warm_up()
    return engine


# --- preprocessing ---------------------------------------------------------------------------------------


def test_pixels_are_those_of_transformers(blip_folder: Path, clip_folder: Path) -> None:
    pairs = [(blip_folder, BlipImageProcessorPil), (clip_folder, CLIPImageProcessorPil)]
    for folder, kind in pairs:
        theirs, ours = kind.from_pretrained(folder), read_preprocessing(folder, 32)
        for data in PICTURES:
            expected = theirs(decoded(data), do_rescale=False, do_normalize=False)["pixel_values"][0]
            made = np.frombuffer(fit(decoded(data), ours), np.uint8).reshape(32, 32, 3).transpose(2, 0, 1)
            assert np.abs(made.astype(int) - np.asarray(expected).astype(int)).max() <= 1


# --- BLIP ------------------------------------------------------------------------------------------------


def caption(blip: BlipBackend, engine: BlipEngine, parameters: CaptionParameters) -> list[CaptionResult]:
    items = blip.preparer().prepare(job("caption", parameters, PICTURES))
    return [r for item in items for r in engine.forward([parameters], [item]) if isinstance(r, CaptionResult)]


@pytest.mark.parametrize("prompt", ["", "a photo of"])
def test_captions_are_those_of_transformers(
    blip: BlipBackend, captioner: BlipEngine, blip_folder: Path, prompt: str
) -> None:
    model = BlipForConditionalGeneration.from_pretrained(blip_folder)
    processor = BlipProcessor.from_pretrained(blip_folder)
    expected = []
    for data in PICTURES:
        inputs = processor(images=decoded(data), text=prompt or None, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        written = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        expected.append(processor.decode(written[0], skip_special_tokens=True))
    results = caption(blip, captioner, CaptionParameters(prompt))
    assert [result.text for result in results] == expected
    assert len(set(expected)) > 1
    assert all(result.text.startswith(prompt) for result in results)
    assert {result.prompt_tokens for result in results} == {len(prompt.split())}


def test_captions_of_many_requests_are_what_they_are_alone(blip: BlipBackend, captioner: BlipEngine) -> None:
    asked = [CaptionParameters(), CaptionParameters("a photo of"), CaptionParameters("the red cat", 3)]
    alone = [result for parameters in asked for result in caption(blip, captioner, parameters)]
    runner = BatchRunner(captioner)
    for number, parameters in enumerate(asked):
        one = job("caption", parameters, PICTURES, f"job-{number}")
        runner.add(one, blip.preparer().prepare(one))
    together = run(runner, len(asked) * len(PICTURES))
    assert [together[f"job-{n}", i] for n in range(len(asked)) for i in range(len(PICTURES))] == alone
    assert {result.completion_tokens for result in alone[-len(PICTURES) :]} <= {0, 1, 2, 3}


def test_pictures_that_fill_the_encoder_go_through_it_one_by_one(
    blip: BlipBackend, captioner: BlipEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = caption(blip, captioner, CaptionParameters())
    monkeypatch.setattr(files, "_CPU_TOKENS", 1)
    engine = blip.load("cpu")
    seen: list[int] = []
    engine._model.vision_model.register_forward_hook(lambda _, __, output: seen.append(len(output[0])))
    assert caption(blip, engine, CaptionParameters()) == together
    assert seen == [1] * len(PICTURES)


def test_jobs_share_a_call(blip: BlipBackend, captioner: BlipEngine) -> None:
    runner = BatchRunner(captioner)
    for number in range(6):
        one = job("caption", CaptionParameters("a cat" if number % 2 else "a dog"), PICTURES[:1], f"{number}")
        runner.add(one, blip.preparer().prepare(one))
    runner.step()
    assert runner.stats().batch_items == 6
    assert not runner.has_work()


def test_a_caption_ends_by_itself_or_at_its_length(blip: BlipBackend, captioner: BlipEngine) -> None:
    results = caption(blip, captioner, CaptionParameters(max_tokens=1))
    assert {(r.completion_tokens, r.finish_reason) for r in results} <= {(1, "length"), (0, "stop")}


def test_a_prompt_that_leaves_no_room_is_refused(blip: BlipBackend) -> None:
    with pytest.raises(JobError) as caught:
        blip.preparer().prepare(job("caption", CaptionParameters("cat " * 23), PICTURES[:1]))
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
    (item,) = blip.preparer().prepare(job("caption", CaptionParameters("cat " * 20, 500), PICTURES[:1]))
    assert item.max_tokens == 3


def test_a_typed_control_token_is_text(blip: BlipBackend) -> None:
    (item,) = blip.preparer().prepare(job("caption", CaptionParameters("a [SEP]"), PICTURES[:1]))
    assert item.ids[0] == 5
    assert 3 not in item.ids


def test_a_picture_that_is_none_names_its_place(blip: BlipBackend) -> None:
    broken = Media(Inline(b"<svg/>"), param="images[1]")
    with pytest.raises(JobError) as caught:
        blip.preparer().prepare(job("caption", CaptionParameters(), [PICTURES[0], broken]))
    assert (caught.value.param, caught.value.code) == ("images[1]", "invalid_image")


def test_beams(blip_folder: Path) -> None:
    backend = BlipBackend(spec("blip", blip_folder, ["caption"], num_beams=3, max_tokens=6), blip_folder)
    engine = backend.load("cpu")
    alone = caption(backend, engine, CaptionParameters())
    items = backend.preparer().prepare(job("caption", CaptionParameters(), PICTURES))
    assert engine.forward([None] * len(items), items) == alone


def test_settings_of_a_saved_processor_are_read_too(tmp_path: Path, blip_folder: Path) -> None:
    folder = write_blip(tmp_path, processor=True)
    assert not (folder / "preprocessor_config.json").exists()
    assert read_preprocessing(folder, 32) == read_preprocessing(blip_folder, 32)


def test_the_description_is_the_models(blip: BlipBackend, clip: ClipBackend) -> None:
    told = blip.describe()
    assert (told.tasks, told.context_length, told.limits) == (["caption"], 24, {"images": 64})
    told = clip.describe()
    assert (told.tasks, told.dimensions, told.context_length) == (["classify", "embed"], 16, 24)
    assert told.memory_bytes > 400 * 1024 * 1024


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, clip_folder: Path, file: str) -> None:
    shutil.copytree(clip_folder, tmp_path / "model")
    (tmp_path / "model" / file).unlink()
    with pytest.raises(ValueError, match=r"safetensors|config.json"):
        ClipBackend(spec("clip", tmp_path / "model", ["embed"]), tmp_path / "model").describe()


def test_other_models_are_refused(clip_folder: Path, blip_folder: Path) -> None:
    with pytest.raises(ValueError, match="not supported"):
        BlipBackend(spec("blip", clip_folder, ["caption"]), clip_folder).describe()
    with pytest.raises(ValueError, match="not supported"):
        ClipBackend(spec("clip", blip_folder, ["embed"]), blip_folder).describe()
    with pytest.raises(ValueError, match="nothing else"):
        ClipBackend(spec("clip", clip_folder, ["caption"]), clip_folder).describe()


def test_describing_and_preparing_import_no_torch(blip_folder: Path, clip_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from config.schema import ModelSpec\n"
        "from backends.blip import BlipBackend; from backends.clip import ClipBackend\n"
        f"for kind, tasks, path in ((BlipBackend, ['caption'], {str(blip_folder)!r}),"
        f" (ClipBackend, ['embed'], {str(clip_folder)!r})):\n"
        "    told = {'max_tokens': 12} if kind is BlipBackend else {}\n"
        "    spec = ModelSpec(name='m', backend='x', tasks=tasks, source=path, parameters=told)\n"
        "    made = kind(spec, Path(path))\n"
        "    made.describe(); made.preparer()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- CLIP ------------------------------------------------------------------------------------------------


def theirs(folder: Path, texts: list[str]) -> Any:
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizerFast.from_pretrained(folder)
    images = CLIPImageProcessorPil.from_pretrained(folder)(
        [decoded(data) for data in PICTURES], return_tensors="pt"
    )
    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, return_tensors="pt"), **images)


def test_scores_are_those_of_transformers(
    clip: ClipBackend, clip_engine: ClipEngine, clip_folder: Path
) -> None:
    parameters = ClassifyParameters(LABELS, "see {}")
    items = clip.preparer().prepare(job("classify", parameters, PICTURES))
    results = clip_engine.forward([parameters] * len(items), items)
    made = np.array([floats(r.scores) for r in results if isinstance(r, ClassifyResult)])
    expected = theirs(clip_folder, [f"see {label}" for label in LABELS]).logits_per_image.softmax(dim=1)
    assert made == pytest.approx(expected.numpy(), abs=2e-2)
    assert made.sum(axis=1) == pytest.approx(np.ones(len(PICTURES)), abs=1e-5)
    assert (made.argmax(axis=1) == expected.argmax(dim=1).numpy()).all()


def test_vectors_are_those_of_transformers(
    clip: ClipBackend, clip_engine: ClipEngine, clip_folder: Path
) -> None:
    items = clip.preparer().prepare(job("embed", EmbedParameters(), [*map(Text, LABELS), *PICTURES]))
    results = [r for item in items for r in clip_engine.forward([None], [item])]
    made = np.array([floats(r.vector) for r in results if isinstance(r, EmbeddingResult)])
    expected = theirs(clip_folder, LABELS)
    assert made[: len(LABELS)] == pytest.approx(expected.text_embeds.numpy(), abs=1e-4)
    assert made[len(LABELS) :] == pytest.approx(expected.image_embeds.numpy(), abs=2e-2)
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(len(made)), abs=1e-5)


def test_pictures_and_texts_of_many_requests_are_what_they_are_alone(
    clip: ClipBackend, clip_engine: ClipEngine
) -> None:
    classify, embed = ClassifyParameters(LABELS), EmbedParameters()
    jobs = [
        job("classify", classify, PICTURES, "a"),
        job("embed", embed, [Text("cat"), *PICTURES, Text("a longer text")], "b"),
        job("classify", ClassifyParameters(["x", "y"]), PICTURES, "c"),
    ]
    runner = BatchRunner(clip_engine)
    for one in jobs:
        runner.add(one, clip.preparer().prepare(one))
    together = run(runner, sum(len(one.items) for one in jobs))
    for one in jobs:
        for index, item in enumerate(clip.preparer().prepare(one)):
            (alone,) = clip_engine.forward([one.parameters], [item])
            other = together[one.id, index]
            if isinstance(alone, ClassifyResult) and isinstance(other, ClassifyResult):
                assert floats(alone.scores) == pytest.approx(floats(other.scores), abs=1e-4)
            elif isinstance(alone, EmbeddingResult) and isinstance(other, EmbeddingResult):
                assert floats(alone.vector) == pytest.approx(floats(other.vector), abs=1e-5)
            else:
                raise AssertionError(alone, other)


def test_more_labels_than_are_kept_are_all_weighed(clip: ClipBackend, clip_engine: ClipEngine) -> None:
    labels = [f"{first}{second}" for first in "abcdefghijklmnop" for second in "abcdefghijklmnop"]
    parameters = ClassifyParameters(labels)
    for _ in range(2):
        (item,) = clip.preparer().prepare(job("classify", parameters, PICTURES[:1]))
        (result,) = clip_engine.forward([parameters], [item])
        assert isinstance(result, ClassifyResult)
        assert len(floats(result.scores)) == 256


def test_long_texts_are_refused(clip: ClipBackend) -> None:
    with pytest.raises(JobError) as caught:
        clip.preparer().prepare(job("classify", ClassifyParameters(["cat", "c" * 30]), PICTURES[:1]))
    assert (caught.value.param, caught.value.code) == ("labels[1]", "context_length_exceeded")
    with pytest.raises(JobError) as caught:
        clip.preparer().prepare(job("embed", EmbedParameters(), [PICTURES[0], Text("c" * 30)]))
    assert "Input 1" in caught.value.message


def test_more_pictures_than_a_frame_holds_are_refused(clip: ClipBackend) -> None:
    with pytest.raises(JobError) as caught:
        clip.preparer().prepare(job("embed", EmbedParameters(), [PICTURES[0]] * 65))
    assert caught.value.param == "images"
