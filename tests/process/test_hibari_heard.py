"""The starter voice is understood: what it reads, Whisper writes down again."""

import io

import jiwer
import pytest
from faster_whisper import WhisperModel

from backends.hibari import HibariBackend
from config.load import load_config
from tests.process.conftest import starter_weights
from tests.spoken import HARVARD, Speaker

MOST_WRONG = 0.05
NORMALISED = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip()]
)


@pytest.mark.slow
def test_whisper_base_understands_the_harvard_sentences() -> None:
    """159 words; at the last count five were wrong, among them `50` for fifty and `smokey`."""
    spec = next(model for model in load_config().models if model.name == "hibari")
    backend = HibariBackend(spec, starter_weights("hibari", "LLM_CORTEX_TEST_HIBARI"))
    speaker = Speaker(backend.preparer(), backend.load("cpu"))
    weights = starter_weights("whisper-base", "LLM_CORTEX_TEST_WHISPER")
    whisper = WhisperModel(str(weights), device="cpu", compute_type="int8")
    heard = [hear(whisper, speaker.say(sentence, format="wav", seed=0)) for sentence in HARVARD]
    spoken = [NORMALISED(sentence) for sentence in HARVARD]
    wrong = jiwer.wer(spoken, [NORMALISED(text) for text in heard])
    assert wrong <= MOST_WRONG, f"{wrong:.1%} of the words are wrong: {heard}"


def hear(whisper: WhisperModel, wav: bytes) -> str:
    segments, _ = whisper.transcribe(io.BytesIO(wav), language="en", beam_size=5)
    return " ".join(segment.text for segment in segments)
