"""Small random pipelines through the real engine: as diffusers paints them, alone and in any company."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from backends.base import OutOfMemory
from backends.diffusion import DiffusionBackend
from backends.diffusion.engine import DiffusionEngine
from backends.diffusion.folder import SCHEDULERS as TAKEN
from backends.diffusion.painter import Painter
from backends.diffusion.prompt import PromptReader
from backends.diffusion.row import Canvas
from backends.protocol import (
    Failed,
    Finished,
    Inline,
    ItemDone,
    Job,
    Media,
    Output,
    PaintParameters,
    PaintProgress,
    PaintResult,
    PictureDelta,
    Text,
)
from config.schema import ModelSpec
from tests.diffusion_checkpoint import SCHEDULERS, write_sd15, write_sdxl
from tests.drawn import HOLE, MASK, PICTURE, encoded

# Of diffusers, which does not know NumPy's newest manners.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

Pixels = npt.NDArray[np.int16]
Painted = dict[tuple[str, int, int], Pixels]
"""By job, picture and preview; -1: the finished one."""

SAME = 2
"""Of 255, what rounding in other company may do."""


# --- the models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("xl"))


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd15(tmp_path_factory.mktemp("sd"))


def backend_of(folder: Path, **parameters: Any) -> DiffusionBackend:
    settings = {"steps": 4, "guidance": 3.0, "n_threads": 1} | parameters
    spec = ModelSpec(
        name="m", backend="diffusion", tasks=["paint", "edit"], source=str(folder), parameters=settings
    )
    return DiffusionBackend(spec, folder)


class Studio:
    """A loaded model, and jobs for it."""

    def __init__(self, folder: Path, **parameters: Any) -> None:
        self.backend = backend_of(folder, **parameters)
        self.preparer = self.backend.preparer()
        self.engine = self.backend.load("cpu")
        self.engine.warm_up()
        self.painter = self.engine._painter

    def add(self, name: str, prompt: str = "a cat", *, stream: bool = False, **asked: Any) -> Job:
        job = Job(
            name,
            "m",
            "edit" if "images" in asked else "paint",
            PaintParameters(**asked),
            [Text(prompt)],
            stream,
        )
        self.engine.add(job, self.preparer.prepare(job))
        return job

    def outputs(self) -> list[Output]:
        return [output for outputs in self.steps() for output in outputs]

    def steps(self) -> Iterator[list[Output]]:
        while self.engine.has_work():
            yield self.engine.step()

    def paint(self, name: str = "job", prompt: str = "a cat", **asked: Any) -> Pixels:
        self.add(name, prompt, **asked)
        return pictures(self.outputs())[name, 0, -1]


@pytest.fixture(scope="module")
def xl(xl_folder: Path) -> Studio:
    return Studio(xl_folder)


@pytest.fixture(scope="module")
def sd(sd_folder: Path) -> Studio:
    return Studio(sd_folder)


def pictures(outputs: Sequence[Output]) -> Painted:
    """Decoded; every one is whole, and the pieces of one are never mixed with another's of its picture."""
    files: dict[tuple[str, int, int], bytes] = {}
    whole: set[tuple[str, int, int]] = set()
    for output in outputs:
        if isinstance(output, PictureDelta):
            key = (output.job_id, output.item, output.preview)
            assert key not in whole
            assert all(other in whole for other in files if other[:2] == key[:2] and other != key)
            files[key] = files.get(key, b"") + output.data
            if output.complete:
                whole.add(key)
    assert whole == set(files)
    return {key: pixels(Image.open(io.BytesIO(data))) for key, data in files.items()}


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB")).astype(np.int16)


def apart(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one - other).max())


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def media(image: Image.Image) -> Media:
    return Media(Inline(encoded(image)))


