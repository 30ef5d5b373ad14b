"""What a live transcription session is set to, in the current shape and in the older one. Pure.

An update names what is to change: a field left out stays, null resets it. What cannot be honoured is refused
by its name, and then nothing of the update counts.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backends.protocol import Description, SessionParameters, VoiceActivity
from compat.errors import invalid, unsupported
from compat.openai.raw import ABSENT, is_one_of

LOGPROBS = "item.input_audio_transcription.logprobs"
_RATES = (16000, 24000)
_MOST_MS = 10_000
_LONGEST_PROMPT = 4096
_PCM = "audio/pcm"


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what a client sends."""


class Transcription(_Part, frozen=True):
    model: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    prompt: str | UnsetType | None = UNSET
    languages: Raw = ABSENT
    keywords: Raw = ABSENT
    delay: Raw = ABSENT


class TurnDetection(_Part, frozen=True):
    type: str = "server_vad"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    create_response: Raw = ABSENT
    interrupt_response: Raw = ABSENT
    idle_timeout_ms: Raw = ABSENT
    eagerness: Raw = ABSENT


class AudioFormat(_Part, frozen=True):
    type: str = _PCM
    rate: int | None = None


class AudioInput(_Part, frozen=True):
    format: AudioFormat | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    noise_reduction: Raw = ABSENT


class Audio(_Part, frozen=True):
    input: AudioInput | None = None
    output: Raw = ABSENT


class SessionUpdate(_Part, frozen=True):
    """`session` of a session.update."""

    type: str = "transcription"
    audio: Audio | None = None
    include: list[str] | UnsetType | None = UNSET


class OlderSessionUpdate(_Part, frozen=True):
    """`session` of a transcription_session.update."""

    input_audio_format: str | UnsetType | None = UNSET
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    input_audio_noise_reduction: Raw = ABSENT
    include: list[str] | UnsetType | None = UNSET


class Names(Struct, frozen=True):
    """Where the fields stand in the update that a client sent, for refusals."""

    format: str = "session.audio.input.format"
    transcription: str = "session.audio.input.transcription"
    turn_detection: str = "session.audio.input.turn_detection"
    noise_reduction: str = "session.audio.input.noise_reduction"


OLDER_NAMES = Names(
    "session.input_audio_format",
    "session.input_audio_transcription",
    "session.turn_detection",
    "session.input_audio_noise_reduction",
)


class Settings(Struct, frozen=True):
    """A session as it is set now. `model` is the name that the client gave; empty: none yet."""

    model: str = ""
    parameters: SessionParameters = SessionParameters()

    def updated(self, update: SessionUpdate) -> "Settings":
        """Raises InvalidRequest."""
        if update.type != "transcription":
            raise unsupported("session.type", "Only sessions of type 'transcription' are served here.")
        audio = update.audio or Audio()
        if not is_one_of(bytes(audio.output), ()):
            raise unsupported("session.audio.output")
        return self._with_input(audio.input or AudioInput(), update.include, Names())

    def updated_older(self, update: OlderSessionUpdate) -> "Settings":
        """Raises InvalidRequest."""
        form = update.input_audio_format
        if form not in (UNSET, None, "pcm16"):
            raise unsupported("session.input_audio_format", "Only 'pcm16' is taken.")
        audio = AudioInput(
            UNSET if form is UNSET else None,
            update.input_audio_transcription,
            update.turn_detection,
            update.input_audio_noise_reduction,
        )
        return self._with_input(audio, update.include, OLDER_NAMES)

    def _with_input(
        self, audio: AudioInput, include: list[str] | UnsetType | None, names: Names
    ) -> "Settings":
        if not is_one_of(bytes(audio.noise_reduction), ()):
            raise unsupported(names.noise_reduction)
        changes: dict[str, Any] = {}
        if audio.format is not UNSET:
            changes["sample_rate"] = _sample_rate(audio.format or AudioFormat(), names.format)
        if audio.turn_detection is not UNSET:
            changes["voice_activity"] = _voice_activity(audio.turn_detection, names.turn_detection)
        if include is not UNSET:
            changes["logprobs"] = _logprobs(include or [])
        model = self.model
        if audio.transcription is not UNSET:
            if audio.transcription is None:
                raise unsupported(names.transcription, "A transcription session transcribes: not null.")
            changes |= _transcription(audio.transcription, names.transcription)
            named = audio.transcription.model
            model = named if isinstance(named, str) and named else model
        return Settings(model, msgspec.structs.replace(self.parameters, **changes))


