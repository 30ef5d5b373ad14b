"""Turns a transcription job into recordings: checked parameters, decoded sound, the prompt's tokens.

Owns the request's own faults. Runs in the prepare helper; must not import ctranslate2 or faster_whisper.

Short recordings go to the engine in the message, long ones through a file, which the engine unlinks as soon
as it has opened it: see backends.media.spool.
"""

from pathlib import Path

from msgspec import field

from backends.base import JobError, PreparedItem, Preparer
from backends.media.audio import AudioLimits, decode
from backends.media.spool import INLINE_BYTES, Spool, remove
from backends.protocol import Job, Media, TranscribeParameters
from backends.whisper.files import ModelFacts
from backends.whisper.vocabulary import PROMPT_TOKENS, Vocabulary


class RecordingItem(PreparedItem, gc=False):
    """A decoded recording: 16 kHz mono, little-endian int16."""

    samples: int
    pcm: bytes = b""
    path: str = ""
    """File that holds the samples where `pcm` does not; whoever takes the item removes it."""
    prompt: list[int] = field(default_factory=list)

    def discard(self) -> None:
        remove(self.path)


class WhisperPreparer(Preparer[RecordingItem]):
    def __init__(self, folder: Path, facts: ModelFacts, max_audio_s: float) -> None:
        self._facts = facts
        self._vocabulary = Vocabulary(folder, facts.multilingual)
        self._limits = AudioLimits(max_audio_s)

    def prepare(self, job: Job) -> list[RecordingItem]:
        """One recording for each item. Raises JobError naming the parameter at fault."""
        parameters = job.parameters
        if not isinstance(parameters, TranscribeParameters):
            raise JobError("This model only transcribes.", param="model")
        self._check(job, parameters)
        prompt = checked_prompt(self._vocabulary.prompt(parameters.prompt))
        items: list[RecordingItem] = []
        try:
            for item in job.items:
                if not isinstance(item, Media):
                    raise JobError("A recording is expected.", param="file")
                items.append(self._recording(item, prompt))
        except BaseException:
            for done in items:
                done.discard()
            raise
        return items

    def _check(self, job: Job, parameters: TranscribeParameters) -> None:
        if job.task == "translate" and not self._facts.multilingual:
            raise JobError("This model hears English only: it translates nothing.", param="model")
        if parameters.language and parameters.language not in self._facts.languages:
            known = ", ".join(self._facts.languages)
            raise JobError(
                f"This model does not know the language {parameters.language[:20]!r}; it knows: {known}.",
                param="language",
            )
        temperature = parameters.temperature
        if temperature is not None and not 0 <= temperature <= 1:
            raise JobError("The temperature must be from 0 to 1.", param="temperature")
        if parameters.seed is not None:
            raise JobError("This model draws without a seed.", param="seed")

    def _recording(self, media: Media, prompt: list[int]) -> RecordingItem:
        spool = Spool("recording", INLINE_BYTES)
        try:
            samples = decode(media.blob, self._limits, spool.write)
            pcm, path = spool.finish()
            return RecordingItem(samples, pcm, path, prompt)
        finally:
            spool.close()


def checked_prompt(tokens: list[int]) -> list[int]:
    """The tokens of a prompt, if the model takes so many. Raises JobError."""
    if len(tokens) > PROMPT_TOKENS:
        raise JobError(
            f"The prompt has {len(tokens)} tokens; at most {PROMPT_TOKENS} are taken.", param="prompt"
        )
    return tokens
