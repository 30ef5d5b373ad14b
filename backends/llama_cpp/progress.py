"""How far llama.cpp has come with reading a file, in steps that are worth telling."""

from collections.abc import Callable
from typing import Any

from backends.llama_cpp.library import C

_STEP = 0.05


def progress_callback(report: Callable[[float], None]) -> Any:
    """What `llama_model_params.progress_callback` takes; must be kept alive while the file is read."""
    told = 0.0

    def note(fraction: float, _data: Any) -> bool:
        nonlocal told
        if fraction >= told + _STEP or (fraction >= 1.0 and told < 1.0):
            told = fraction
            report(round(fraction, 3))
        return True  # go on

    return C.llama_progress_callback(note)
