"""The smaller routes: completions, embeddings, models, health, the older route, the page."""

import base64
import json
from array import array
from pathlib import Path

import pytest

from backends.protocol import Text, Tokens
from gateway.engine.errors import ModelNotPulled
from gateway.http.page import page_routes
from tests.unit.gateway.http.fakes import EMBED, Site, assert_envelope
from tests.unit.gateway.http.test_chat import frames


async def test_completions_of_several_prompts(site: Site) -> None:
    response = await site.client.post("/v1/completions", json={"model": "talker", "prompt": ["a", "b"]})
    body = response.json()
    assert body["object"] == "text_completion"
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [(0, "Hello"), (1, "Hello")]
    assert body["usage"]["prompt_tokens"] == 14
    job, _ = site.engine.jobs[0]
    assert job.items == [Text("a"), Text("b")]
    assert job.parameters.max_tokens == 16  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prompt", "items"),
    [("a", [Text("a")]), ([1, 2], [Tokens([1, 2])]), ([[1], [2, 3]], [Tokens([1]), Tokens([2, 3])])],
)
async def test_prompts_of_every_shape(site: Site, prompt: object, items: list[object]) -> None:
    await site.client.post("/v1/completions", json={"model": "talker", "prompt": prompt, "max_tokens": 3})
    assert site.engine.jobs[0][0].items == items


async def test_streamed_completions_tell_their_prompts_apart(site: Site) -> None:
    response = await site.client.post(
        "/v1/completions",
        json={
            "model": "talker",
            "prompt": ["a", "b"],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )
    *chunks, done = frames(response.text)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    for index in (0, 1):
        choices = [chunk["choices"][0] for chunk in parsed[:-1] if chunk["choices"][0]["index"] == index]
        assert "".join(choice["text"] for choice in choices) == 'Hello "you"\n'
        assert choices[-1]["finish_reason"] == "stop"
    assert parsed[-1]["usage"]["total_tokens"] == 20


async def test_embeddings_are_floats_unless_base64_is_asked_for(site: Site) -> None:
    fields = {"model": EMBED.name, "input": ["a", ""]}
    plain = (await site.client.post("/v1/embeddings", json=fields)).json()
    assert plain["object"] == "list"
    assert [item["index"] for item in plain["data"]] == [0, 1]
    assert plain["data"][1]["embedding"] == [0.5, -1.0]
    assert plain["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    coded = (await site.client.post("/v1/embeddings", json=fields | {"encoding_format": "base64"})).json()
    assert array("f", base64.b64decode(coded["data"][0]["embedding"])).tolist() == [0.5, -1.0]


async def test_many_embeddings_are_rendered_on_a_thread_alike(site: Site) -> None:
    fields = {"model": EMBED.name, "input": ["a"] * 2048, "dimensions": 2}
    body = (await site.client.post("/v1/embeddings", json=fields)).json()
    assert [item["index"] for item in body["data"]] == list(range(2048))


async def test_a_chat_model_does_not_embed(site: Site) -> None:
    response = await site.client.post("/v1/embeddings", json={"model": "talker", "input": "a"})
    assert_envelope(response, 400, "model")


async def test_models_are_listed(site: Site) -> None:
    body = (await site.client.get("/v1/models")).json()
    assert body["object"] == "list"
    first = body["data"][0]
    assert (first["id"], first["object"], first["created"], first["owned_by"]) == (
        "talker",
        "model",
        1_700_000_000,
        "llm-cortex",
    )
    assert first["aliases"] == ["gpt-4o-mini"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("talker", "talker"),
        ("gpt-4o-mini", "talker"),
        ("org/embedder", "org/embedder"),
        ("org%2Fembedder", "org/embedder"),
    ],
)
async def test_a_model_is_found_by_its_name(site: Site, path: str, name: str) -> None:
    assert (await site.client.get(f"/v1/models/{path}")).json()["id"] == name


@pytest.mark.parametrize(
    "path", ["nope", "..%2f..%2fetc", "%2e%2e", "a\\b", "a%00b", "x" * 4096, "talker/more"]
)
async def test_a_model_that_is_not_there(site: Site, path: str) -> None:
    response = await site.client.get(f"/v1/models/{path}")
    assert_envelope(response, 404, "model")
    assert len(response.text) < 1000


async def test_a_model_by_itself_tells_what_it_can_do(site: Site) -> None:
    body = (await site.client.get("/v1/models/talker")).json()
    assert (body["id"], body["context_length"], body["error"]) == ("talker", 2048, "")
    told = body["capabilities"]
    assert told["parameters"] == sorted(site.engine.parameters)
    assert told["tasks"] == ["generate", "tokenize", "detokenize"]
    assert (told["backend"], told["vocabulary_size"], told["device_kinds"]) == ("fake", 1000, ["cpu"])
    listed = (await site.client.get("/v1/models")).json()["data"][0]
    assert listed == {name: listed[name] for name in body if name != "capabilities"}


async def test_a_model_that_cannot_be_described_says_why(site: Site) -> None:
    site.engine.undescribed = ModelNotPulled("talker is not on disk")
    body = (await site.client.get("/v1/models/talker")).json()
    assert (body["capabilities"], body["error"]) == (None, "talker is not on disk")


async def test_liveness_and_readiness(site: Site) -> None:
    assert (await site.client.get("/health/live")).status_code == 200
    ready = await site.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    site.engine.ready = False
    starting = await site.client.get("/health/ready")
    assert (starting.status_code, starting.json()["status"]) == (503, "starting")
    assert starting.headers["retry-after"] == "1"
    assert starting.json()["models"] == {
        "talker": "ready",
        EMBED.name: "ready",
        "parrot": "ready",
        "seer": "ready",
        "painter": "ready",
    }
    site.engine.draining = True
    assert (await site.client.get("/health/ready")).json()["status"] == "draining"


async def test_metrics_are_prometheus_text(site: Site) -> None:
    response = await site.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "llm_cortex_" in response.text


@pytest.mark.parametrize(
    "asked", [{"prompt": "hi"}, {"message": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}]
)
async def test_the_older_route(site: Site, asked: dict[str, object]) -> None:
    response = await site.client.post("/api/v1/llm/chat", json=asked | {"system": "be brief"})
    body = response.json()
    assert set(body) == {"id", "model", "message", "finish_reason", "usage"}
    assert body["message"] == {"role": "assistant", "content": "Hello"}
    chat = site.engine.jobs[0][0].items[0]
    assert [(message.role, message.content) for message in chat.messages] == [  # type: ignore[union-attr]
        ("system", "be brief"),
        ("user", "hi"),
    ]


async def test_the_older_route_streams(site: Site) -> None:
    response = await site.client.post("/api/v1/llm/chat", json={"prompt": "hi", "stream": True})
    *deltas, end = [json.loads(frame) for frame in frames(response.text)]
    assert "".join(frame["delta"] for frame in deltas) == 'Hello "you"\n'
    assert (end["done"], end["finish_reason"], end["usage"]["total_tokens"]) == (True, "stop", 10)


async def test_the_page_is_served_with_a_strict_policy(site: Site) -> None:
    response = await site.client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = await site.client.get("/", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_only_the_pages_own_kinds_of_file_are_served(tmp_path: Path) -> None:
    for name in ("index.html", "app.js", "notes.txt", "__init__.py", ".env"):
        (tmp_path / name).write_text("x")
    (tmp_path / "inner").mkdir()
    assert sorted(path for route in page_routes(tmp_path) for path in route.paths) == ["/", "/static/app.js"]
