"""The gateway process from its start to its end: socket, engine, HTTP server, signals, drain.

Owns the order of things. A port in use is found before anything else is started; SIGTERM and SIGINT let the
open requests finish; a second signal forces; no worker outlives the process.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import structlog

from config.load import ConfigFile, cache_dir, keys_file, spool_dir
from config.schema import Config
from gateway.http.hosts import is_loopback
from gateway.keys import KeyRing
from gateway.spool import Spool
from gateway.telemetry.logging import configure_logging

if TYPE_CHECKING:
    import uvicorn

    from gateway.engine.engine import Engine

log = structlog.get_logger(__name__)

FLUSH_S = 0.5
"""Time for in-band errors to reach their clients before connections close."""
BACKLOG = 2048
_PING_S = 20.0
"""Between pings on a WebSocket: proxies close connections that are silent for longer."""


class StartError(Exception):
    """The gateway cannot start; the message says why and what to do."""


def serve(config: Config, file: ConfigFile) -> int:
    """Run until told to stop; the exit status."""
    configure_logging(config.log)
    try:
        keys = KeyRing.open(keys_file(config))
        _check_exposure(config, keys)
        sock = _bind(config)
        spool = _open_spool(config)
    except StartError as error:
        print(f"llm-cortex: {error}", file=sys.stderr)
        return 1
    import uvloop

    with sock, contextlib.closing(spool):
        status: int = uvloop.run(_run(config, file, keys, sock, spool))
    return status


def _check_exposure(config: Config, keys: KeyRing) -> None:
    """Beyond loopback only with keys: an open model server on a network is a gift to strangers."""
    if not keys and not is_loopback(config.server.host):
        raise StartError(
            f"binding to {config.server.host} without API keys would let everyone on the network in; "
            "make a key first: llm-cortex keys create NAME"
        )


def _bind(config: Config) -> socket.socket:
    host, port = config.server.host, config.server.port
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "stop what uses the port or choose another one (--port, make run PORT=…)"
        ) from None
    return sock


def _open_spool(config: Config) -> Spool:
    parent = spool_dir(config)
    try:
        return Spool(parent)
    except OSError as error:
        raise StartError(
            f"cannot make a folder for temporary files in {parent}: {error.strerror or error}; "
            "set paths.spool_dir to one that can be written"
        ) from None


async def _run(config: Config, file: ConfigFile, keys: KeyRing, sock: socket.socket, spool: Spool) -> int:
    # Imported late, so that a port in use is reported at once.
    import anyio
    import uvicorn

    from gateway.app import create_app
    from gateway.engine.engine import Engine
    from gateway.http.connections import Connection, ConnectionLimit, raise_file_limit
    from gateway.reloading import Reloader
    from gateway.telemetry.metrics import Metrics
    from gateway.weights.store import WeightsStore

    class Server(uvicorn.Server):
        """uvicorn without its own signal handlers: the order of the shutdown is ours."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    limit = ConnectionLimit(
        config.limits.connections, raise_file_limit(), sum(spec.replicas for spec in config.models)
    )
    metrics = Metrics()
    cache = cache_dir(config)
    engine = Engine(config, WeightsStore(cache), metrics, cache, spool.folder)
    reloader = Reloader(file, config, engine, metrics)
    app = create_app(config, engine, metrics, keys, reloader=reloader, spool=spool.folder, connections=limit)
    server = Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            http=partial(  # type: ignore[arg-type]
                Connection,
                limit=limit,
                head_s=config.timeouts.head_s,
                send_s=config.timeouts.send_s,
            ),
            timeout_graceful_shutdown=2,
            ws="websockets-sansio",
            ws_max_size=config.limits.json_body_bytes,
            ws_ping_interval=_PING_S,
            # While a fast client is slowed down its pongs are not read either; see timeouts.queue_s, step_s.
            ws_ping_timeout=config.timeouts.queue_s + config.timeouts.step_s,
            ws_per_message_deflate=False,
        )
    )
    async with anyio.create_task_group():
        pass  # its first use imports files, for which there may be no descriptor left under load
    shutdown = _Shutdown(config, engine, server, spool)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.request)
    watch = config.server.watch_config_s
    watching = asyncio.create_task(reloader.watch(watch), name="watch") if watch else None
    await engine.start()
    gc.collect()
    gc.freeze()
    _announce(config, sock.getsockname()[1])
    try:
        await server.serve(sockets=[sock])
        return shutdown.status
    finally:
        if watching is not None:
            watching.cancel()
        await engine.stop()


class _Shutdown:
    """What the first and the second signal do."""

    def __init__(self, config: Config, engine: "Engine", server: "uvicorn.Server", spool: Spool) -> None:
        self.status = 0
        self._drain_s = config.timeouts.drain_s
        self._engine = engine
        self._server = server
        self._spool = spool
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._task is not None:
            log.warning("forced shutdown")
            self._engine.kill()
            self._spool.close()
            os._exit(128 + number)
        log.info("shutting down", signal=number.name, drain_s=self._drain_s)
        self._task = asyncio.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        from gateway.engine.errors import Draining

        try:
            if not await self._engine.drain(self._drain_s):
                error = Draining("The server has shut down before the answer was complete.")
                self._engine.fail_open_jobs(error)
                await asyncio.sleep(FLUSH_S)
        finally:
            self._server.should_exit = True


def _announce(config: Config, port: int) -> None:
    """Say what is served and how to try it, on stdout: it is the command's answer, not a log line."""
    host = config.server.host
    shown = f"[{host}]" if ":" in host else host
    base_url = f"http://{shown}:{port}"
    lines = [
        f"LLM-Cortex serves on {base_url} (web page there, OpenAI API at {base_url}/v1, described at /docs)",
        "",
    ]
    for spec in config.models:
        aliases = f"  (also: {', '.join(spec.aliases)})" if spec.aliases else ""
        lines.append(f"  {spec.name:<28} {', '.join(spec.tasks)}{aliases}")
    if not config.models:
        lines.append("  no model: name some under `models:`, or add one with `llm-cortex models add`")
    chat = next((spec.name for spec in config.models if "generate" in spec.tasks), None)
    if chat:
        body = f'{{"model": "{chat}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'
        lines += [
            "",
            "Try:",
            f"  curl {base_url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'",
        ]
    print("\n".join(lines), flush=True)
