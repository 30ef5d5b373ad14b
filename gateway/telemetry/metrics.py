"""Prometheus metrics; names mirror vLLM's where the meaning is the same.

Owns the registry and every metric in it. Label values are registered models, tasks, states and route
patterns only, never anything that a client chose. Must not know HTTP frameworks.
"""

from collections.abc import Callable, Iterable
from functools import cache

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from backends.protocol import StepStats
from gateway.telemetry.memory import MemoryCollector, MemoryFigures

__all__ = ["CONTENT_TYPE", "JobTimes", "Metrics", "ModelGauges", "WorkerGauges"]

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)
_HTTP_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256)
PRESSURE_STEPS = ("calm", "refuse", "evict", "shed")
WORKER_STATES = ("starting", "ready", "draining", "stopping", "killed")
MODEL_STATES = ("cold", "starting", "ready", "restarting", "failed", "unloading")


class WorkerGauges(Struct, frozen=True):
    worker_id: int
    model: str
    device: str
    state: str
    memory_bytes: int


class ModelGauges(Struct, frozen=True):
    """One model as it is now."""

    model: str
    running: int
    waiting: int
    kv_cache_usage: float
    """Share of the KV cells in use, 0 to 1."""
    workers: list[WorkerGauges]
    sessions: int = 0
    """Live transcription sessions that are open."""
    state: str = ""
    """One of MODEL_STATES."""
    version: int = 1
    queued: dict[str, int] = {}
    """Jobs in the gateway's queue, by priority class."""


class JobTimes(Struct, frozen=True):
    """One ended job, seconds from its arrival; None: it never came so far."""

    model: str
    task: str
    priority: str
    """Its class, as it came."""
    outcome: str
    """`ok`, or the error's code."""
    queue_s: float | None
    first_output_s: float | None
    total_s: float
    prompt_tokens: int
    generation_tokens: int
    pictures: int = 0


class Metrics:
    """What the engine and the HTTP layer report, and /metrics shows."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` series beside every counter helps nobody here
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        model, job = ("model",), ("model", "task")
        self._http = self._histogram(
            "http_request_duration_seconds", "HTTP", ("route", "method", "status"), _HTTP_S
        )
        self._requests = self._counter("requests", "Jobs ended", ("model", "task", "outcome"))
        self._prompt_tokens = self._counter("prompt_tokens", "Prompt tokens processed", model)
        self._generation_tokens = self._counter("generation_tokens", "Tokens generated", model)
        self._first = self._histogram(
            "time_to_first_token_seconds", "Arrival to first output", model, _LATENCY_S
        )
        self._inter = self._histogram(
            "inter_token_latency_seconds", "Between outputs of one job", model, _TOKEN_S
        )
        self._total = self._histogram("e2e_request_latency_seconds", "Arrival to end", job, _LATENCY_S)
        self._queue = self._histogram(
            "request_queue_time_seconds", "Arrival to start", (*job, "priority"), _LATENCY_S
        )
        self._pressure = self._gauge("memory_pressure", "1 for the step that it is at", ("step",))
        self.pressure_changed(PRESSURE_STEPS[0])
        self._sheds = self._counter("sheds", "Given up for memory", ("model", "action"))
        self._refusals = self._counter("refusals", "Requests refused at once", ("model", "reason"))
        self._batch = self._histogram("batch_size", "Items that shared one engine step", model, _BATCH)
        self._step = self._histogram("engine_step_seconds", "One engine step", model, _TOKEN_S)
        self._preemptions = self._counter(
            "preemptions", "Sequences put off because the KV cache was full", model
        )
        self._prefix_queries = self._counter(
            "prefix_cache_queries", "Prompt tokens looked up in the prefix cache", model
        )
        self._prefix_hits = self._counter("prefix_cache_hits", "Of those, tokens found there", model)
        self._drafts = self._counter("spec_decode_num_draft_tokens", "Tokens foretold by speculation", model)
        self._accepted = self._counter("spec_decode_num_accepted_tokens", "Of those, tokens that came", model)
        self._denoise_steps = self._counter(
            "denoise_steps", "Denoising steps, each picture's own counted", model
        )
        self._pictures = self._counter("pictures", "Pictures painted", model)
        self._worker_events = self._counter("worker_events", "Starts and ends of workers", ("model", "event"))
        self._audio_fed = self._counter("session_audio_seconds", "Audio fed to live sessions", model)
        self._load = self._histogram("model_load_seconds", "Start of a worker to ready", model, _LATENCY_S)
        self._loads = self._counter("model_loads", "Loads that have ended", ("model", "outcome"))
        self._swaps = self._counter("model_swaps", "Swaps that have ended", ("model", "outcome"))
        self._reloads = self._counter("config_reloads", "Reloads of the configuration", ("outcome",))
        # These come with every token, and labels() takes a lock and builds a key each time.
        self._of_step, self._of_batch, self._of_inter = (
            cache(histogram.labels) for histogram in (self._step, self._batch, self._inter)
        )

    def render(self) -> bytes:
        """The text that Prometheus scrapes, of type CONTENT_TYPE."""
        return generate_latest(self.registry)

    def bind(self, snapshot: Callable[[], Iterable[ModelGauges]]) -> None:
        """Where the gauges come from, asked at every scrape."""
        self.registry.register(_Gauges(snapshot))

    def bind_memory(self, figures: Callable[[], MemoryFigures]) -> None:
        """Where the figures of memory come from, asked at every scrape."""
        self.registry.register(MemoryCollector(figures))

    def http_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        self._http.labels(route, method, str(status)).observe(duration_s)

    def step(self, model: str, stats: StepStats) -> None:
        if stats.prefix_queries:
            self._prefix_queries.labels(model).inc(stats.prefix_queries)
            self._prefix_hits.labels(model).inc(stats.prefix_hits)
        if stats.draft_tokens:
            self._drafts.labels(model).inc(stats.draft_tokens)
            self._accepted.labels(model).inc(stats.draft_accepted)
        if stats.denoise_steps:
            self._denoise_steps.labels(model).inc(stats.denoise_steps)
        if not stats.batch_items and not stats.prefill_tokens:
            return
        self._of_step(model).observe(stats.step_s)
        if stats.batch_items:
            self._of_batch(model).observe(stats.batch_items)
        if stats.preemptions:
            self._preemptions.labels(model).inc(stats.preemptions)

    def inter_token(self, model: str, seconds: float) -> None:
        self._of_inter(model).observe(seconds)

    def job_ended(self, times: JobTimes) -> None:
        self._requests.labels(times.model, times.task, times.outcome).inc()
        self._total.labels(times.model, times.task).observe(times.total_s)
        if times.queue_s is not None:
            self._queue.labels(times.model, times.task, times.priority).observe(times.queue_s)
        if times.first_output_s is not None:
            self._first.labels(times.model).observe(times.first_output_s)
        self._prompt_tokens.labels(times.model).inc(times.prompt_tokens)
        self._generation_tokens.labels(times.model).inc(times.generation_tokens)
        if times.pictures:
            self._pictures.labels(times.model).inc(times.pictures)

    def refused(self, model: str, reason: str) -> None:
        """`model`: empty where none was looked at; `reason`: the error's code."""
        self._refusals.labels(model, reason).inc()

    def pressure_changed(self, step: str) -> None:
        for name in PRESSURE_STEPS:
            self._pressure.labels(name).set(name == step)

    def shed(self, model: str, action: str) -> None:
        """`action`: evicted, put back, aborted."""
        self._sheds.labels(model, action).inc()

    def worker_event(self, model: str, event: str) -> None:
        """`event`: started, ready, died, stopped."""
        self._worker_events.labels(model, event).inc()

    def audio_fed(self, model: str, seconds: float) -> None:
        """Audio that came in live sessions."""
        self._audio_fed.labels(model).inc(seconds)

    def load_ended(self, model: str, outcome: str, load_s: float = 0.0) -> None:
        """`outcome`: ok, cancelled, crash, invalid_model or out_of_memory; `load_s` counts where it is ok."""
        self._loads.labels(model, outcome).inc()
        if outcome == "ok":
            self._load.labels(model).observe(load_s)

    def swap_ended(self, model: str, outcome: str) -> None:
        """`outcome`: ok, or the error's code."""
        self._swaps.labels(model, outcome).inc()

    def config_reloaded(self, outcome: str) -> None:
        """`outcome`: ok, partly (a model could not be swapped) or refused (nothing has changed)."""
        self._reloads.labels(outcome).inc()

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"llm_cortex_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"llm_cortex_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(f"llm_cortex_{name}", text, labels, registry=self.registry, buckets=buckets)