# --- as the library ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_pictures_are_those_of_diffusers(xl: Studio, sd: Studio, guidance: float) -> None:
    for studio in (xl, sd):
        made = studio.paint(seed=3, guidance=guidance, negative_prompt="dog" if guidance else "")
        theirs = studio.painter._pipe(
            "a cat",
            negative_prompt="dog",
            num_inference_steps=4,
            guidance_scale=guidance,
            generator=generator(3),
        ).images[0]
        assert apart(made, pixels(theirs)) <= SAME


def test_edits_are_those_of_diffusers(xl: Studio, sd: Studio) -> None:
    for studio in (xl, sd):
        made = studio.paint(seed=3, images=[media(PICTURE)], strength=0.6)
        theirs = studio.painter._pipelines.picture(
            "a cat",
            image=PICTURE,
            num_inference_steps=4,
            strength=0.6,
            guidance_scale=3.0,
            generator=generator(3),
        ).images[0]
        assert apart(made, pixels(theirs)) <= SAME


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_a_masked_edit_is_that_of_diffusers_and_keeps_the_rest(sd: Studio, strength: float) -> None:
    made = sd.paint(seed=3, images=[media(PICTURE)], mask=media(MASK), strength=strength)
    theirs = sd.painter._pipelines.mask(
        "a cat",
        image=PICTURE,
        mask_image=Image.fromarray(HOLE.astype(np.uint8) * 255),
        num_inference_steps=4,
        strength=strength,
        guidance_scale=3.0,
        generator=generator(3),
        height=64,
        width=64,
    ).images[0]
    assert apart(made[HOLE], pixels(theirs)[HOLE]) <= SAME
    assert apart(made[~HOLE], pixels(PICTURE)[~HOLE]) == 0
    assert apart(made[HOLE], pixels(PICTURE)[HOLE]) > SAME


def test_strength_is_how_much_changes(xl: Studio) -> None:
    """One step of few hardly leaves the picture; all steps forget it."""
    little = xl.paint(seed=1, images=[media(PICTURE)], strength=0.05, steps=20)
    much = xl.paint(seed=1, images=[media(PICTURE)], strength=1.0, steps=20)
    forgotten = xl.paint(seed=1, steps=20)
    original = xl.painter.pixels(xl.painter._drawn(xl.painter._encoded(_item(xl)), generator(1)))
    assert apart(little, pixels(original)) < apart(much, pixels(original))
    assert apart(much, forgotten) > 0


def _item(studio: Studio) -> Any:
    job = Job("j", "m", "edit", PaintParameters(images=[media(PICTURE)]), [Text("a")])
    return studio.preparer.prepare(job)[0]


@pytest.mark.parametrize("name", ["Heun", "LCM", "DPMSolverMultistep", "DDIM", "Euler"])
def test_schedulers_keep_each_picture_s_state(xl_folder: Path, tmp_path: Path, name: str) -> None:
    """Of several steps, of noise drawn on the way, of two calls a step: as alone, and as in the library."""
    folder = tmp_path / "model"
    shutil.copytree(xl_folder, folder)
    kind = SCHEDULERS[name]
    kind.from_config(json.loads((folder / "scheduler/scheduler_config.json").read_text())).save_pretrained(
        folder / "scheduler"
    )
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", kind.__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    studio = Studio(folder)
    theirs = studio.painter._pipe(
        "a cat", num_inference_steps=4, guidance_scale=3.0, generator=generator(3)
    ).images[0]
    studio.add("early", "dog", seed=8, steps=6)
    early = [studio.engine.step(), studio.engine.step()]
    studio.add("cat", seed=3)
    made = pictures([*early[0], *early[1], *studio.outputs()])
    assert apart(made["cat", 0, -1], pixels(theirs)) <= SAME
    assert apart(made["early", 0, -1], studio.paint("early", "dog", seed=8, steps=6)) <= SAME


