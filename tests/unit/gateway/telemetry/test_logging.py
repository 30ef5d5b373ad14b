"""Log lines: one form for all, and nothing that a user wrote."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from config.schema import LogConfig
from gateway.telemetry.logging import configure_logging, log_unforeseen

SECRET = "what the user wrote"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> BaseException:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        return error


def test_a_line_carries_the_request_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogConfig(format="json"))
    bind_contextvars(request_id="req_1")
    structlog.get_logger("x").info("hello", status=200)
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["status"], line["request_id"]) == (
        "hello",
        "info",
        200,
        "req_1",
    )


def test_an_unforeseen_error_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogConfig(format="json"))
    log_unforeseen(fail())
    (line,) = lines(capsys)
    assert line["error"] == "KeyError"
    assert any("test_logging.py" in frame and "fail" in frame for frame in line["frames"])
    assert SECRET not in json.dumps(line)


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("library", [False, True])
def test_a_logged_exception_loses_its_message(
    capsys: pytest.CaptureFixture[str], style: Any, library: bool
) -> None:
    configure_logging(LogConfig(format=style))
    logger: Any = logging.getLogger("uvicorn.error") if library else structlog.get_logger("x")
    logger.error("broken", exc_info=fail())
    text = capsys.readouterr().err
    assert "broken" in text
    assert "KeyError" in text
    assert SECRET not in text


def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogConfig(format="json", level="warning"))
    structlog.get_logger("x").info("quiet")
    logging.getLogger("uvicorn.error").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_chunks_are_never_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogConfig(format="json", level="debug"))
    logging.getLogger("sse_starlette.sse").debug("chunk: %s", SECRET)
    assert lines(capsys) == []
