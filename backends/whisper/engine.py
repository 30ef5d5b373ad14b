"""Transcribes many recordings together: scans them for speech, hears their windows in batches.

Owns the loop and the life of jobs. A step is one bounded piece of work: a little scanning, and a moment's
waiting for the batched call of the model that goes on beside the loop. Windows know nothing of each other
(no text of one is a prompt of the next), so that they can be heard in any company and give the same text as
alone.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from backends.base import StepEngine
from backends.protocol import (
    Capacity,
    Failed,
    Finished,
    ItemDone,
    Job,
    Output,
    StepStats,
    Timings,
    TokenLogprob,
    TranscriptDelta,
)
from backends.whisper import segments as cutting
from backends.whisper.attempts import attempts, best, enough
from backends.whisper.call import Beside, Call
from backends.whisper.hearing import Features, Heard, Hearing, Request, together
from backends.whisper.prepare import RecordingItem
from backends.whisper.speech import (
    FRAME_SAMPLES,
    SAMPLE_RATE,
    Span,
    SpeechFinder,
    SpeechSettings,
    WindowPacker,
)
from backends.whisper.transcript import Samples, Transcript, Trial, Window, segment
from backends.whisper.vocabulary import Vocabulary
from backends.whisper.windows import (
    FULL_FRAMES,
    SAMPLES_PER_FRAME,
    Candidate,
    Key,
    StepBudget,
    choose,
    window_frames,
)
from backends.whisper.words import Word, timed

SCAN_SAMPLES = 60 * SAMPLE_RATE
"""Scanned in one step, of all recordings together: a quarter of a second of computing. The rest follows while
the first windows are heard."""
_LEAST_REST = SAMPLE_RATE // 4
"""Less speech than this behind a window's last word is no word."""
_STREAMED_AT_ONCE = 2
"""Windows of a streamed recording in one call: its text is to come while the rest is still to be heard."""
_UNRANKED_CALL = 4
"""Every so many calls one goes by turn alone: a recording of low priority is heard beside better ones."""


class EngineSettings(Struct, frozen=True):
    margin_s: float
    least_window_s: float
    temperatures: list[float]
    speech: SpeechSettings
    max_recordings: int
    only_language: str = ""
    """Where the model hears but one."""
    encoded_at_once: int = 1000
    """Windows that the encoder takes at a time."""
    calls_at_once: int = 1
    """Calls of the model that run side by side."""
    patience_s: float = 10.0
    """What a part of a call may take before the worker shows no more sign of life."""


class Ears(Struct, frozen=True):
    """What the engine hears with; tests bring their own."""

    hearing: Hearing
    vocabulary: Vocabulary
    features: Any
    """Sound to log-mel features, [mel bands, frames]."""
    voice_activity: Any
    """Makes what finds speech in one recording: VoiceActivityModel."""


