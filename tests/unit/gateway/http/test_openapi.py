"""The OpenAPI document is whole and true: routes, fields, answers, errors, keys."""

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import Raw, Struct
from openapi_spec_validator import validate

from config.published import schema
from gateway.engine import errors
from gateway.http.auth import handlers
from gateway.http.openapi.document import document, document_path
from gateway.http.openapi.operation import OPERATION, Operation
from gateway.http.openapi.schemas import Schemas, alternatives, structs
from gateway.http.openapi.shapes import (
    RAW_FIELDS,
    REFUSED_FIELDS,
    ChatCompletionChunk,
    CompletionChunk,
    CortexDelta,
)
from gateway.keys import KeyRing
from tests.unit.gateway.http.fakes import AUDIO, EMBED, PAINTER, VISION, Site, make_site, open_site
from tests.unit.gateway.http.test_chat import frames

USER = {"role": "user", "content": "hi"}


@pytest.fixture(scope="module")
def app_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site") / "keys.json")


@pytest.fixture(scope="module")
def doc(app_site: Site) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(msgspec.json.encode(document(app_site.app, keys=False)))
    return made


def operations(site: Site) -> list[tuple[str, str, Any]]:
    """Path, method and handler of every route of the app."""
    return [
        (document_path(route), method.lower(), handler)
        for route in site.app.routes
        for handler in handlers(route)
        for method in getattr(handler, "http_methods", set()) - {"OPTIONS", "HEAD"}  # WebSockets have none
    ]


def assert_fits(doc: dict[str, Any], reference: dict[str, Any], value: Any) -> None:
    """A value fits a schema of the document."""
    problems = Draft202012Validator(reference | {"components": doc["components"]}).iter_errors(value)
    assert [f"{list(problem.path)}: {problem.message}" for problem in problems] == []


