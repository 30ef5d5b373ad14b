"""Cuts a session's audio into turns. Pure: it is told of each frame how likely it is speech.

Owns the samples that may still belong to a turn. Times are counted in samples of all audio pushed, so they
hold across turns.
"""

from msgspec import Struct

from backends.protocol import VoiceActivity

SAMPLE_BYTES = 2
THRESHOLD = 0.5
PREFIX_PADDING_MS = 300
SILENCE_DURATION_MS = 500
_HYSTERESIS = 0.15
"""Speech goes on while the probability is no further than this below the threshold."""
_FIRST_FRAMES = 2
"""Frames of speech in a row that begin a turn: one alone is a click."""
SHORTEST_TURN_MS = 100


class Turn(Struct, frozen=True):
    """Audio of one turn: int16, mono, at the rate of the turns' owner."""

    index: int
    pcm: bytes


class Began(Struct, frozen=True):
    turn: int
    start_ms: int


class Ended(Struct, frozen=True):
    turn: int
    end_ms: int
    audio: Turn
    told: bool
    """A Began of this turn was given before."""


class NothingToCommit(Exception):
    """The open turn is too short to be one."""


class TooLong(Exception):
    """The open turn can take no more audio before it is committed or cleared."""


class Turns:
    """`activity` None: turns end by `commit` alone, and `judge` is not to be called."""

    def __init__(
        self, rate: int, activity: VoiceActivity | None, *, longest_s: float, longest_by_hand_s: float
    ) -> None:
        self.rate = rate
        self.index = 0
        """Of the turn that is open or comes next."""
        self._longest = int(longest_s * rate)
        self._longest_by_hand = int(longest_by_hand_s * rate)
        self._kept = bytearray()
        self._kept_from = 0
        """Number of the first kept sample."""
        self._speaking = False
        self._likely = 0
        """Frames in a row that were speech, before a turn has begun."""
        self._quiet = 0
        """Samples since the last speech."""
        self.configure(activity)

    def configure(self, activity: VoiceActivity | None) -> None:
        """From here on. A turn that is open stays open; what waited for a commit becomes padding."""
        asked = activity or VoiceActivity()
        self.manual = activity is None
        self._threshold = THRESHOLD if asked.threshold is None else asked.threshold
        self._prefix = self._samples(asked.prefix_padding_ms, PREFIX_PADDING_MS)
        self._silence = max(1, self._samples(asked.silence_duration_ms, SILENCE_DURATION_MS))

    @property
    def open_pcm(self) -> bytes | None:
        """Audio of the open turn so far; None: nobody speaks."""
        return bytes(self._kept) if self._kept and (self.manual or self._speaking) else None

    @property
    def open_samples(self) -> int:
        return self._count if self.manual or self._speaking else 0

    def take(self, frame: bytes) -> None:
        """Audio of a session without voice activity. Raises TooLong, and takes none of it."""
        if self._count + len(frame) // SAMPLE_BYTES > self._longest_by_hand:
            raise TooLong
        self._kept += frame

    def judge(self, frame: bytes, probability: float) -> list[Began | Ended]:
        """The next frame, and how likely it is speech."""
        self._kept += frame
        samples = len(frame) // SAMPLE_BYTES
        if self._speaking:
            return self._go_on(samples, probability)
        self._likely = self._likely + 1 if probability >= self._threshold else 0
        if self._likely >= _FIRST_FRAMES:
            return [self._begin(samples)]
        self._keep(self._prefix + self._likely * samples)
        return []

    def commit(self, rest: bytes = b"") -> Ended:
        """End the open turn now; where nobody speaks, it is what is kept. Raises NothingToCommit.

        `rest`: the beginning of a frame that was said in it. It is not judged: that might end the turn first.
        """
        self._kept += rest
        if self._count * 1000 < SHORTEST_TURN_MS * self.rate:
            raise NothingToCommit
        return self._end()

    def clear(self) -> None:
        """Forget what is kept; a turn that had begun is no more."""
        self.index += int(self._speaking or self.manual)
        self._forget()

    def _samples(self, milliseconds: int | None, default: int) -> int:
        return (default if milliseconds is None else milliseconds) * self.rate // 1000

    @property
    def _count(self) -> int:
        return len(self._kept) // SAMPLE_BYTES

    def _begin(self, samples: int) -> Began:
        self._keep(self._prefix + self._likely * samples)
        self._speaking = True
        self._likely = self._quiet = 0
        return Began(self.index, self._kept_from * 1000 // self.rate)

    def _go_on(self, samples: int, probability: float) -> list[Began | Ended]:
        self._quiet = 0 if probability >= self._threshold - _HYSTERESIS else self._quiet + samples
        if self._quiet >= self._silence:
            return [self._end()]
        if self._count < self._longest:
            return []
        # Nobody pauses that long: what follows is a turn of its own, without a gap.
        cut = [self._end()]
        self._speaking = True
        return [*cut, Began(self.index, self._kept_from * 1000 // self.rate)]

    def _end(self) -> Ended:
        end_ms = (self._kept_from + self._count) * 1000 // self.rate
        ended = Ended(self.index, end_ms, Turn(self.index, bytes(self._kept)), self._speaking)
        self.index += 1
        self._forget()
        return ended

    def _forget(self) -> None:
        self._keep(0)
        self._speaking = False
        self._likely = self._quiet = 0

    def _keep(self, samples: int) -> None:
        surplus = max(0, self._count - samples)
        del self._kept[: surplus * SAMPLE_BYTES]
        self._kept_from += surplus
