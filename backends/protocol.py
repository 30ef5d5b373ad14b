"""Every message that crosses the channel between the gateway and a worker, and the frame around it.

Owns the vocabulary that both processes share. Must stay light: msgspec and config.schema only, so that
the gateway can import it without reaching an engine.

A frame is a 4-byte little-endian length followed by one msgpack message. Structs are arrays on the wire
(field order is the format): append fields with defaults, never reorder, and raise PROTOCOL_VERSION when
a change is not compatible.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Struct, field

from config.schema import ModelSpec, Task

PROTOCOL_VERSION = 3
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A longer frame is a fault of the sender: the channel is closed. Results are split to stay far below."""


class Message(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False, tag=True):
    """Base of everything on the wire."""


class Part(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Base of what stands inside messages and is never one of a union: it needs no tag."""


# --- payloads -----------------------------------------------------------------------------------------


class Inline(Message, frozen=True):
    """Bytes carried in the message itself."""

    data: bytes


class LocalFile(Message, frozen=True):
    """A file that the worker can open."""

    path: str


class Remote(Message, frozen=True):
    """Bytes that live elsewhere; the launcher resolves the reference before the worker sees it."""

    ref: str


Blob = Inline | LocalFile | Remote


class Text(Message, frozen=True):
    """A text, taken literally: control tokens in it stay text."""

    text: str


class Tokens(Message, frozen=True):
    """Token ids of the model's own vocabulary (or as the model's `token_input` says)."""

    ids: list[int]


class Media(Message, frozen=True):
    """A recording or a picture as a person sent it, in whatever container; decoded in the prepare helper."""

    blob: Blob
    name: str = ""
    """The file's name as it was sent, for messages to people only."""
    param: str = ""
    """Where in the request it stands, for refusals."""


class ChatMedia(Part, frozen=True):
    """A picture or a recording that stands in a message."""

    kind: Literal["image", "audio"]
    media: Media
    at: int
    """How many characters of the message's content stand before it."""
    detail: Literal["auto", "low", "high"] = "auto"
    """How closely a picture is to be looked at; low: a small copy of it is enough."""


class ToolCall(Part, frozen=True):
    """One call of a tool; `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class ChatMessage(Message, frozen=True):
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """What an assistant's turn called."""
    tool_call_id: str = ""
    """Which call a tool's turn answers."""
    reasoning: str = ""
    """What an assistant's turn thought before it answered; templates that want it find it."""
    media: list[ChatMedia] = field(default_factory=list)
    """In order of their places. The content itself holds no marks: nothing in it can stand for a picture."""