def check(settings: Settings, description: Description) -> None:
    """What this model cannot do. Raises InvalidRequest."""
    parameters = settings.parameters
    if parameters.logprobs and "logprobs" not in description.parameters:
        raise unsupported("session.include", f"This model does not give '{LOGPROBS}'.")
    languages = description.languages
    if parameters.language and languages and parameters.language not in languages:
        raise invalid(Names().transcription + ".language", "this model does not know that language.")


def _sample_rate(form: AudioFormat, param: str) -> int:
    if form.type != _PCM:
        raise unsupported(f"{param}.type", f"Only '{_PCM}' is taken.")
    rate = form.rate or 24000
    if rate not in _RATES:
        raise invalid(f"{param}.rate", "16000 or 24000.")
    return rate


def _voice_activity(detection: TurnDetection | UnsetType | None, param: str) -> VoiceActivity | None:
    if not isinstance(detection, TurnDetection):
        return None
    if detection.type != "server_vad":
        raise unsupported(f"{param}.type", "Only 'server_vad' is served, or null for turns by commit.")
    for name, harmless in _HARMLESS.items():
        if not is_one_of(bytes(getattr(detection, name)), harmless):
            raise unsupported(f"{param}.{name}")
    threshold = detection.threshold
    if threshold is not None and not 0 <= threshold <= 1:
        raise invalid(f"{param}.threshold", "from 0 to 1.")
    for name in ("prefix_padding_ms", "silence_duration_ms"):
        value = getattr(detection, name)
        if value is not None and not 0 <= value <= _MOST_MS:
            raise invalid(f"{param}.{name}", f"from 0 to {_MOST_MS}.")
    return VoiceActivity(threshold, detection.prefix_padding_ms, detection.silence_duration_ms)


_HARMLESS: dict[str, tuple[Any, ...]] = {
    "create_response": (False,),
    "interrupt_response": (False,),
    "idle_timeout_ms": (),
    "eagerness": (),
}
"""There are no responses here, so asking for none is fine."""


def _logprobs(include: list[str]) -> bool:
    for name in include:
        if name != LOGPROBS:
            raise unsupported("session.include", f"Only '{LOGPROBS}' can be included.")
    return bool(include)


def _transcription(asked: Transcription, param: str) -> dict[str, Any]:
    for name in ("languages", "keywords", "delay"):
        if not is_one_of(bytes(getattr(asked, name)), ()):
            raise unsupported(f"{param}.{name}")
    changes: dict[str, Any] = {}
    if asked.language is not UNSET:
        changes["language"] = asked.language or ""
    if asked.prompt is not UNSET:
        changes["prompt"] = asked.prompt or ""
        if len(changes["prompt"]) > _LONGEST_PROMPT:
            raise invalid(f"{param}.prompt", f"at most {_LONGEST_PROMPT} characters.")
    return changes


# --- how it is told --------------------------------------------------------------------------------------


def render(settings: Settings, session_id: str, expires_at: int) -> dict[str, Any]:
    """The session object of the current shape."""
    parameters = settings.parameters
    return {
        "id": session_id,
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": {"type": _PCM, "rate": parameters.sample_rate},
                "transcription": _told_transcription(settings),
                "turn_detection": _told_detection(parameters.voice_activity),
                "noise_reduction": None,
            }
        },
        "include": [LOGPROBS] if parameters.logprobs else [],
    }


def render_older(settings: Settings, session_id: str, expires_at: int) -> dict[str, Any]:
    """The session object of the older shape."""
    parameters = settings.parameters
    return {
        "id": session_id,
        "object": "realtime.transcription_session",
        "expires_at": expires_at,
        "modalities": ["text"],
        "input_audio_format": "pcm16",
        "input_audio_transcription": _told_transcription(settings),
        "turn_detection": _told_detection(parameters.voice_activity),
        "input_audio_noise_reduction": None,
        "include": [LOGPROBS] if parameters.logprobs else [],
    }


def _told_transcription(settings: Settings) -> dict[str, Any]:
    parameters = settings.parameters
    told = {"model": settings.model, "language": parameters.language, "prompt": parameters.prompt}
    return {name: value or None for name, value in told.items()}


def _told_detection(activity: VoiceActivity | None) -> dict[str, Any] | None:
    if activity is None:
        return None
    told: dict[str, Any] = {"type": "server_vad"}
    for name, default in _DEFAULTS.items():
        value = getattr(activity, name)
        told[name] = default if value is None else value
    return told


_DEFAULTS = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
"""As backends/listening/turns.py has them."""
