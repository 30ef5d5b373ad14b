"""Structured logs: one line an event, for a terminal or as JSON.

Owns how log lines look and what may stand in them: never a prompt, an answer or a key. An error that
nobody foresaw is logged by its type and the places it passed, without its message and local values, which
may hold what a user wrote.
"""

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import Processor

from config.schema import LogConfig

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("llm_cortex")


def configure_logging(config: LogConfig) -> None:
    """Send our log and the standard library's (uvicorn's) to stderr in one form."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_message,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(config)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # These say per request and per chunk what our own lines say once, chunks with their text.
    # uvicorn.error would also show a WebSocket's URL and, at debug, its headers, keys among them.
    for name in ("uvicorn.access", "uvicorn.error", "sse_starlette", "httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_unforeseen(error: BaseException) -> None:
    """An error that is a bug of ours."""
    log.error("unforeseen error", error=type(error).__name__, frames=_frames(error))


def _renderer(config: LogConfig) -> Processor:
    as_console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    if not as_console:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer()


def _frames(error: BaseException) -> list[str]:
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]


def _without_message(logger: Any, method: str, event: Any) -> Any:
    """An exception that is logged, by us or by a library, keeps its type and frames alone."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    elif isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[1] is not None:
        event["error"] = type(info[1]).__name__
        event["frames"] = _frames(info[1])
    return event
