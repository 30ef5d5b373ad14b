"""Says how often the starter models are right, on drawings that training never saw.

usage: python -m training.evaluate [shapes-captioner | shapes-clip]

They are asked as the product asks them: by its own backends, with PNG files.
"""

import argparse
import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backends.blip import BlipBackend
from backends.clip import ClipBackend
from backends.protocol import (
    CaptionParameters,
    ClassifyParameters,
    Inline,
    Job,
    JobTask,
    Media,
    Parameters,
)
from config.schema import ModelSpec
from training.drawing import draw
from training.folder import STARTER
from training.world import SHAPES, Scene, caption, single_scenes, some_scene

DRAWINGS = 500
"""Of each kind."""
LONGEST = 24
"""Tokens; a caption of the world has at most 16."""
_SIDE = 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", choices=[*_EVALUATIONS, "all"], default="all")
    parser.add_argument("--folder", type=Path, default=STARTER, help="where the models' folders stand")
    parser.add_argument("--drawings", type=int, default=DRAWINGS, help="of each kind")
    asked = parser.parse_args()
    for name in [*_EVALUATIONS] if asked.model == "all" else [asked.model]:
        for what, share in _EVALUATIONS[name](asked.folder / name, asked.drawings):
            print(f"{name}: {what}: {share:.1%} of {asked.drawings}", flush=True)


def evaluate_captioner(folder: Path, count: int) -> Iterator[tuple[str, float]]:
    """Kinds of drawings, and how many of each get their caption to the letter."""
    spec = ModelSpec(
        name="shapes-captioner",
        backend="blip",
        tasks=["caption"],
        source=str(folder),
        parameters={"max_tokens": LONGEST},
    )
    model = _Asked(BlipBackend(spec, folder))
    for held_out in (True, False):
        for things in (1, 2):
            scenes = _scenes(count, held_out=held_out, things=things)
            said = [result.text for result in model.ask("caption", CaptionParameters(), scenes)]
            right = [text == caption(scene) for text, scene in zip(said, scenes, strict=True)]
            yield f"{_kind(held_out, things)}, exact captions", sum(right) / count


def evaluate_clip(folder: Path, count: int) -> Iterator[tuple[str, float]]:
    """Kinds of drawings and labels, and how many get the right label first."""
    spec = ModelSpec(name="shapes-clip", backend="clip", tasks=["classify"], source=str(folder))
    model = _Asked(ClipBackend(spec, folder))
    captions = list(map(caption, single_scenes()))
    for held_out in (True, False):
        scenes = _scenes(count, held_out=held_out, things=1)
        best = model.best(captions, "{}", scenes)
        right = [captions[index] == caption(scene) for index, scene in zip(best, scenes, strict=True)]
        yield f"{_kind(held_out, 1)}, the right one of {len(captions)} captions", sum(right) / count
        best = model.best([*SHAPES], "a {}", scenes)
        right = [SHAPES[index] == scene.first.shape for index, scene in zip(best, scenes, strict=True)]
        yield f"{_kind(held_out, 1)}, the right one of {len(SHAPES)} shapes", sum(right) / count


_EVALUATIONS = {"shapes-captioner": evaluate_captioner, "shapes-clip": evaluate_clip}


class _Asked:
    """A backend with its model loaded, asked for so many pictures at once as it takes."""

    def __init__(self, backend: BlipBackend | ClipBackend) -> None:
        self._preparer: Any = backend.preparer()
        self._engine: Any = backend.load("cpu")

    def ask(self, task: JobTask, parameters: Parameters, scenes: Sequence[Scene]) -> Iterator[Any]:
        size = self._engine.max_batch_items
        for start in range(0, len(scenes), size):
            part = scenes[start : start + size]
            pictures = [Media(Inline(_png(scene, start + index))) for index, scene in enumerate(part)]
            items = self._preparer.prepare(Job("evaluate", "model", task, parameters, [*pictures]))
            yield from self._engine.forward([None] * len(items), items)

    def best(self, labels: list[str], template: str, scenes: Sequence[Scene]) -> list[int]:
        """Place of the likeliest label of each."""
        results = self.ask("classify", ClassifyParameters(labels, template), scenes)
        return [int(np.frombuffer(result.scores, "<f4").argmax()) for result in results]


def _scenes(count: int, *, held_out: bool, things: int) -> list[Scene]:
    chance = random.Random(f"evaluate {held_out} {things}")
    return [some_scene(chance, held_out=held_out, things=things) for _ in range(count)]


def _kind(held_out: bool, things: int) -> str:
    combinations = "held-out combinations" if held_out else "combinations seen in training"
    return f"{'one thing' if things == 1 else 'two things'}, {combinations}"


def _png(scene: Scene, number: int) -> bytes:
    file = io.BytesIO()
    draw(scene, random.Random(f"evaluate {number} {caption(scene)}"), _SIDE).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
