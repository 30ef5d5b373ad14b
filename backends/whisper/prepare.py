"""Turns a transcription job into recordings: checked parameters, decoded sound, the prompt's tokens.

Owns the request's own faults. Runs in the prepare helper; must not import ctranslate2 or faster_whisper.

Short recordings go to the engine in the message, long ones through a file in the worker's own temporary
folder, which the engine unlinks as soon as it has opened it.
"""

import os
import sys
import tempfile
from pathlib import Path

from msgspec import field

from backends.base import JobError, PreparedItem, Preparer
from backends.media.audio import AudioLimits, decode
from backends.protocol import Job, Media, TranscribeParameters
from backends.whisper.files import ModelFacts
from backends.whisper.vocabulary import PROMPT_TOKENS, Vocabulary

INLINE_BYTES = 4 * 1024 * 1024
"""Two minutes: far below the cap on a message."""


class RecordingItem(PreparedItem, gc=False):
    """A decoded recording: 16 kHz mono, little-endian int16."""

    samples: int
    pcm: bytes = b""
    path: str = ""
    """File that holds the samples where `pcm` does not; whoever takes the item removes it."""
    prompt: list[int] = field(default_factory=list)

    def discard(self) -> None:
        if self.path:
            Path(self.path).unlink(missing_ok=True)


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
        spool = _Spool()
        try:
            samples = decode(media.blob, self._limits, spool.write)
            return spool.item(samples, prompt)
        finally:
            spool.close()


def checked_prompt(tokens: list[int]) -> list[int]:
    """The tokens of a prompt, if the model takes so many. Raises JobError."""
    if len(tokens) > PROMPT_TOKENS:
        raise JobError(
            f"The prompt has {len(tokens)} tokens; at most {PROMPT_TOKENS} are taken.", param="prompt"
        )
    return tokens


class _Spool:
    """Collects samples in memory, and in a file once they are many.

    The file has no name until it is whole (where the system can do that), so that a helper that is killed
    while it decodes leaves nothing behind.
    """

    def __init__(self) -> None:
        self._memory = bytearray()
        self._file: int | None = None
        self._path = ""

    def write(self, piece: bytes) -> None:
        self._memory += piece
        if len(self._memory) > INLINE_BYTES:
            if self._file is None:
                self._open()
            self._flush()

    def item(self, samples: int, prompt: list[int]) -> RecordingItem:
        if self._file is None:
            return RecordingItem(samples, bytes(self._memory), prompt=prompt)
        self._flush()
        if not self._path:
            path = os.path.join(tempfile.gettempdir(), f"recording-{os.urandom(8).hex()}")
            self._name(path)
            self._path = path
        path, self._path = self._path, ""
        return RecordingItem(samples, path=path, prompt=prompt)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        if self._path:
            os.unlink(self._path)

    def _open(self) -> None:
        folder = tempfile.gettempdir()
        if sys.platform == "linux":
            try:
                self._file = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
                return
            except OSError:  # a file system without nameless files
                pass
        self._file, self._path = tempfile.mkstemp(prefix="recording-", dir=folder)

    def _name(self, path: str) -> None:
        """Only with a folder's descriptor does os.link follow the link that a nameless file has in /proc."""
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(str(self._file), path, src_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)

    def _flush(self) -> None:
        assert self._file is not None
        view = memoryview(bytes(self._memory))
        while view:
            view = view[os.write(self._file, view) :]
        self._memory.clear()