class Tool(Part, frozen=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: str = ""
    """JSON schema of its arguments, as JSON text; empty: it takes none that are known."""
    strict: bool = False
    """Arguments must follow the schema to the letter, also where the model itself chose to call."""


class Chat(Message, frozen=True):
    """A conversation for the model's own chat template, and what the answer may call."""

    messages: list[ChatMessage]
    tools: list[Tool] = field(default_factory=list)
    tool_choice: Literal["auto", "none", "required"] = "auto"
    allowed_tools: list[str] = field(default_factory=list)
    """Names of those that may be called; empty: all. A named tool is `required` with that one name."""
    parallel_tool_calls: bool = True
    reasoning_effort: str = ""
    """For templates that know it; empty: the template's own default."""
    template_arguments: str = ""
    """JSON object of further variables for the template, as JSON text."""


class Infill(Message, frozen=True):
    """Text to be written between two texts, by models trained for it."""

    prefix: str
    suffix: str


Item = Text | Tokens | Chat | Infill | Media


def _has_media(item: Item) -> bool:
    if isinstance(item, Chat):
        return any(message.media for message in item.messages)
    return isinstance(item, Media)


# --- parameters ---------------------------------------------------------------------------------------


class Constraint(Part, frozen=True):
    """What every answer must match. `source`: a schema as JSON text, a regular expression or GBNF."""

    kind: Literal["json_object", "json_schema", "regex", "gbnf"]
    source: str = ""
    param: str = "response_format"
    """Where the request says so, for error messages."""


class GenerateParameters(Message, frozen=True):
    """Sampling of one generation. None: the model's default. Names and ranges as in llama.cpp and OpenAI."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    logit_bias: dict[int, float] = field(default_factory=dict)
    ignore_eos: bool = False
    n: int = 1
    """Answers to each item. Answer k of item i has index i * n + k in all outputs, and the seed seed + k."""
    logprobs: int | None = None
    """Log-probabilities of the answer's tokens, and of so many of the likeliest in each place."""
    echo: bool = False
    """The answer begins with the prompt itself, with its log-probabilities where `logprobs` asks for them."""
    constraint: Constraint | None = None
    reproducible: bool = False
    """Same seed and prompt, same answer, whatever else is decoded; a model says whether it can."""
    adapters: dict[str, float] = field(default_factory=dict)
    """LoRA adapters by name, and their scales."""


class EmbedParameters(Message, frozen=True):
    """Items are Text, Tokens and, for models whose description has the parameter `image`, Media."""

    dimensions: int | None = None


class TokenizeParameters(Message, frozen=True):
    """How texts become tokens. A conversation is always what the model would be given to answer it."""

    add_special: bool = True
    """With the tokens that the model wants around a text or in front of it."""
    parse_special: bool = False
    """A control token that a text spells out is that token; else it stays text, as in every other job."""
    pieces: bool = False
    """Also what each token stands for."""


class DetokenizeParameters(Message, frozen=True):
    """Items are Tokens; control tokens are spelled out."""


class VoiceActivity(Part, frozen=True):
    """How speech is told from silence; None: the model's default."""

    threshold: float | None = None
    """Probability above which a moment is speech, 0 to 1."""
    prefix_padding_ms: int | None = None
    """Kept in front of speech."""
    silence_duration_ms: int | None = None
    """Silence that ends a stretch of speech."""


class TranscribeParameters(Message, frozen=True):
    """Of transcribe jobs and, into English, of translate jobs; items are Media."""

    language: str = ""
    """ISO 639-1 code of what is spoken; empty: found out."""
    prompt: str = ""
    """Text that is taken to stand before the transcript: names, spelling, style."""
    temperature: float | None = None
    """None: greedy, and warmer only where that fails."""
    word_timestamps: bool = False
    logprobs: bool = False
    """Log-probabilities of the transcript's tokens."""
    voice_activity: VoiceActivity | None = None
    """Where a recording is cut; None: the model's default."""
    seed: int | None = None


AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
"""pcm: little-endian int16, mono, no header."""


class SpeakParameters(Message, frozen=True):
    """Items are Text. The audio of an item comes as AudioDelta, in order, never in its ItemDone."""

    voice: str = ""
    """One of the description's voices or voice aliases; empty: the first voice."""
    speed: float = 1.0
    format: AudioFormat = "mp3"
    language: str = ""
    """ISO 639-1 code, for voices that speak several; empty: the model's default."""
    instructions: str = ""
    """How to speak, for models that understand it."""
    seed: int | None = None


class SessionParameters(Message, frozen=True):
    """Of listen jobs: they have no items, stay open, and are fed audio while they run."""

    sample_rate: Literal[16000, 24000] = 24000
    """Of the audio fed, hertz; fixed once audio has come."""
    language: str = ""
    """ISO 639-1 code of what is spoken; empty: found out for each turn."""
    prompt: str = ""
    """Text that is taken to stand before each turn: names, spelling, style."""
    voice_activity: VoiceActivity | None = VoiceActivity()
    """How turns are told apart; None: a turn ends by Commit alone."""
    logprobs: bool = False
    """Log-probabilities of the transcripts' tokens."""


PictureFormat = Literal["png", "jpeg", "webp"]


class PaintParameters(Message, frozen=True):
    """Of paint jobs, from a text, and of edit jobs, from a text and pictures. Items are Text, the prompts.

    The pictures of an item come as PictureDelta, in order, never in its ItemDone. An edit without a prompt
    makes variations. Every model honours the prompt, its `sizes`, `format` and `compression`; the others are
    named by the description's parameters as requests call them: n, quality, steps, guidance, negative_prompt,
    seed, mask, strength, background, and partial_images for `previews`; limits: n, images, steps,
    partial_images.
    """

    n: int = 1
    """Pictures of each item. Picture k of item i has index i * n + k in all outputs and the seed seed + k."""
    width: int = 0
    """Pixels; 0, together with height: the model's default, in an edit the one nearest to the picture."""
    height: int = 0
    quality: Literal["", "low", "medium", "high"] = ""
    """How many steps, in the model's own terms, where `steps` does not say; empty: the model's default."""
    steps: int | None = None
    """Denoising steps; an edit takes so many of them as leave at least one: see `strength`."""
    guidance: float | None = None
    negative_prompt: str = ""
    seed: int | None = None
    images: list[Media] = field(default_factory=list)
    """What an edit begins with; none in a paint job."""
    mask: Media | None = None
    """Where it is transparent the first picture is painted anew; None: everywhere."""
    strength: float | None = None
    """How much of a picture an edit may change, above 0 and up to 1."""
    format: PictureFormat = "png"
    compression: int | None = None
    """Quality of jpeg and webp, 0 to 100; None: the library's default."""
    background: Literal["", "opaque", "transparent"] = ""
    previews: int = 0
    """Pictures of the unfinished work that go out on the way; at most one less than its steps."""


class CaptionParameters(Message, frozen=True):
    """Items are Media, pictures."""

    prompt: str = ""
    """What the caption begins with; it is part of the result's text."""
    max_tokens: int | None = None
    """Longest caption, tokens, the prompt not counted; None: the model's default."""


class ClassifyParameters(Message, frozen=True):
    """Items are Media, pictures."""

    labels: list[str]
    """What a picture may show; scores come in this order."""
    template: str = ""
    """A text with `{}` where the label goes; empty: the model's default."""


Parameters = (
    GenerateParameters
    | EmbedParameters
    | TokenizeParameters
    | DetokenizeParameters
    | TranscribeParameters
    | SpeakParameters
    | SessionParameters
    | PaintParameters
    | CaptionParameters
    | ClassifyParameters
)

JobTask = Task | Literal["tokenize", "detokenize", "listen"]
"""tokenize and detokenize need no engine: the prepare helper answers them, whatever task the model serves.
listen is a session, of models that transcribe and whose description says that they hold sessions."""


class Job(Message, frozen=True):
    """One immutable request; ends in exactly one Finished or Failed."""

    id: str
    model: str
    task: JobTask
    parameters: Parameters
    items: list[Item]
    stream: bool = False
    """Send Delta messages; otherwise only the ItemDone of each item."""
    priority: int = 0
    """Larger goes first."""
    timeout_s: float = 600.0
    """Time left when the message is sent, seconds."""
    traceparent: str = ""

    @property
    def answers(self) -> int:
        """Results to each item."""
        return self.parameters.n if isinstance(self.parameters, GenerateParameters | PaintParameters) else 1

    @property
    def has_media(self) -> bool:
        """Whether files come with it, which have to be decoded."""
        beside = isinstance(self.parameters, PaintParameters) and self.parameters.images
        return bool(beside) or any(_has_media(item) for item in self.items)

    @property
    def result_count(self) -> int:
        """How many ItemDone it gets: indices of outputs run from 0 to below this."""
        return len(self.items) * self.answers


# --- gateway to worker --------------------------------------------------------------------------------


class DeviceShare(Part, frozen=True):
    """How much of a model goes to a device: from 0 to 1, all shares together are 1."""

    device: str
    share: float


class Load(Message, frozen=True):
    """First message on a channel: become this model. Answered by Ready or LoadFailed."""

    spec: ModelSpec
    weights: str
    """Local path of the weights: a file or a folder, as the backend's source gave it."""
    device: str
    prepare_timeout_s: float
    media_prepare_timeout_s: float = 120.0
    """The same for jobs that hold media."""
    spread: list[DeviceShare] = field(default_factory=list)
    """Where the model lies on several devices, `device` the first of them; empty: all of it on `device`."""


class Submit(Message, frozen=True):
    job: Job


class Abort(Message, frozen=True):
    """Stop working on a job. Answered by its Failed(kind="aborted") unless it has ended meanwhile."""

    job_id: str


class Stop(Message, frozen=True):
    """Finish nothing more, unload and exit."""


class Feed(Message, frozen=True):
    """The next audio of a session: int16, little-endian, mono; at most MAX_FEED_BYTES."""

    job_id: str
    data: bytes


class Commit(Message, frozen=True):
    """The turn ends here. Answered by Committed, or InputRefused where there is none."""

    job_id: str
    tag: str = ""
    """Comes back in an InputRefused."""


class Clear(Message, frozen=True):
    """Forget the audio of the turn that is open. Answered by Cleared."""

    job_id: str
    tag: str = ""


class Reconfigure(Message, frozen=True):
    """Other parameters from here on. Answered by InputRefused where they cannot be had, else not at all."""

    job_id: str
    parameters: SessionParameters
    tag: str = ""


class EndInput(Message, frozen=True):
    """No more comes: work off what has, then Finished."""

    job_id: str


SessionInput = Feed | Commit | Clear | Reconfigure | EndInput
"""What goes to an open session, in order. None is sent that its credit does not cover, see Credit."""

MAX_FEED_BYTES = 64 * 1024
INPUT_CREDIT = 1024 * 1024
"""What may be sent to a session before its first Credit, by input_cost: 20 s of audio and more."""
_INPUT_OVERHEAD = 128


def input_cost(message: SessionInput) -> int:
    """What a message takes of a session's credit: its bytes, and something for itself."""
    return _INPUT_OVERHEAD + (len(message.data) if isinstance(message, Feed) else 0)


GatewayMessage = Load | Submit | Abort | Stop | SessionInput


# --- worker to gateway --------------------------------------------------------------------------------

FailureKind = Literal[
    "invalid_request",  # the request's own fault: 400, `param` and `code` say where
    "aborted",
    "timeout",
    "out_of_memory",  # the device has no room now: 503, try again
    "worker_died",
    "internal",  # a bug of ours: 500
]


class Capacity(Message, frozen=True):
    """What the worker can take on now."""

    free_sequences: int
    """Items that could run beside those running; `queued` ones will take these places first."""
    free_kv_tokens: int
    """KV cells not in use; -1 where that has no meaning."""
    queued: int
    """Items received and not started."""
    received: int
    """Submit messages received since the start: lets the gateway count those still on their way."""
    inputs: int = 0
    """SessionInput messages received since the start."""
    listening: bool = False
    """An open session has input that is not worked off: steps must follow."""


class StepStats(Message, frozen=True):
    """What one engine step did; summed into /metrics."""

    step_s: float = 0.0
    running: int = 0
    """Items in the engine after the step."""
    batch_items: int = 0
    """Items that shared this step: decode rows of a generation, texts of an embedding batch."""
    prefill_tokens: int = 0
    decode_tokens: int = 0
    kv_used: int = 0
    kv_total: int = 0
    preemptions: int = 0
    prefix_queries: int = 0
    """Prompt tokens looked up in the prefix cache."""
    prefix_hits: int = 0
    """Of those, tokens found there."""
    draft_tokens: int = 0
    """Tokens foretold by speculation."""
    draft_accepted: int = 0
    denoise_steps: int = 0
    """Denoising steps of pictures, each picture's own counted."""

    def after(self, untold: "StepStats") -> "StepStats":
        """These, with what /metrics counts of steps before that no frame has told of."""
        return msgspec.structs.replace(
            self,
            preemptions=self.preemptions + untold.preemptions,
            prefix_queries=self.prefix_queries + untold.prefix_queries,
            prefix_hits=self.prefix_hits + untold.prefix_hits,
            draft_tokens=self.draft_tokens + untold.draft_tokens,
            draft_accepted=self.draft_accepted + untold.draft_accepted,
            denoise_steps=self.denoise_steps + untold.denoise_steps,
        )


class Timings(Message, frozen=True):
    """Where a job's time went in the worker, seconds."""

    prepare_s: float = 0.0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class TopLogprob(Part, frozen=True):
    """A token that could have stood here. Natural logarithm, at least -9999."""

    token: bytes
    logprob: float
    id: int = -1


class TokenLogprob(Part, frozen=True):
    """A token that stands in the answer (or in an echoed prompt), and how likely it was before sampling.

    The token's own bytes may be part of a character only. `logprob` is None for the first token of a prompt.
    """

    token: bytes
    logprob: float | None
    top: list[TopLogprob] = field(default_factory=list)
    """The likeliest tokens in its place, likeliest first."""
    id: int = -1


class GenerationResult(Message, frozen=True):
    """End of one answer. Text, reasoning, calls and logprobs are empty if they went out as deltas."""

    text: str
    finish_reason: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    """The same for every answer to one item: it was computed once."""
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompt's tokens, those that were found in a cache."""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning_tokens: int = 0
    """Of the completion's tokens, those spent on reasoning."""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    accepted_draft_tokens: int = 0
    """Of the completion's tokens, those that a draft had foretold."""
    audio_tokens: int = 0
    """Of the prompt's tokens, those that recordings became."""


class EmbeddingResult(Message, frozen=True):
    """`vector`: little-endian float32, `dimensions` of them."""

    vector: bytes
    dimensions: int
    prompt_tokens: int


class TokenizeResult(Message, frozen=True):
    tokens: bytes
    """Token ids as little-endian int32."""
    pieces: list[bytes] = field(default_factory=list)
    """Of each token what it stands for, perhaps part of a character only; empty unless asked for."""


class DetokenizeResult(Message, frozen=True):
    text: str


class TranscriptWord(Part, frozen=True):
    """Times in seconds from the beginning of the recording."""

    word: str
    start_s: float
    end_s: float
    probability: float = 0.0


class TranscriptSegment(Part, frozen=True):
    """A stretch of a transcript. Times in seconds from the recording's beginning; scores as in Whisper."""

    id: int
    start_s: float
    end_s: float
    text: str
    """As the model wrote it: usually with a space in front."""
    seek: int = 0
    """Where the window began in which it was heard, hundredths of a second."""
    tokens: list[int] = field(default_factory=list)
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    words: list[TranscriptWord] = field(default_factory=list)
    """Empty unless asked for."""


class TranscriptionResult(Message, frozen=True):
    """End of one transcript: always whole, also where its segments went out one by one."""

    text: str
    language: str
    duration_s: float
    """Of the recording."""
    segments: list[TranscriptSegment] = field(default_factory=list)
    language_probability: float = 1.0
    """1 where the request named the language."""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """Of the whole transcript; empty unless asked for."""


class SpeechResult(Message, frozen=True):
    """End of one spoken text; its audio has gone out as AudioDelta."""

    duration_s: float
    input_tokens: int
    """What the model read of the text: phonemes or tokens."""
    output_tokens: int
    """What it made: frames or audio tokens."""


class PaintResult(Message, frozen=True):
    """End of one picture; its bytes have gone out as PictureDelta."""

    width: int
    height: int
    steps: int
    """Denoising steps that were done."""
    seed: int
    """That gives the same picture again."""
    prompt_tokens: int


class CaptionResult(Message, frozen=True):
    text: str
    """With the prompt that it was to begin with."""
    prompt_tokens: int
    """Of that prompt; 0 without one."""
    completion_tokens: int
    finish_reason: Literal["stop", "length"] = "stop"


class ClassifyResult(Message, frozen=True):
    """`scores`: little-endian float32, one a label in the labels' order; together they are 1."""

    scores: bytes
    prompt_tokens: int
    """Of all labels as the model read them."""


Result = (
    GenerationResult
    | EmbeddingResult
    | TokenizeResult
    | DetokenizeResult
    | TranscriptionResult
    | SpeechResult
    | PaintResult
    | CaptionResult
    | ClassifyResult
)


class Started(Message, frozen=True):
    """The job has left the queue and the engine works on it: from now it is suspect if the worker dies."""

    job_id: str


class CallDelta(Part, frozen=True):
    """The next piece of one tool call; `id` and `name` come with its first piece, and only there."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


class Delta(Message, frozen=True):
    """The next piece of a streamed item: whole characters, never part of a possible stop string."""

    job_id: str
    item: int
    """Index of the answer: see GenerateParameters.n."""
    text: str
    tokens: int = 1
    """Tokens this piece stands for."""
    reasoning: str = ""
    calls: list[CallDelta] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """Of the tokens that became text, reasoning or calls since the last delta: none is ahead of its text."""


class TranscriptDelta(Message, frozen=True):
    """The next segments of a streamed transcript, in order of time."""

    job_id: str
    item: int
    segments: list[TranscriptSegment]
    logprobs: list[TokenLogprob] = field(default_factory=list)


class AudioDelta(Message, frozen=True):
    """The next bytes of a spoken text, encoded: joined in order they are one file in the format asked for.

    At most MAX_AUDIO_DELTA_BYTES; an item's last bytes come before its ItemDone.
    """

    job_id: str
    item: int
    data: bytes


MAX_AUDIO_DELTA_BYTES = 1024 * 1024


class PaintProgress(Message, frozen=True):
    """Another denoising step of a picture is done; only in jobs that stream."""

    job_id: str
    item: int
    step: int
    """From 1 to `steps`."""
    steps: int


class PictureDelta(Message, frozen=True):
    """The next bytes of a picture, encoded: up to `complete` they make one file in the format asked for.

    At most MAX_PICTURE_DELTA_BYTES. A picture is whole before the next of its item begins; the finished one
    is the last and comes before the ItemDone.
    """

    job_id: str
    item: int
    data: bytes
    complete: bool
    preview: int = -1
    """Which unfinished picture, from 0; -1: the finished one."""


MAX_PICTURE_DELTA_BYTES = 1024 * 1024


class ItemDone(Message, frozen=True):
    job_id: str
    item: int
    """Index of the answer: see GenerateParameters.n."""
    result: Result


class Finished(Message, frozen=True):
    """Every item of the job is done."""

    job_id: str
    timings: Timings = Timings()


class Failed(Message, frozen=True):
    job_id: str
    kind: FailureKind
    message: str
    param: str = ""
    code: str = ""


class Requeue(Message, frozen=True):
    """The worker gives back a job it never started."""

    job_id: str


class Credit(Message, frozen=True):
    """How much may be sent to a session in all since it was opened, by input_cost; it never shrinks."""

    job_id: str
    total: int


class SpeechStarted(Message, frozen=True):
    """Turn `turn` has begun. Turns of a session count from 0; every TurnText and end names its turn."""

    job_id: str
    turn: int
    start_ms: int
    """Of the session's audio, padding in front of the speech included."""


class SpeechStopped(Message, frozen=True):
    job_id: str
    turn: int
    end_ms: int


class Committed(Message, frozen=True):
    """The turn's audio is complete: one TurnDone or TurnFailed follows, in order of turns."""

    job_id: str
    turn: int


class Cleared(Message, frozen=True):
    job_id: str


class InputRefused(Message, frozen=True):
    """An input that the session could not follow; it goes on as if that had not come."""

    job_id: str
    tag: str
    message: str
    param: str = ""
    code: str = ""


class TurnText(Message, frozen=True):
    """The next piece of a turn's transcript, perhaps while it is still being spoken; never taken back."""

    job_id: str
    turn: int
    text: str


class TurnDone(Message, frozen=True):
    """The whole transcript of a turn; it begins with the pieces that went out before."""

    job_id: str
    turn: int
    text: str
    duration_s: float
    language: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)