class _Scan:
    """The search for speech in one recording."""

    def __init__(self, transcript: Transcript, settings: SpeechSettings, model: Any) -> None:
        asked = settings.asked(transcript.parameters.voice_activity)
        self._finder = SpeechFinder(asked)
        self._packer = WindowPacker(asked)
        self._model = model
        self.transcript = transcript

    def advance(self, samples: int) -> list[Span]:
        """Windows that are certain after about so many samples more: whole frames of the search, which takes
        what is left over of one for the recording's end."""
        transcript = self.transcript
        samples = max(1, samples // FRAME_SAMPLES) * FRAME_SAMPLES
        begin = transcript.scanned_samples
        end = min(begin + samples, len(transcript.samples))
        spans = self._finder.feed(self._model.feed(transcript.samples[begin:end]))
        transcript.scanned_samples = end
        transcript.speech += spans
        if not transcript.scanned:
            return self._packer.feed(spans)
        last = self._finder.finish()
        transcript.speech += last
        return [
            *self._packer.feed([*spans, *last]),
            *self._packer.finish(len(transcript.samples)),
        ]


class _Running(Struct):
    """A job that was taken on."""

    job: Job
    added_at: float
    items_left: int
    started_at: float = 0.0
    encode_s: float = 0.0


class WhisperEngine(StepEngine[RecordingItem]):
    def __init__(self, ears: Ears, budget: StepBudget, settings: EngineSettings) -> None:
        self._ears = ears
        self._budget = budget
        self._settings = settings
        self._jobs: dict[str, _Running] = {}
        self._queue: list[Transcript] = []
        self._scans: list[_Scan] = []
        self._running: list[Transcript] = []
        self._arrivals = 0
        self._calls = 0
        self._beside = Beside(settings.calls_at_once, settings.patience_s)
        self._stats = StepStats()

    def warm_up(self) -> None:
        """One second of silence goes all the way."""
        sound = np.zeros(SAMPLE_RATE, np.float32)
        language = "en"
        request = Request(self._features(sound), [], language, translate=False)
        frames = window_frames(len(sound), self._settings.margin_s, self._settings.least_window_s)
        for _ in range(2):  # only the second tells how fast it is
            began_at = time.monotonic()
            encoded = self._ears.hearing.encode([request], frames)
            self._ears.hearing.write(encoded, [request], frames, 0.0, logprobs=False)
        self._budget.begin(frames, time.monotonic() - began_at)
        self._ears.voice_activity().feed(np.zeros(SAMPLE_RATE, np.int16))

    # --- jobs ---------------------------------------------------------------------------------------------

    def add(self, job: Job, items: list[RecordingItem]) -> None:
        self._jobs[job.id] = _Running(job, time.monotonic(), len(items))
        for index, item in enumerate(items):
            transcript = Transcript(job, index, _samples(item), item.prompt, self._arrivals)
            transcript.language = transcript.language or self._settings.only_language
            self._queue.append(transcript)
            self._arrivals += 1
        self._queue.sort(key=lambda transcript: (-transcript.job.priority, transcript.arrival))

    def abort(self, job_id: str) -> bool:
        if self._jobs.pop(job_id, None) is None:
            return False
        self._queue = [t for t in self._queue if t.job.id != job_id]
        self._scans = [scan for scan in self._scans if scan.transcript.job.id != job_id]
        self._running = [t for t in self._running if t.job.id != job_id]
        return True

    def has_work(self) -> bool:
        return bool(self._jobs)

    def capacity(self) -> Capacity:
        free = max(0, self._settings.max_recordings - len(self._running))
        return Capacity(free, -1, len(self._queue), 0)

    def stats(self) -> StepStats:
        return self._stats

    def requeue(self, max_queued: int) -> list[str]:
        started = {t.job.id for t in self._running}
        unstarted = [t.job.id for t in self._queue[max_queued:] if t.job.id not in started]
        return [job_id for job_id in dict.fromkeys(unstarted) if self.abort(job_id)]

    # --- one step -----------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        started_at = time.monotonic()
        self._admit()
        self._scan()
        while self._beside.free and (windows := self._choose()):
            self._begin(windows)
        step = StepStats(step_s=time.monotonic() - started_at)
        outputs: list[Output] = []
        for call, part in self._beside.ended():
            outputs += self._go_on(call, part)
            if call.has_ended:
                step = StepStats(step_s=time.monotonic() - call.began_at, batch_items=len(call.windows))
        for transcript in list(self._running):
            outputs += self._give(transcript)
        self._stats = replace(step, running=len(self._running))
        return outputs

    def _admit(self) -> None:
        while self._queue and len(self._running) < self._settings.max_recordings:
            transcript = self._queue.pop(0)
            running = self._jobs[transcript.job.id]
            if not running.started_at:
                running.started_at = time.monotonic()
                self.announce(transcript.job.id)
            self._running.append(transcript)
            self._scans.append(_Scan(transcript, self._settings.speech, self._ears.voice_activity()))

    def _scan(self) -> None:
        """Each recording in turn, so that a long one does not keep the others from being heard."""
        left = SCAN_SAMPLES
        scans = self._scans
        while left > 0 and scans:
            scan = scans.pop(0)
            before = scan.transcript.scanned_samples
            for span in scan.advance(min(left, SCAN_SAMPLES // 4)):
                scan.transcript.add(self._window(scan.transcript, span))
            left -= max(1, scan.transcript.scanned_samples - before)
            if not scan.transcript.scanned:
                scans.append(scan)

    def _window(self, transcript: Transcript, span: Span) -> Window:
        short = self._frames(span) < FULL_FRAMES
        tries = attempts(transcript.parameters.temperature, self._settings.temperatures, short)
        return Window(transcript, span, tries)

    def _frames(self, span: Span) -> int:
        return window_frames(span.end - span.start, self._settings.margin_s, self._settings.least_window_s)

    def _choose(self) -> list[Window]:
        ranked = (self._calls + 1) % _UNRANKED_CALL > 0
        taken = {window for call in self._beside.calls for window in call.windows}
        candidates = [
            Candidate(window, self._key(window), transcript.job.priority * ranked, turn, transcript.arrival)
            for transcript in self._running
            for turn, window in enumerate(transcript.open_windows())
            if window not in taken and (turn < _STREAMED_AT_ONCE or not transcript.job.stream)
        ]
        return choose(candidates, self._budget.rows, self._settings.calls_at_once, len(taken))

    def _key(self, window: Window) -> Key:
        transcript, attempt = window.transcript, window.attempt
        return Key(
            frames=FULL_FRAMES if attempt.full else self._frames(window.span),
            context_tokens=len(transcript.prompt),
            temperature=attempt.temperature,
            detect=not transcript.language,
            logprobs=transcript.parameters.logprobs,
        )

    def _begin(self, windows: Sequence[Window]) -> None:
        self._calls += 1
        requests = [self._request(window) for window in windows]
        self._continue(Call(windows, requests, self._key(windows[0]), self._settings.encoded_at_once))

    def _continue(self, call: Call) -> None:
        self._beside.begin(call, lambda: call.part(self._ears.hearing))

    def _go_on(self, call: Call, part: Future[None]) -> list[Output]:
        """A part of the call has ended: begin the next, or take what was heard. What nobody waits for any
        more is left out as soon as it can be."""
        call.keep(self._is_wanted)
        try:
            part.result()
        except RuntimeError as error:
            if "out of memory" not in str(error).lower():
                raise
            return self._no_room(call.windows)
        if call.has_ended:
            self._take(call)
        elif call.windows:
            self._continue(call)
        return []

    def _is_wanted(self, window: Window) -> bool:
        return window.transcript in self._running

    def _take(self, call: Call) -> None:
        for window in call.windows:
            self._jobs[window.transcript.job.id].encode_s += call.encode_s
        if call.languages:
            for window, (language, probability) in zip(call.windows, call.languages, strict=True):
                window.transcript.language = language
                window.transcript.language_probability = probability
            return
        for window, heard in zip(call.windows, call.heard, strict=True):
            window.trials.append(Trial(heard, window.attempt))
        self._write_down([window for window in call.windows if self._settle(window)])
        self._budget.took(len(call.windows), call.key.frames, time.monotonic() - call.began_at)

    def _request(self, window: Window) -> Request:
        if window.features is None:
            window.features = self._features(window.transcript.sound(window.span))
        transcript = window.transcript
        return Request(
            window.features, transcript.prompt, transcript.language, transcript.job.task == "translate"
        )

    def _features(self, sound: Any) -> Features:
        """Without the last frame, which the extractor adds of its own."""
        features: Features = self._ears.features(sound)[:, :-1]
        return features

    def _no_room(self, windows: Sequence[Window]) -> list[Output]:
        """Fewer at a time from now on; a single one that does not fit cannot be heard at all."""
        self._budget.shrink(len(windows))
        if len(windows) != 1:
            return []
        job_id = windows[0].transcript.job.id
        self.abort(job_id)
        return [Failed(job_id, "out_of_memory", "the device has no room for this recording now")]

    def _settle(self, window: Window) -> bool:
        """True when one of the hearings counts; False when it is to be heard again."""
        last = window.trials[-1]
        return enough(last.attempt, last.heard.score) or len(window.trials) == len(window.attempts)

    # --- writing down -------------------------------------------------------------------------------------

    def _write_down(self, windows: Sequence[Window]) -> None:
        """Segments of windows whose hearing is settled."""
        cuts = [self._cut(window) for window in windows]
        words = self._words(windows, cuts)
        for window, cut, own in zip(windows, cuts, words, strict=True):
            trial = window.trials[best(window.scores)]
            heard = trial.heard
            window.segments = []
            for piece, timed_words in zip(cut.pieces, own, strict=True):
                text = self._ears.vocabulary.decode(piece.text_tokens)
                if text.strip():
                    window.segments.append(segment(window, piece, text, trial, timed_words))
            window.logprobs = self._logprobs(heard) if window.segments else []
            window.features = window.sound = None
            if cut.rest_s is not None:
                self._follow(window, cut.rest_s)

    def _cut(self, window: Window) -> cutting.Cut:
        heard = window.trials[best(window.scores)].heard
        if heard.score.silent:
            return cutting.Cut([], None)
        vocabulary = self._ears.vocabulary
        return cutting.cut(heard.tokens, vocabulary.first_timestamp, vocabulary.end, window.duration_s)

    def _follow(self, window: Window, rest_s: float) -> None:
        """What the model did not get to is heard as a window of its own, if somebody speaks there."""
        span = Span(window.span.start + int(rest_s * SAMPLE_RATE), window.span.end)
        if window.transcript.speech_in(span) < _LEAST_REST:
            return
        window.transcript.insert_after(window, self._window(window.transcript, span))

    def _logprobs(self, heard: Heard) -> list[TokenLogprob]:
        vocabulary = self._ears.vocabulary
        return [
            TokenLogprob(vocabulary.token_bytes(token), logprob, id=token)
            for token, logprob in zip(heard.tokens, heard.logprobs, strict=False)
            if token < vocabulary.end
        ]

    def _words(self, windows: Sequence[Window], cuts: Sequence[cutting.Cut]) -> list[list[list[Word]]]:
        """Of each window, of each piece; empty where none were asked for. Aligned by language together."""
        words: list[list[list[Word]]] = [[[] for _ in cut.pieces] for cut in cuts]
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (window, cut) in enumerate(zip(windows, cuts, strict=True)):
            if window.transcript.parameters.word_timestamps and cut.pieces:
                groups.setdefault(tuple(self._start(window)), []).append(place)
        for start, places in groups.items():
            texts = [[t for piece in cuts[p].pieces for t in piece.text_tokens] for p in places]
            encoded = together([sound for p in places if (sound := windows[p].sound)])
            lengths = [_sound_frames(windows[p], encoded) for p in places]
            aligned = self._ears.hearing.align(encoded, list(start), texts, lengths)
            for place, found in zip(places, aligned, strict=True):
                words[place] = self._timed(cuts[place], found, windows[place].transcript.language)
        return words

    def _start(self, window: Window) -> list[int]:
        transcript = window.transcript
        return self._ears.vocabulary.start(transcript.language, transcript.job.task == "translate")

    def _timed(self, cut: cutting.Cut, found: Any, language: str) -> list[list[Word]]:
        first = 0
        result = []
        for piece in cut.pieces:
            pieces = self._ears.vocabulary.words(piece.text_tokens, language)
            result.append(timed(pieces, found.alignments, found.text_token_probs, first))
            first += len(piece.text_tokens)
        return result

    # --- giving out ---------------------------------------------------------------------------------------

    def _give(self, transcript: Transcript) -> list[Output]:
        """What can leave by now, and the ends of items and jobs."""
        job = transcript.job
        if job.id not in self._jobs:
            return []
        outputs: list[Output] = []
        segments, logprobs = transcript.leaving()
        if segments and job.stream:
            outputs.append(TranscriptDelta(job.id, transcript.index, segments, logprobs))
        if transcript.done:
            self._running.remove(transcript)
            outputs.append(ItemDone(job.id, transcript.index, transcript.result()))
            outputs += self._end(job.id)
        return outputs

    def _end(self, job_id: str) -> list[Output]:
        running = self._jobs[job_id]
        running.items_left -= 1
        if running.items_left:
            return []
        del self._jobs[job_id]
        timings = Timings(
            queue_s=running.started_at - running.added_at,
            prefill_s=running.encode_s,
            decode_s=time.monotonic() - running.started_at - running.encode_s,
        )
        return [Finished(job_id, timings)]


def _sound_frames(window: Window, encoded: Any) -> int:
    return min((window.span.end - window.span.start) // SAMPLES_PER_FRAME, 2 * int(encoded.shape[1]))


def _samples(item: RecordingItem) -> Samples:
    """The item's samples; its file has no name any more once it is open."""
    if not item.path:
        return np.frombuffer(item.pcm, "<i2")
    path = Path(item.path)
    samples = np.memmap(path, "<i2", mode="r")
    path.unlink()
    return samples
