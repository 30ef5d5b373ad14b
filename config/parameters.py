"""What a model's `parameters:` may hold, for each of the built-in backends: name, type, default and unit.

Declared here once, as everything else in config.schema; config.validate says which belongs to which backend.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from config.settings import Fraction, ModelName, Positive, PositiveSeconds, Settings


class WeightsFile(Settings, frozen=True, kw_only=True):
    """A further file of a model, pulled and verified with it."""

    source: str
    """As a model's `source`; names one file."""
    sha256: str | None = None
    """Expected SHA-256 (hex)."""


class LoraAdapter(WeightsFile, frozen=True, kw_only=True):
    """A LoRA adapter as GGUF, which requests may ask for; without being asked for it has no effect."""

    name: ModelName
    scale: Annotated[float, Meta(ge=-100, le=100)] = 1.0
    """Factor on the scale that a request asks for."""


class GgufParameters(Settings, frozen=True, kw_only=True):
    """How a GGUF file is loaded, whatever it serves."""

    n_gpu_layers: Annotated[int, Meta(ge=-1)] | Literal["auto"] = "auto"
    """Layers on the GPU; auto: all where the build has a GPU, else none."""
    n_threads: Positive | Literal["auto"] = "auto"
    """Threads for computing (of generation: for decoding); auto: this process's cores."""
    flash_attn: bool | Literal["auto"] = "auto"
    use_mmap: bool = True
    use_mlock: bool = False


