"""Sequences for tests, without an engine around them."""

from typing import Any

import numpy as np

from backends.chat.answer import AnswerFormat
from backends.llama_cpp.answer import GrowingAnswer
from backends.llama_cpp.sequence import JobState, Sequence
from backends.protocol import GenerateParameters, Job, Text


def sequence(
    prompt: list[int],
    max_new: int = 50,
    *,
    guide: Any = None,
    stream: bool = False,
    visible: frozenset[int] = frozenset(),
    **parameters: Any,
) -> Sequence:
    """One whose prompt is computed."""
    wanted = GenerateParameters(**parameters)
    owner = JobState(Job("job", "m", "generate", wanted, [Text("")], stream=stream), 0.0)
    answer = GrowingAnswer("job", 0, AnswerFormat(), wanted.stop, streams=stream)
    made = Sequence(
        owner,
        0,
        np.array(prompt, dtype=np.int32),
        max_new,
        answer,
        make_chain=lambda: None,
        make_guide=lambda: guide,
        echo="".join(map(chr, prompt)) if wanted.echo else "",
        visible=visible,
    )
    made.guide = guide
    made.held = made.length
    return made