class TurnFailed(Message, frozen=True):
    """This turn has no transcript; the session goes on."""

    job_id: str
    turn: int
    message: str


SessionOutput = (
    Credit
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | InputRefused
    | TurnText
    | TurnDone
    | TurnFailed
)

Output = (
    Started
    | Delta
    | TranscriptDelta
    | AudioDelta
    | PaintProgress
    | PictureDelta
    | ItemDone
    | Finished
    | Failed
    | Requeue
    | SessionOutput
)


class Description(Message, frozen=True):
    """What a model can do, known without loading it; the gateway checks requests against it."""

    tasks: list[JobTask]
    parameters: list[str]
    """Names of the job parameters that are honoured."""
    context_length: int = 0
    """Most tokens of prompt and answer together; 0: no such limit."""
    dimensions: int = 0
    """Length of an embedding; 0: none."""
    vocabulary_size: int = 0
    memory_bytes: int = 0
    """Estimated need once loaded."""
    licence: str = ""
    details: dict[str, str] = field(default_factory=dict)
    """Facts for people: architecture, quantisation …"""
    device_kinds: list[str] = field(default_factory=lambda: ["cpu"])
    """Kinds of device that it can run on here, best first: `cuda`, `cpu` …"""
    limits: dict[str, int] = field(default_factory=dict)
    """Largest values of parameters, by their names: `n`, `logprobs` …"""
    adapters: list[str] = field(default_factory=list)
    """LoRA adapters that a request may name."""
    voices: list[str] = field(default_factory=list)
    """Voices that a request may name, the default first."""
    languages: list[str] = field(default_factory=list)
    """ISO 639-1 codes of what it hears or speaks; empty where that has no meaning or is not known."""
    voice_aliases: dict[str, str] = field(default_factory=dict)
    """Other names that a request may give a voice, and the voice that it then gets."""
    sizes: list[str] = field(default_factory=list)
    """WIDTHxHEIGHT, pixels, of what it paints, the default first."""
    splits: bool = False
    """It can lie on several devices of a kind, see Load.spread."""


