"""Each error of the gateway, and each of the framework, as an answer."""

import json
from typing import Any

import pytest
from litestar.exceptions import HTTPException

from compat.errors import InvalidRequest
from gateway.engine import errors
from gateway.engine.errors import GatewayError
from gateway.http.errors import as_gateway_error, envelope, error_answer, error_frame
from tests.unit.gateway.http.fakes import Site, assert_envelope, failure, open_site

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GatewayError) and kind is not GatewayError
]
EXPECTED: dict[str, tuple[int, str | None]] = {
    "RequestError": (400, None),
    "BadRequest": (400, None),
    "ContextExceeded": (400, "context_length_exceeded"),
    "Unauthorized": (401, "invalid_api_key"),
    "Forbidden": (403, "forbidden"),
    "NotFound": (404, "not_found"),
    "ModelNotFound": (404, "model_not_found"),
    "MethodNotAllowed": (405, "method_not_allowed"),
    "BodyTimeout": (408, "body_timeout"),
    "Conflict": (409, "conflict"),
    "BodyTooLarge": (413, "body_too_large"),
    "UnsupportedMedia": (415, "unsupported_media_type"),
    "LimitExceeded": (429, "rate_limit_exceeded"),
    "KeyQueueFull": (429, "key_queue_full"),
    "Unavailable": (503, None),
    "QueueFull": (503, "queue_full"),
    "QueueTimeout": (503, "queue_timeout"),
    "WaitTooLong": (503, "wait_too_long"),
    "Draining": (503, "shutting_down"),
    "ModelLoading": (503, "model_loading"),
    "ModelFailed": (503, "model_failed"),
    "ModelNotPulled": (503, "model_not_pulled"),
    "ModelUnloaded": (503, "model_unloaded"),
    "NoRoom": (503, "insufficient_memory"),
    "MemoryShort": (503, "memory_short"),
    "StorageFailed": (503, "storage_failed"),
    "WorkerDied": (503, "worker_died"),
    "RequestTimeout": (504, "timeout"),
    "SessionExpired": (504, "session_expired"),
    "SessionIdle": (504, "session_idle"),
    "InternalError": (500, "internal_error"),
    "PoisonRequest": (500, "poison_request"),
}


def headers_of(error: GatewayError) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in error_answer(error).headers}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
async def test_each_error_class_is_an_answer(tmp_path: Any, kind: type[GatewayError]) -> None:
    status, code = EXPECTED[kind.__name__]
    error = kind("it went wrong", param="input")
    async with open_site(tmp_path / "keys.json", failure(error)) as site:
        for stream in (False, True):
            response = await site.chat(stream=stream)
            fields = assert_envelope(response, status, "input")
            assert (fields["message"], fields["code"]) == ("it went wrong", code)
            overload = status in (429, 503)
            assert ("retry-after" in response.headers) == overload
            assert ("retry-after-ms" in response.headers) == overload
            assert response.headers.get("x-should-retry") == ("false" if kind.should_retry is False else None)


@pytest.mark.parametrize(
    ("given", "seconds", "milliseconds"),
    [
        (None, "1", "1000"),
        (0.25, "1", "250"),
        (2.5, "3", "2500"),
        (3600.0, "120", "120000"),
        (0, "1", "1000"),
    ],
)
def test_overload_says_when_to_come_back(given: float | None, seconds: str, milliseconds: str) -> None:
    headers = headers_of(errors.QueueFull("full", retry_after_s=given))
    assert (headers["retry-after"], headers["retry-after-ms"]) == (seconds, milliseconds)


def test_a_refusal_says_where_in_the_queue_it_stood() -> None:
    headers = headers_of(errors.QueueTimeout("late", queue_position=3, queue_length=7))
    assert (headers["x-queue-position"], headers["x-queue-length"]) == ("3", "7")
    assert not any(name.startswith("x-queue") for name in headers_of(errors.Draining("bye")))


def test_a_refusal_of_compat_is_a_bad_request() -> None:
    told = as_gateway_error(InvalidRequest("no", "n", "invalid_value"))
    assert (told.status, told.message, told.param, told.code) == (400, "no", "n", "invalid_value")


@pytest.mark.parametrize(
    ("status", "told"), [(400, 400), (404, 404), (413, 413), (415, 415), (418, 400), (500, 500)]
)
def test_the_frameworks_errors_are_told_in_our_words(status: int, told: int) -> None:
    error = as_gateway_error(HTTPException(detail="internals", status_code=status))
    assert error.status == told
    assert "internals" not in error.message


def test_deep_recursion_is_the_requests_fault() -> None:
    assert as_gateway_error(RecursionError()).status == 400


def test_an_unforeseen_error_tells_nothing() -> None:
    told = as_gateway_error(KeyError("what the user wrote"))
    assert told.status == 500
    assert "user" not in told.message


def test_a_message_that_is_no_unicode_is_mended() -> None:
    fields = json.loads(envelope(errors.BadRequest("a\ud800b", param="c\udc00")))["error"]
    assert (fields["message"], fields["param"]) == ("a?b", "c?")


def test_an_in_band_error_is_one_data_frame() -> None:
    frame = error_frame(errors.WorkerDied("gone"))
    assert frame.startswith(b'data: {"error":{')
    assert frame.endswith(b"}}\n\n")
    assert frame.count(b"\n") == 2


@pytest.mark.parametrize(
    "path", ["/v1/nope", "/v1", "/nope", "/v1/chat", "/static/../app.py", "/static/nope.js"]
)
async def test_an_unknown_route_is_not_found(site: Site, path: str) -> None:
    assert_envelope(await site.client.post(path, json={}), 404)


async def test_a_wrong_method_says_which_are_right(site: Site) -> None:
    response = await site.client.get("/v1/chat/completions")
    assert_envelope(response, 405)
    assert "POST" in response.headers["allow"]


async def test_a_refusal_at_submit_keeps_its_status(site: Site) -> None:
    site.engine.refusal = errors.Draining("shutting down")
    for stream in (False, True):
        assert_envelope(await site.chat(stream=stream), 503)