class _Gauges(Collector):
    """States are read when asked for instead of being kept up to date at every change."""

    def __init__(self, snapshot: Callable[[], Iterable[ModelGauges]]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("llm_cortex_num_requests_running", "Jobs in an engine", labels=["model"])
        waiting = GaugeMetricFamily("llm_cortex_num_requests_waiting", "Jobs not started", labels=["model"])
        kv_cache = GaugeMetricFamily(
            "llm_cortex_kv_cache_usage_perc", "KV cells in use, 0 to 1", labels=["model"]
        )
        queued = GaugeMetricFamily(
            "llm_cortex_queue_length", "Jobs in the gateway's queue", labels=["model", "priority"]
        )
        labels = ["model", "worker", "device"]
        state = GaugeMetricFamily(
            "llm_cortex_worker_state", "1 for the state it is in", labels=[*labels, "state"]
        )
        memory = GaugeMetricFamily(
            "llm_cortex_worker_memory_bytes", "What it holds (PSS, NVML)", labels=labels
        )
        sessions = GaugeMetricFamily("llm_cortex_sessions_open", "Live sessions", labels=["model"])
        model_state = GaugeMetricFamily(
            "llm_cortex_model_state", "1 for the state it is in", labels=["model", "state"]
        )
        version = GaugeMetricFamily("llm_cortex_model_version", "The version that serves", labels=["model"])
        for model in self._snapshot():
            version.add_metric([model.model], model.version)
            for name in MODEL_STATES:
                model_state.add_metric([model.model, name], float(model.state == name))
            sessions.add_metric([model.model], model.sessions)
            running.add_metric([model.model], model.running)
            waiting.add_metric([model.model], model.waiting)
            kv_cache.add_metric([model.model], model.kv_cache_usage)
            for priority, length in model.queued.items():
                queued.add_metric([model.model, priority], length)
            for worker in model.workers:
                values = [worker.model, str(worker.worker_id), worker.device]
                memory.add_metric(values, worker.memory_bytes)
                for name in WORKER_STATES:
                    state.add_metric([*values, name], float(worker.state == name))
        return [running, waiting, queued, kv_cache, state, memory, sessions, model_state, version]
