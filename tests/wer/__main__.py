"""`make wer`: word error rate of this product and of faster-whisper itself, same model and options.

The normaliser is Whisper's own, as transformers has it: EnglishTextNormalizer for English,
BasicTextNormalizer elsewhere, with characters as words where a language has no spaces. Rates are pooled over
all words. Ends with status 1 where ours is more than 0.5 % absolute above the other.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import jiwer
import numpy as np
import yaml
from faster_whisper import WhisperModel
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from backends.protocol import Inline, ItemDone, Job, Media, TranscribeParameters, TranscriptionResult
from backends.whisper import WhisperBackend
from config.load import cache_dir, load_config
from gateway.weights.progress import Silent
from gateway.weights.store import WeightsStore
from tests.wer.corpus import Clip, corpus
from tests.wer.wav import wav

ALLOWED = 0.005
SEED = 7
"""Of what is drawn at temperatures above 0."""
_UNSPACED = ("ja", "zh")
_DIGIT = re.compile(r"\d")
"""Each is a word: 1-2-3 and "one, two, three" are no different transcripts."""
Transcribe = Callable[[list[Clip]], list[str]]


def ours(backend: WhisperBackend) -> Transcribe:
    """All clips at once, as requests that come together."""
    preparer, engine = backend.preparer(), backend.load("cpu")
    engine.warm_up()

    def transcribe(clips: list[Clip]) -> list[str]:
        for number, clip in enumerate(clips):
            parameters = TranscribeParameters(language=clip.language)
            media = Media(Inline(wav(clip.samples)))
            job = Job(str(number), "whisper", "transcribe", parameters, [media])
            engine.add(job, preparer.prepare(job))
        texts: dict[str, str] = {}
        while engine.has_work():
            for output in engine.step():
                if isinstance(output, ItemDone) and isinstance(output.result, TranscriptionResult):
                    texts[output.job_id] = output.result.text
        return [texts[str(number)] for number in range(len(clips))]

    return transcribe


def direct(folder: Path, options: dict[str, Any]) -> Transcribe:
    """faster-whisper with its own loop, one clip after the other."""
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)

    def transcribe(clips: list[Clip]) -> list[str]:
        texts = []
        for clip in clips:
            sound = clip.samples.astype(np.float32) / 32768.0
            segments, _ = model.transcribe(sound, language=clip.language, **options)
            texts.append("".join(segment.text for segment in segments))
        return texts

    return transcribe


def normalised(text: str, language: str) -> str:
    if language == "en":
        return _DIGIT.sub(r" \g<0> ", str(EnglishTextNormalizer({})(text)))
    return str(BasicTextNormalizer(split_letters=language in _UNSPACED)(text)).strip()


class Rate:
    """Errors of some transcripts."""

    def __init__(self, clips: list[Clip], texts: list[str]) -> None:
        wanted = [normalised(clip.text, clip.language) for clip in clips]
        heard = [normalised(text, clip.language) for clip, text in zip(clips, texts, strict=True)]
        found = jiwer.process_words(wanted, heard)
        self.words = found.hits + found.substitutions + found.deletions
        self.wer = found.wer


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wer", description=__doc__)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="a parameter of ours")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--show", action="store_true", help="print the texts")
    asked = parser.parse_args(arguments)
    ctranslate2.set_random_seed(SEED)
    config = load_config()
    spec = next(spec for spec in config.models if spec.name == asked.model)
    cache = cache_dir(config)
    folder = WeightsStore(cache).pull(spec, Silent())
    spec.parameters.update(
        {name: yaml.safe_load(value) for name, _, value in (s.partition("=") for s in asked.set)}
    )
    backend = WhisperBackend(spec, folder)
    languages = backend.facts().languages
    clips = [clip for clip in corpus(cache) if clip.language in languages]
    sides: dict[str, Transcribe] = {"ours": ours(backend)}
    if not asked.ours_only:
        sides["faster-whisper"] = direct(folder, {"beam_size": backend.parameters.beam_size})
    return report(clips, sides, asked.show)


def report(clips: list[Clip], sides: dict[str, Transcribe], show: bool) -> int:
    rates = {}
    for name, transcribe in sides.items():
        began_at = time.monotonic()
        texts = transcribe(clips)
        seconds = time.monotonic() - began_at
        if show:
            for clip, text in zip(clips, texts, strict=True):
                print(f"{name} | {clip.name} | {text.strip()}")
        rates[name] = Rate(clips, texts)
        print(f"{name}: {rates[name].wer:.2%} of {rates[name].words} words, {seconds:.1f} s")
        for group, chosen in _groups(clips).items():
            rate = Rate([clips[i] for i in chosen], [texts[i] for i in chosen])
            print(f"  {group}: {rate.wer:.2%} of {rate.words}")
    if len(rates) < 2:
        return 0
    difference = rates["ours"].wer - rates["faster-whisper"].wer
    print(f"difference: {difference:+.2%} absolute, {ALLOWED:.2%} allowed")
    return int(difference > ALLOWED)


def _groups(clips: list[Clip]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        kind = "longer recordings" if clip.name.startswith("joined") else "English clips"
        groups.setdefault(kind if clip.language == "en" else "other languages", []).append(place)
        if kind == "English clips" and clip.language == "en" and len(groups[kind]) % 2 == 0:
            groups.setdefault("every other English clip, nothing was chosen by these", []).append(place)
    return groups


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