class Hello(Message, frozen=True):
    """First message of a worker."""

    protocol: int
    version: str
    pid: int


class Loading(Message, frozen=True):
    """How far the load is: `fraction` of the stage, 0 to 1; 0 where the backend does not know it."""

    stage: Literal["weights", "warm_up"]
    fraction: float = 0.0


class Ready(Message, frozen=True):
    """Loaded and warmed up by a real call."""

    capacity: Capacity
    load_s: float


class LoadFailed(Message, frozen=True):
    kind: Literal["invalid_model", "out_of_memory", "internal"]
    message: str


class Frame(Message, frozen=True):
    """One per engine step: the outputs of every running item, and what can be taken on now."""

    outputs: list[Output]
    capacity: Capacity
    stats: StepStats = StepStats()


WorkerMessage = Hello | Loading | Ready | LoadFailed | Frame


# --- framing ------------------------------------------------------------------------------------------


class ProtocolError(Exception):
    """The other side sent something that is no message: its process cannot be trusted any more."""


_HEADER = struct.Struct("<I")
_PIECE_BYTES = MAX_FRAME_BYTES // 4
_encoder = msgspec.msgpack.Encoder()


def encode_frame(message: Message) -> bytes:
    """One message as length and msgpack, ready to send. Raises ProtocolError if it is over the cap."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"{type(message).__name__} of {len(body)} bytes is over the frame cap")
    return _HEADER.pack(len(body)) + body


def fitting(outputs: Sequence[Output]) -> Iterator[list[Output]]:
    """The outputs in order, in pieces of which each fits one frame. At least one piece, perhaps empty.

    Sound and pictures come in small pieces, but many of them may come of one step.
    """
    piece: list[Output] = []
    size = 0
    for output in outputs:
        cost = len(output.data) if isinstance(output, AudioDelta | PictureDelta) else 0
        if piece and size + cost > _PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(output)
        size += cost
    yield piece


class FrameBuffer:
    """Collects bytes from a stream and gives back whole frame bodies."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies completed by `data`, in order. Raises ProtocolError at a length over the cap."""
        if not self._buffer and self._is_one_frame(data):
            return [data[_HEADER.size :]]
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer, start)
            if length > self._max_frame_bytes:
                raise ProtocolError(f"frame of {length} bytes is over the cap of {self._max_frame_bytes}")
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + _HEADER.size : end]))
            start = end
        del self._buffer[:start]
        return bodies

    def _is_one_frame(self, data: bytes) -> bool:
        """As nearly always, where a step is a frame: it needs no copies."""
        if len(data) < _HEADER.size:
            return False
        length: int = _HEADER.unpack_from(data)[0]
        return length <= self._max_frame_bytes and len(data) == _HEADER.size + length