class LlamaCppParameters(GgufParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: llama_cpp` and `tasks: [generate]`."""

    n_ctx: Positive | Literal["auto"] = "auto"
    """KV cells of all running sequences together, tokens; auto: the training context (of each sequence where
    `kv_unified` is false), as memory allows."""
    kv_unified: bool | Literal["auto"] = "auto"
    """true: all sequences share the cells, so one may be as long as the whole. false: each has its own,
    n_ctx / n_seq_max, no longer prompt is taken, and decoding many is faster. auto: false where nobody
    loses by it (n_ctx of n_seq_max training contexts or more, prefix_cache false, speculation off)."""
    n_seq_max: Annotated[int, Meta(ge=1, le=256)] = 16
    """Sequences decoded together."""
    n_batch: Annotated[int, Meta(ge=1, le=65536)] = 2048
    """Most tokens in one decode call."""
    n_ubatch: Annotated[int, Meta(ge=1, le=65536)] = 512
    """Most tokens the backend computes at once."""
    n_threads_batch: Positive | Literal["auto"] = "auto"
    """Threads for prefill; auto: as n_threads."""
    type_k: Literal["auto", "f32", "f16", "bf16", "q8_0", "q4_0"] = "auto"
    """Keys in the cache; auto: f16."""
    type_v: Literal["auto", "f32", "f16", "bf16", "q8_0", "q4_0"] = "auto"
    """Values in the cache; auto: bf16 on the CPU with flash attention, where answers then do not depend on
    what else is decoded, f16 elsewhere. f16 makes prefill on the CPU faster, and decoding slower."""
    max_step_ms: Annotated[float, Meta(gt=0)] = 250.0
    """While streams run, prefill is cut so that a step should take at most so many milliseconds."""
    adapters: list[LoraAdapter] = field(default_factory=list)
    mmproj: WeightsFile | None = None
    """The projector (`mmproj`) that lets the model take pictures, sound or both, as GGUF."""
    image_max_tokens: Positive | None = None
    """Most tokens of one picture, where the projector scales; default: as its file says."""
    media_cache_bytes: Annotated[int, Meta(ge=0)] = 128 * 1024 * 1024
    """Memory for what pictures and sound of late requests became: in a later turn they cost nothing."""
    max_media: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Most pictures and recordings in one request."""
    max_pixels: Positive = 64_000_000
    """Largest picture, width times height; a larger one is a 400 before it is decoded."""
    max_frames: Positive = 1000
    """Longest animation, of which only the first frame is seen; a longer one is a 400."""
    max_audio_s: PositiveSeconds = 1800.0
    """Longest recording in a message; longer is a 400."""
    reproducible: bool = False
    """Same seed and prompt, same answer, alone or in any company: every sequence has its own share of n_ctx,
    prompts are computed one after the other, nothing is shared, foretold or taken back. Slower."""
    prefix_cache: bool = True
    """A prompt takes over what the cache holds of its beginning, token by token compared."""
    prefix_kept: Annotated[int, Meta(ge=0, le=240)] = 16
    """Ended sequences that stay in the cache, as long as nobody needs their cells; where `kv_unified` is
    false they go to memory at once. 0: nothing is taken over from anybody."""
    prefix_host_bytes: Annotated[int, Meta(ge=0)] = 256 * 1024 * 1024
    """Memory for the states of sequences that had to leave the cache; 0: none are saved."""
    prefix_disk: str | None = None
    """Folder, as an absolute path, for states that had to leave memory; they outlive the worker."""
    prefix_disk_bytes: Positive = 4 * 1024 * 1024 * 1024
    """Bound on that folder, of all models that use it."""
    speculation: Literal["off", "lookup"] = "lookup"
    """lookup: foretell from the sequence's own text, where that pays; answers stay the same."""
    draft_model: WeightsFile | None = None
    """A small GGUF model of the same vocabulary that foretells instead of lookup."""


class LlamaCppEmbeddingParameters(GgufParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: llama_cpp` and `tasks: [embed]`."""

    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How token vectors become one; auto: as the file says, else mean for encoders and last for decoders."""
    normalize: bool = True
    """Vectors of length 1."""
    n_ctx: Positive | Literal["auto"] = "auto"
    """Longest input, tokens; longer is a 400. auto: what the model was trained for, but at most 2048 where an
    input must be computed in one piece, which costs memory (it need not where a causal model pools last)."""
    n_ubatch: Annotated[int, Meta(ge=1, le=65536)] = 512
    """Tokens of several inputs computed at once; a longer input goes alone."""
    n_seq_max: Annotated[int, Meta(ge=1, le=256)] = 64
    """Inputs computed at once."""
    token_input: Literal["model", "cl100k"] = "model"
    """What integer input means: the model's own ids, or OpenAI cl100k ids that are decoded to text first."""


class SentenceParameters(Settings, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: sentence`."""

    pooling: Literal["auto", "mean", "cls"] = "auto"
    """auto: as the model's own pooling config says, else mean."""
    normalize: bool = True
    max_tokens: Positive | Literal["auto"] = "auto"
    """Longest input, tokens; longer is a 400. auto: what the model's positions allow."""
    batch_tokens: Positive | Literal["auto"] = "auto"
    """Padded tokens in one forward pass; auto: 2048 on a CPU, which gains nothing from more, else 16384."""
    batch_items: Positive = 256
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    n_threads: Positive | Literal["auto"] = "auto"
    token_input: Literal["model", "cl100k"] = "model"
    """What integer input means: the model's own ids, or OpenAI cl100k ids that are decoded to text first."""


class VisionParameters(Settings, frozen=True, kw_only=True):
    """How a model that looks at pictures is loaded, whichever it is."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Numbers that the model computes in; auto: float32 on the CPU, float16 on a GPU."""
    batch_items: Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Most pictures, of whatever requests, in one call; auto: 8 on the CPU, 32 on a GPU."""
    n_threads: Positive | Literal["auto"] = "auto"
    """Threads for computing on the CPU; auto: this process's cores."""
    max_pixels: Positive = 64_000_000
    """Largest picture, width times height; a larger one is a 400 before it is decoded."""
    max_frames: Positive = 1000
    """Longest animation, of which only the first frame is seen; a longer one is a 400."""


class BlipParameters(VisionParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: blip`."""

    max_tokens: Positive = 50
    """Longest caption where a request does not say, tokens, the prompt not counted."""
    num_beams: Annotated[int, Meta(ge=1, le=16)] = 1
    """Captions weighed against each other; 1 is greedy, and faster."""


class ClipParameters(VisionParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: clip`."""

    normalize: bool = True
    """Embeddings of length 1."""
    label_template: str = "{}"
    """What is read for a label where a request does not say, with `{}` in its place: "a photo of a {}"."""
    max_labels: Positive = 256
    """Most labels in one request."""


class QualitySteps(Settings, frozen=True, kw_only=True):
    """Denoising steps of a request's `quality`."""

    low: Positive
    medium: Positive
    high: Positive


class DiffusionParameters(VisionParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: diffusion`; `max_pixels` is of pictures to be edited."""

    batch_items: Annotated[int, Meta(ge=1, le=256)] | Literal["auto"] = "auto"
    """Most pictures, of whatever requests, in one denoising step; auto: 4 on the CPU, 8 on a GPU."""
    max_step_s: PositiveSeconds = 10.0
    """A step takes fewer pictures where it would take longer, by what steps took before."""
    steps: Positive | Literal["auto"] = "auto"
    """Denoising steps where a request says neither `steps` nor `quality`; auto: 1 of a model distilled to few
    (its scheduler tells), else 30."""
    quality_steps: QualitySteps | None = None
    """Steps of `quality` low, medium, high; default: 1, 2, 4 of a model distilled to few, else 15, 30, 50."""
    max_steps: Positive = 100
    """Most steps that a request may ask for."""
    guidance: Annotated[float, Meta(ge=0, le=100)] | Literal["auto"] = "auto"
    """How closely a prompt is followed where a request does not say; up to 1 is without guidance, in half the
    time. auto: 0 of a model distilled to few steps, else 5 (SDXL) or 7.5."""
    strength: Annotated[float, Meta(ge=0.01, le=1)] = 0.8
    """How much of a picture an edit without a mask may change where a request does not say."""
    sizes: list[str] = field(default_factory=list)
    """WIDTHxHEIGHT of what may be painted, pixels, multiples of 8, the default first; empty: the usual shapes
    in the area that the model was trained on."""
    offload: bool = False
    """On a GPU: only the part that computes is there, the others wait in the CPU's memory. Slower."""
    attention_slicing: bool = False
    """Attention in several parts, which takes less memory and more time."""
    vae_tiling: bool = False
    """Large pictures are decoded in tiles, which takes less memory; seams may show."""


VoiceName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""Names that clients of OpenAI's API send."""


class SpeechParameters(Settings, frozen=True, kw_only=True):
    """How a voice model is used, whichever it is."""

    voice_aliases: dict[str, str] = field(default_factory=lambda: dict.fromkeys(OPENAI_VOICES, ""))
    """Other names for voices; empty: the default voice. OpenAI's names count unless this is given."""
    max_streams: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Texts spoken in turns; more wait."""
    n_threads: Positive | Literal["auto"] = "auto"
    """Threads for computing; auto: this process's cores, of hibari 1."""


class HibariVoice(WeightsFile, frozen=True, kw_only=True):
    """A further voice of hibari, as an ONNX file."""

    name: VoiceName
    british: bool = False
    """Read by British rules of pronunciation."""


class HibariParameters(SpeechParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: hibari`."""

    voice: VoiceName = "heart"
    """Name of the voice that is the model's own file: the default voice."""
    british: bool = False
    """That voice is read by British rules of pronunciation."""
    voices: list[HibariVoice] = field(default_factory=list)


class PiperParameters(SpeechParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: piper`."""

    voice: str = ""
    """The default of several speakers, or another name for a single one; empty: as the files say."""


class XttsParameters(SpeechParameters, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: xtts`. None: what the checkpoint's own config says."""

    voices_dir: str
    """Folder of recordings, as an absolute path: a file is a voice, and so is a folder of files."""
    voice: str = ""
    """The default voice; empty: the first by name."""
    latents_dir: str | None = None
    """Where what is made of recordings is kept, as an absolute path; default: `.latents` in voices_dir."""
    language: str = "en"
    """Of texts whose request names none, ISO 639-1."""
    config: WeightsFile | None = None
    """config.json of the checkpoint; default: beside the weights."""
    vocab: WeightsFile | None = None
    """vocab.json of the checkpoint; default: beside the weights."""
    temperature: Annotated[float, Meta(gt=0, le=2)] | None = None
    top_k: Positive | None = None
    top_p: Fraction | None = None
    repetition_penalty: Annotated[float, Meta(ge=1, le=100)] | None = None
    length_penalty: float | None = None
    stream_chunk_tokens: Annotated[int, Meta(ge=5, le=600)] = 20
    """Audio tokens in a stretch of sound; 20 are 0.93 s."""


class WhisperParameters(Settings, frozen=True, kw_only=True):
    """`parameters:` of a model with `backend: whisper`."""

    compute_type: Literal[
        "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"
    ] = "auto"
    """Numbers that the model computes in; auto: int8 on the CPU, float16 on a GPU."""
    n_threads: Positive | Literal["auto"] = "auto"
    """Threads for computing on the CPU; auto: this process's cores."""
    n_workers: Positive | Literal["auto"] = "auto"
    """Calls of the model at once, which divide `n_threads` among them: more hear many windows faster, fewer a
    single long one; auto: 2 on the CPU where there are as many threads, 1 on a GPU."""
    beam_size: Annotated[int, Meta(ge=1, le=16)] = 5
    """Transcripts weighed against each other; 1 is greedy, faster and a little less exact."""
    best_of: Annotated[int, Meta(ge=1, le=16)] = 1
    """Drawn at a temperature above 0, of which the likeliest is kept."""
    fallback_temperatures: list[Annotated[float, Meta(gt=0, le=1)]] = field(
        default_factory=lambda: [0.4, 0.8]
    )
    """Tried in turn where a text repeats itself or is unlikely; they take time where nobody is heard."""
    batch_size: Annotated[int, Meta(ge=1, le=256)] | Literal["auto"] = "auto"
    """Most windows, of whatever requests, heard in one call; auto: 8 on the CPU, 24 on a GPU, divided among
    its calls."""
    max_step_s: PositiveSeconds = 5.0
    """A call takes fewer windows where it would take longer, by what calls took before."""
    max_audio_s: PositiveSeconds = 4 * 3600.0
    """Longest recording; longer is a 400."""
    window_margin_s: Annotated[float, Meta(ge=0, le=30)] = 1.0
    """Silence that the encoder gets behind a clip; 30: always the model's full window."""
    window_least_s: Annotated[float, Meta(ge=1, le=30)] = 5.0
    """Shortest encoder window; shorter clips are filled up."""
    vad_threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.35
    """A moment whose probability of speech is higher begins a stretch of speech."""
    vad_silence_ms: Annotated[int, Meta(ge=32, le=10_000)] = 160
    """Silence at which a recording may be cut."""
    vad_padding_ms: Annotated[int, Meta(ge=0, le=5_000)] = 1000
    """Kept in front of and behind speech; less makes shorter windows and mishears words at their edges."""