def test_every_scheduler_on_the_list_paints(xl_folder: Path) -> None:
    studio = Studio(xl_folder)
    config = studio.painter._scheduler.config
    for name in TAKEN:
        studio.painter._scheduler = getattr(diffusers, name).from_config(config, skip_prk_steps=True)
        for steps in (1, 3):
            studio.add("a", seed=1, steps=steps, previews=steps // 2)
            studio.add("b", "dog", seed=2, steps=steps, guidance=0.0)
            assert len(pictures(studio.outputs())) == 2 + steps // 2, name


# --- in company -------------------------------------------------------------------------------------------

JOBS: dict[str, dict[str, Any]] = {
    "plain": {"seed": 3},
    "two": {"seed": 9, "n": 2, "steps": 7, "guidance": 0.0},
    "guided": {"prompt": "dog", "seed": 1, "guidance": 7.5, "negative_prompt": "cat"},
    "wide": {"seed": 4, "width": 72, "height": 56},
    "edit": {"seed": 5, "images": [media(PICTURE)], "strength": 0.5},
    "masked": {"seed": 6, "images": [media(PICTURE)], "mask": media(MASK), "steps": 3},
}


def test_the_same_seed_gives_the_same_picture_alone_and_in_company(xl: Studio) -> None:
    alone: Painted = {}
    for name, asked in JOBS.items():
        xl.add(name, **asked)
        alone |= pictures(xl.outputs())
    together: list[Output] = []
    shared = 0
    for name, asked in JOBS.items():  # each joins while others are at other steps
        xl.add(name, **asked)
        together += xl.engine.step()
    for outputs in xl.steps():
        together += outputs
        shared = max(shared, xl.engine.stats().batch_items)
    made = pictures(together)
    assert made.keys() == alone.keys()
    for key, picture in made.items():
        assert apart(picture, alone[key]) <= SAME, key
    assert shared >= 3
    assert sum(isinstance(output, Finished) for output in together) == len(JOBS)


def test_picture_k_has_seed_k(xl: Studio) -> None:
    xl.add("many", seed=20, n=3)
    outputs = xl.outputs()
    made = pictures(outputs)
    results = [output.result for output in outputs if isinstance(output, ItemDone)]
    assert [r.seed for r in results if isinstance(r, PaintResult)] == [20, 21, 22]
    assert apart(made["many", 2, -1], xl.paint(seed=22)) <= SAME
    assert apart(made["many", 0, -1], made["many", 1, -1]) > SAME


def test_one_prompt_is_read_once_for_all_its_pictures(xl: Studio) -> None:
    read: list[Any] = []
    hook = xl.painter._pipe.text_encoder.register_forward_hook(lambda *values: read.append(values))
    xl.add("many", "a prompt that nobody has read before", n=4, guidance=0.0)
    xl.outputs()
    hook.remove()
    assert len(read) == 1


def test_a_long_one_does_not_block_a_short_one(xl: Studio) -> None:
    xl.add("long", steps=60, seed=1)
    xl.add("wide", steps=60, seed=1, width=72, height=56)
    for _ in range(4):
        xl.engine.step()
    xl.add("short", steps=2, seed=1)
    ended = [
        (number, output.job_id)
        for number, outputs in enumerate(xl.steps())
        for output in outputs
        if isinstance(output, Finished)
    ]
    assert ended[0][1] == "short"
    assert ended[0][0] <= 6
    assert len(ended) == 3


def test_an_abort_leaves_the_survivors_as_they_are(xl: Studio) -> None:
    alone = xl.paint("stays", seed=3, steps=8)
    outputs: list[Output] = []
    xl.add("stays", seed=3, steps=8)
    xl.add("goes", "dog", seed=5, n=2, steps=30)
    xl.add("waits", "dog", seed=5, steps=30, n=10)
    for _ in range(4):
        outputs += xl.engine.step()
    assert xl.engine.abort("goes")
    outputs += xl.engine.step()
    assert xl.engine.abort("waits")
    outputs += xl.outputs()
    assert apart(pictures(outputs)["stays", 0, -1], alone) <= SAME
    assert {output.job_id for output in outputs if isinstance(output, ItemDone | Finished)} == {"stays"}
    assert not xl.engine.abort("goes")
    assert xl.engine.capacity().free_sequences == 4 * 4


def test_an_abort_between_the_last_step_and_the_end(xl: Studio) -> None:
    xl.add("goes", seed=5, steps=1, n=3)
    xl.engine.step()
    xl.engine.step()
    assert xl.engine.abort("goes")
    assert not xl.engine.has_work()


def test_jobs_that_have_not_begun_are_given_back(xl: Studio) -> None:
    xl.add("runs", steps=2)
    xl.engine.step()
    for number in range(3):
        xl.add(f"waits{number}")
    assert xl.engine.requeue(1) == ["waits2", "waits1"]
    ended = [output.job_id for output in xl.outputs() if isinstance(output, Finished)]
    assert sorted(ended) == ["runs", "waits0"]


# --- on the way -------------------------------------------------------------------------------------------


def test_a_control_token_in_a_prompt_stays_text(xl: Studio) -> None:
    read: list[list[int]] = []
    hook = xl.painter._pipe.text_encoder.register_forward_pre_hook(
        lambda module, given: read.append(given[0][0].tolist())
    )
    xl.paint(prompt="a <|endoftext|> cat", guidance=0.0)
    hook.remove()
    spelled = xl.painter._pipe.tokenizer.convert_tokens_to_ids([*"endoftex"])
    assert [token for token in read[0] if token in spelled][:8] == spelled


def test_previews_and_progress(xl: Studio) -> None:
    xl.add("plain", seed=3, steps=6)
    plain = xl.outputs()
    assert not any(isinstance(output, PaintProgress) for output in plain)
    xl.add("seen", seed=3, steps=6, previews=2, stream=True)
    outputs = xl.outputs()
    progress = [(o.step, o.steps) for o in outputs if isinstance(o, PaintProgress)]
    assert progress == [(step, 6) for step in range(1, 7)]
    made = pictures(outputs)
    assert [key[2] for key in made] == [0, 1, -1]
    assert apart(made["seen", 0, -1], pictures(plain)["plain", 0, -1]) == 0
    assert apart(made["seen", 0, 0], made["seen", 0, 1]) > 0
    kinds = [type(o).__name__ for o in outputs]
    assert kinds.index("PictureDelta") < kinds.index("PaintProgress", kinds.index("PictureDelta"))


def test_formats(xl: Studio) -> None:
    png = xl.paint(seed=3)
    for form in ("jpeg", "webp"):
        xl.add("job", seed=3, format=form, compression=100)
        (delta,) = [output for output in xl.outputs() if isinstance(output, PictureDelta)]
        with Image.open(io.BytesIO(delta.data)) as image:
            assert image.format == form.upper()
            assert np.abs(pixels(image) - png).mean() < 12
    assert png.shape == (64, 64, 3)


def test_what_a_step_did_is_counted(xl: Studio) -> None:
    xl.add("two", n=2, steps=3)
    done = 0
    for _ in xl.steps():
        stats = xl.engine.stats()
        done += stats.denoise_steps
        assert stats.step_s >= 0
    assert done == 6


# --- failures ---------------------------------------------------------------------------------------------


class Cramped(Painter):
    """Has room for so many pictures in a step, and none at all for those of one seed."""

    room = 2
    never = -1
    calls: list[int]

    def predict(self, canvases: Sequence[Canvas], guidance: Sequence[float]) -> torch.Tensor:
        self.calls.append(len(canvases))
        seeds = [canvas.generator.initial_seed() for canvas in canvases]
        if len(canvases) > self.room or self.never in seeds:
            raise OutOfMemory("no room, as scripted")
        return super().predict(canvases, guidance)


def cramped(xl: Studio) -> tuple[Studio, Cramped]:
    made = object.__new__(Studio)
    made.__dict__.update(xl.__dict__)
    painter = Cramped(xl.painter._pipelines, xl.painter._facts, "cpu")
    painter.calls = []
    made.painter = painter
    made.engine = DiffusionEngine(painter, xl.engine._sample, batch_items=4, max_step_s=10.0)
    return made, painter


def test_a_step_that_has_no_room_is_taken_in_parts(xl: Studio) -> None:
    studio, painter = cramped(xl)
    studio.add("many", seed=20, n=4, steps=1)
    made = pictures(studio.outputs())
    assert painter.calls == [4, 2, 2]
    assert apart(made["many", 3, -1], xl.paint(seed=23, steps=1)) <= SAME


def test_a_picture_that_has_no_room_fails_alone(xl: Studio) -> None:
    studio, painter = cramped(xl)
    painter.never = 6
    studio.add("fits", seed=3)
    studio.add("not", seed=6)
    studio.add("too", seed=9)
    outputs = studio.outputs()
    (failed,) = [output for output in outputs if isinstance(output, Failed)]
    assert (failed.job_id, failed.kind) == ("not", "out_of_memory")
    assert {key[0] for key in pictures(outputs)} == {"fits", "too"}
    assert apart(pictures(outputs)["fits", 0, -1], xl.paint(seed=3)) <= SAME


def test_a_picture_whose_scheduler_fails_does_so_alone(xl: Studio) -> None:
    """The others have taken that step, and do not take it twice."""
    studio, painter = cramped(xl)
    painter.room = 4
    alone = xl.paint(seed=3)
    studio.add("early", seed=3)
    studio.add("breaks", seed=6, n=2)
    studio.add("late", seed=9)
    outputs = studio.engine.step()
    for row in studio.engine._running:
        if row.job.id == "breaks" and row.index == 0 and row.canvas is not None:
            row.canvas.options = {"no_scheduler_knows": "this"}
    before = len(painter.calls)
    outputs += studio.engine.step()
    assert painter.calls[before:] == [4]
    outputs += studio.outputs()
    (failed,) = [output for output in outputs if isinstance(output, Failed)]
    assert (failed.job_id, failed.kind) == ("breaks", "internal")
    made = pictures(outputs)
    assert {key[0] for key in made} == {"early", "late"}
    assert apart(made["early", 0, -1], alone) <= SAME
    assert apart(made["late", 0, -1], xl.paint(seed=9)) <= SAME


def test_a_picture_of_no_numbers_is_a_failure(xl: Studio) -> None:
    studio, _ = cramped(xl)
    studio.add("fits", seed=3, steps=2)
    studio.add("breaks", seed=9, steps=2)
    outputs = studio.engine.step()
    for row in studio.engine._running:
        if row.job.id == "breaks" and row.canvas is not None:
            row.canvas.latents = row.canvas.latents * float("nan")
    outputs += studio.outputs()
    (failed,) = [output for output in outputs if isinstance(output, Failed)]
    assert (failed.job_id, failed.kind) == ("breaks", "internal")
    assert "not finite" in failed.message
    assert {key[0] for key in pictures(outputs)} == {"fits"}


def test_steps_that_take_long_are_taken_by_fewer(xl: Studio) -> None:
    now = 0.0

    class Slow(Painter):
        def predict(self, canvases: Sequence[Canvas], guidance: Sequence[float]) -> torch.Tensor:
            nonlocal now
            now += 3.0 * len(canvases)
            return super().predict(canvases, guidance)

    painter = Slow(xl.painter._pipelines, xl.painter._facts, "cpu")
    engine = DiffusionEngine(painter, xl.engine._sample, batch_items=8, max_step_s=7.0, clock=lambda: now)
    job = Job("many", "m", "paint", PaintParameters(n=8, steps=3), [Text("a cat")])
    engine.add(job, xl.preparer.prepare(job))
    taken = []
    while engine.has_work():
        engine.step()
        taken.append(engine.stats().batch_items)
    steps = [count for count in taken if count]
    assert steps[0] == 8
    assert set(steps[1:]) <= {1, 2}
    assert sum(steps) == 24


# --- folders ----------------------------------------------------------------------------------------------


def test_the_older_pair_of_tokenizer_files(xl: Studio, xl_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(xl_folder, folder)
    for part in (folder / "tokenizer", folder / "tokenizer_2"):
        saved = json.loads((part / "tokenizer.json").read_text())["model"]
        (part / "tokenizer.json").unlink()
        (part / "vocab.json").write_text(json.dumps(saved["vocab"]))
        (part / "merges.txt").write_text("#version: 0.2\n")
    assert (
        apart(Studio(folder).paint(prompt="a big cat!", seed=3), xl.paint(prompt="a big cat!", seed=3))
        <= SAME
    )


def test_no_weights_stay_in_mapped_files(xl_folder: Path, tmp_path: Path) -> None:
    """Those that were copied would count twice."""
    folder = tmp_path / "model"
    shutil.copytree(xl_folder, folder)
    studio = Studio(folder)
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = {Path(line.split()[-1]).parent.name for line in lines if f"{folder}/" in line}
    assert mapped <= {"text_encoder", "text_encoder_2"}  # which nothing copies
    assert studio.paint(seed=3).shape == (64, 64, 3)


def test_weights_of_16_bits_alone(tmp_path: Path) -> None:
    folder = write_sdxl(tmp_path / "half", variant="fp16")
    assert not list(folder.rglob("model.safetensors"))
    assert Studio(folder).paint(seed=1).shape == (64, 64, 3)


def test_other_number_formats_and_savings_paint(xl_folder: Path) -> None:
    plain = Studio(xl_folder)
    assert apart(Studio(xl_folder, attention_slicing=True).paint(seed=3), plain.paint(seed=3)) <= SAME
    assert Studio(xl_folder, vae_tiling=True).paint(seed=3).shape == (64, 64, 3)
    assert Studio(xl_folder, dtype="bfloat16").paint(seed=3).shape == (64, 64, 3)


def test_weights_that_are_missing_are_not_made_up(xl_folder: Path, tmp_path: Path) -> None:
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder_2", "model")):
        folder = tmp_path / part
        shutil.copytree(xl_folder, folder)
        weights = folder / part / f"{file}.safetensors"
        tensors = load_file(weights)
        del tensors[sorted(tensors)[0]]
        save_file(tensors, weights, {"format": "pt"})
        with pytest.raises(ValueError, match="hold no weights for"):
            backend_of(folder).load("cpu")


def test_a_damaged_file_is_named(xl_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(xl_folder, folder)
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="vae"):
        backend_of(folder).load("cpu")


def test_prompts_are_counted_as_transformers_does(xl_folder: Path, tmp_path: Path) -> None:
    """From either form of the tokenizer's files."""
    theirs = CLIPTokenizer.from_pretrained(xl_folder / "tokenizer")
    older = tmp_path / "tokenizer"
    older.mkdir()
    saved = json.loads((xl_folder / "tokenizer/tokenizer.json").read_text())["model"]
    (older / "vocab.json").write_text(json.dumps(saved["vocab"]))
    (older / "merges.txt").write_text("#version: 0.2\n")
    theirs.split_special_tokens = True
    texts = [
        "a cat <|endoftext|> dog",
        "a cat",
        "",
        "A  big CAT's  hat, 42 times!",
        "don't",
        "x" * 100,
        "naïve café",
    ]
    for reader in (PromptReader(xl_folder, 77), PromptReader(tmp_path, 77)):
        assert reader.most == 75
        for text in texts:
            assert reader.count(text) == len(theirs(text, add_special_tokens=False).input_ids), text


def test_describing_and_preparing_import_no_torch(xl_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from config.schema import ModelSpec\n"
        "from backends.diffusion import DiffusionBackend\n"
        "from backends.protocol import Job, PaintParameters, Text\n"
        f"spec = ModelSpec(name='m', backend='diffusion', tasks=['paint'], source={str(xl_folder)!r})\n"
        f"made = DiffusionBackend(spec, Path({str(xl_folder)!r})); made.describe()\n"
        "made.preparer().prepare(Job('j', 'm', 'paint', PaintParameters(), [Text('a cat')]))\n"
        "assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