def body_of(doc: dict[str, Any], path: str) -> dict[str, Any]:
    content = doc["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert isinstance(content, dict)
    return content


def is_form(doc: dict[str, Any], path: str) -> bool:
    return "multipart/form-data" in doc["paths"][path]["post"]["requestBody"]["content"]


def answer_of(doc: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    response = doc["paths"][path][method]["responses"][str(status)]
    if "$ref" in response:
        response = doc["components"]["responses"][str(status)]
    found: dict[str, Any] = response["content"]["application/json"]["schema"]
    return found


def test_it_is_valid(doc: dict[str, Any]) -> None:
    validate(doc)


def test_every_route_is_in_it(app_site: Site, doc: dict[str, Any]) -> None:
    pages = [path for path, _, handler in operations(app_site) if handler.opt.get("page")]
    assert {"/", "/docs", "/paint"} <= set(pages)
    assert all(path in ("/", "/docs", "/paint") or path.startswith("/static/") for path in pages)
    routes = {(path, method) for path, method, handler in operations(app_site) if not handler.opt.get("page")}
    assert routes == {(path, method) for path, methods in doc["paths"].items() for method in methods}
    assert len(routes) >= 15


def test_no_raw_field_is_left_without_a_type(app_site: Site) -> None:
    known = RAW_FIELDS.keys() | REFUSED_FIELDS.keys()
    shapes = [handler.opt.get(OPERATION) for _, _, handler in operations(app_site)]
    named = [s for o in shapes if isinstance(o, Operation) for s in (o.request, o.answer, o.stream)]
    kinds = [kind for shape in named for kind in alternatives(shape)]
    raw = [
        (struct, field.name)
        for struct in structs(*kinds)
        for field in msgspec.structs.fields(struct)
        if "Raw" in str(field.type)
    ]
    assert len(raw) > 20
    missing = [
        (struct.__name__, name)
        for struct, name in raw
        if not any(issubclass(struct, owner) and name == field for owner, field in known)
    ]
    assert missing == []


def test_no_two_structs_share_a_name(app_site: Site, doc: dict[str, Any]) -> None:
    assert not [name for name in doc["components"]["schemas"] if "." in name or "_" in name]


def test_refused_fields_say_what_they_may_hold(doc: dict[str, Any]) -> None:
    chat = doc["components"]["schemas"]["ChatCompletionRequest"]["properties"]
    assert chat["store"]["enum"] == [None, False]
    assert chat["modalities"]["enum"] == [None, ["text"]]
    assert "#/components/schemas/FunctionTool" in json.dumps(chat["tools"])
    assert doc["components"]["schemas"]["ChatCompletionRequest"]["additionalProperties"] is False


def test_what_stands_under_a_field_is_told(doc: dict[str, Any]) -> None:
    fields = doc["components"]["schemas"]["EmbeddingRequest"]["properties"]
    assert fields["encoding_format"]["description"].startswith("Absent means float")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [USER], "response_format": {"type": "json_object"}}),
        (
            "/v1/chat/completions",
            {"messages": [USER], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        ("/v1/completions", {"prompt": [[1, 2], [3]], "stop": ["a"]}),
        ("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "base64"}),
        ("/tokenize", {"messages": [USER], "tools": []}),
    ],
)
def test_bodies_fit(doc: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    assert_fits(doc, body_of(doc, path)["schema"], {"model": "m"} | body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [USER], "temperature": 3}),
        ("/v1/chat/completions", {"messages": [USER], "store": True}),
        ("/v1/chat/completions", {"messages": [USER], "frobnicate": 1}),
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"messages": [USER], "response_format": {"type": "poem"}}),
        ("/v1/embeddings", {"input": {"a": 1}}),
        ("/v1/embeddings", {"input": [-1]}),
        ("/detokenize", {"tokens": ["a"]}),
    ],
)
async def test_what_the_document_forbids_is_refused(
    site: Site, doc: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    asked = {"model": EMBED.name if "embeddings" in path else "talker"} | body
    forbidden = Draft202012Validator(body_of(doc, path)["schema"] | {"components": doc["components"]})
    assert not forbidden.is_valid(asked)
    response = await site.client.post(path, json=asked)
    assert response.status_code == 400
    assert_fits(doc, answer_of(doc, path, "post", 400), response.json())


async def test_every_example_fits_and_is_answered_as_told(site: Site, doc: dict[str, Any]) -> None:
    for path, methods in doc["paths"].items():
        if "post" not in methods or "application/json" not in methods["post"]["requestBody"]["content"]:
            continue
        content = body_of(doc, path)
        assert_fits(doc, content["schema"], content["example"])
        body = content["example"] | ({"model": EMBED.name} if "embeddings" in path else {})
        response = await site.client.post(path, json=body)
        assert response.status_code == 200, (path, response.text)
        told = doc["paths"][path]["post"]["responses"]["200"]["content"]
        if "application/json" not in told:
            assert next(iter(told)).partition("/")[0] == response.headers["content-type"].partition("/")[0]
            continue
        assert_fits(doc, answer_of(doc, path, "post", 200), response.json())


async def test_every_form_is_answered_as_told(site: Site, doc: dict[str, Any]) -> None:
    forms = [path for path, methods in doc["paths"].items() if "post" in methods and is_form(doc, path)]
    assert {"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/vision/classify"} <= set(forms)
    for path in forms:
        schema = doc["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        file, model, formats = ("file", AUDIO, ("json", "verbose_json"))
        if "/images/" in path:
            file, model, formats = ("image", PAINTER, ("b64_json", "url"))
        assert file in schema["required"]
        assert "model" in schema["properties"]
        for form in formats if "response_format" in schema["properties"] else ("",):
            data = {
                "model": VISION.name if "vision" in path else model.name,
                "labels": ["a", "b"],
                "prompt": "x{}",
            }
            data = {name: value for name, value in data.items() if name in schema["properties"]}
            data |= {"response_format": form} if form else {}
            response = await site.client.post(path, data=data, files={file: b"sound"})
            assert response.status_code == 200, response.text
            assert_fits(doc, answer_of(doc, path, "post", 200), response.json())


async def test_events_of_transcripts_are_as_told(site: Site, doc: dict[str, Any]) -> None:
    data = {"model": AUDIO.name, "response_format": "verbose_json", "stream": "true"}
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        response = await site.client.post(path, data=data, files={"file": b"sound"})
        media = doc["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
        assert len(frames(response.text)) == 4
        for frame in frames(response.text):
            assert_fits(doc, media["schema"], json.loads(frame))


async def test_every_other_answer_is_as_told(site: Site, doc: dict[str, Any]) -> None:
    for path in ("/v1/models", "/v1/models/{model}", "/health/live", "/health/ready", "/openapi.json"):
        response = await site.client.get(path.replace("{model}", "talker"))
        assert_fits(doc, answer_of(doc, path, "get", 200), response.json())
    site.engine.ready = False
    assert_fits(
        doc, answer_of(doc, "/health/ready", "get", 503), (await site.client.get("/health/ready")).json()
    )
    assert_fits(
        doc, answer_of(doc, "/v1/models/{model}", "get", 404), (await site.client.get("/v1/models/no")).json()
    )


async def test_frames_of_streams_are_as_told(site: Site) -> None:
    asked = {"model": "talker", "stream": True, "stream_options": {"include_usage": True}}
    kinds: list[tuple[str, dict[str, Any], type[Struct]]] = [
        ("/v1/chat/completions", {"messages": [USER]}, ChatCompletionChunk),
        ("/v1/completions", {"prompt": "x"}, CompletionChunk),
        ("/api/v1/llm/chat", {"prompt": "x"}, CortexDelta),
    ]
    for path, body, kind in kinds:
        fields = asked | body if "api" not in path else {"stream": True} | body
        *data, last = frames((await site.client.post(path, json=fields)).text)
        assert len(data) >= 2
        for frame in data:
            msgspec.json.decode(frame, type=kind)
        assert last == "[DONE]" or json.loads(last)["done"] is True


def test_every_error_of_the_tree_is_told(doc: dict[str, Any]) -> None:
    told = doc["components"]["responses"]
    for error in (errors.ModelNotPulled, errors.PoisonRequest, errors.LimitExceeded, errors.BodyTooLarge):
        assert str(error.default_code) in told[str(error.status)]["description"]
    assert set(told["503"]["headers"]) == {"retry-after", "retry-after-ms", "x-queue-length"}


def test_keys_are_wanted_where_there_are_some(app_site: Site) -> None:
    locked = document(app_site.app, keys=True)["paths"]
    assert locked["/v1/models"]["get"]["security"] == [{"key": []}]
    assert "401" in locked["/v1/models"]["get"]["responses"]
    assert locked["/health/live"]["get"]["security"] == []
    assert "401" not in locked["/health/live"]["get"]["responses"]


async def test_what_is_public_is_public(tmp_path: Path) -> None:
    KeyRing.open(tmp_path / "keys.json").create("someone", ["api"])
    async with open_site(tmp_path / "keys.json") as site:
        served = (await site.client.get("/openapi.json")).json()
        for path, methods in served["paths"].items():
            for method, told in methods.items():
                response = await site.client.request(method, path.replace("{model}", "x"))
                assert (response.status_code == 401) == bool(told["security"]), path
        for page in ("/docs", "/static/docs.js", "/static/swagger-ui-bundle.js", "/static/swagger-ui.css"):
            response = await site.client.get(page)
            assert response.status_code == 200
            assert "default-src 'none'" in response.headers["content-security-policy"]
            assert "unsafe" not in response.headers["content-security-policy"]


async def test_the_schema_of_the_configuration_is_served(site: Site) -> None:
    response = await site.client.get("/config-schema.json")
    assert_json(response)
    assert response.json() == json.loads(msgspec.json.encode(schema()))


def assert_json(response: httpx.Response) -> None:
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")


class Inner(Struct, frozen=True):
    """What is inside."""

    value: int
    """In units."""


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    inner: list[Inner] | None = None
    free: Raw = Raw(b"null")


def test_a_type_becomes_a_component() -> None:
    made = Schemas([Outer, (int, str)])
    assert made.of(Outer) == {"$ref": "#/components/schemas/Outer"}
    assert made.of((int, str)) == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert made.components["Inner"]["description"] == "What is inside."
    assert made.components["Inner"]["properties"]["value"] == {"description": "In units.", "type": "integer"}
    assert made.components["Outer"]["additionalProperties"] is False
