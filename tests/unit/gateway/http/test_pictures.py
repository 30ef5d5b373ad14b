"""Pictures in chat and in embeddings, over a scripted engine."""

import base64
import json
from typing import Any

import pytest

from backends.protocol import CaptionParameters, Inline, Media, Text, Tokens
from gateway.engine.errors import BadRequest
from tests.unit.gateway.http.fakes import EMBED, Site, assert_envelope, failure
from tests.unit.gateway.http.test_chat import frames

PICTURE = base64.b64encode(b"dots").decode()
URL = f"data:image/png;base64,{PICTURE}"
SHOWN = {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}
ASKED = {"type": "text", "text": "What is this?"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


async def ask(site: Site, *messages: Any, **fields: Any) -> Any:
    body = {"model": "blip", "messages": [*messages]} | fields
    return await site.client.post("/v1/chat/completions", json=body)


async def embed(site: Site, inputs: Any, model: str = "clip") -> Any:
    return await site.client.post("/v1/embeddings", json={"model": model, "input": inputs})


# --- chat ------------------------------------------------------------------------------------------------


async def test_a_captioner_answers_a_picture_with_its_caption(site: Site) -> None:
    answer = (await ask(site, user(ASKED, SHOWN), max_completion_tokens=7)).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "a dog 0"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (1, 3)
    job, _ = site.engine.jobs[0]
    assert (job.model, job.task, job.parameters) == ("seer", "caption", CaptionParameters(max_tokens=7))
    assert job.items == [Media(Inline(b"dots"), param="messages[0].content[1].image_url.url")]


async def test_the_last_user_message_counts_and_each_of_its_pictures(site: Site) -> None:
    earlier = [user(SHOWN), {"role": "assistant", "content": "a cat"}]
    answer = (await ask(site, *earlier, user(SHOWN, ASKED, SHOWN))).json()
    assert answer["choices"][0]["message"]["content"] == "a dog 0\na dog 1"
    assert answer["usage"]["completion_tokens"] == 6


async def test_a_stream_is_one_delta(site: Site) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, done = frames((await ask(site, user(SHOWN), **options)).text)
    assert done == "[DONE]"
    told = [json.loads(chunk) for chunk in chunks]
    texts = [choice["delta"].get("content") for chunk in told for choice in chunk["choices"]]
    assert [text for text in texts if text] == ["a dog 0"]
    assert [choice["finish_reason"] for chunk in told for choice in chunk["choices"]][-1] == "stop"
    assert told[-1]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_worker_keeps_its_status(site: Site, stream: bool) -> None:
    site.engine.script = failure(BadRequest("no picture", param="messages[0]", code="invalid_image"))
    assert_envelope(await ask(site, user(SHOWN), stream=stream), 400, "messages[0]")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([user(ASKED)], "messages"),
        ([{"role": "user", "content": "hi"}], "messages"),
        ([user(SHOWN), user(ASKED)], "messages"),
        ([{"role": "system", "content": [SHOWN]}], "messages"),
        ([user({"type": "image_url"})], "messages[0].content[0].image_url"),
        ([user({"type": "image_url", "image_url": URL})], "messages[0].content[0].image_url"),
        ([user({"type": "image_url", "image_url": {"url": "x!"}})], "messages[0].content[0].image_url.url"),
        (
            [user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}})],
            "messages[0].content[0].image_url.url",
        ),
        ([user(SHOWN, {"type": "input_audio", "input_audio": {}})], "messages[0].content[1]"),
        ([user(*[SHOWN] * 5)], "messages[0].content[0].image_url.url"),
    ],
)
async def test_what_a_captioner_cannot_answer_is_named(site: Site, messages: Any, param: str) -> None:
    assert_envelope(await ask(site, *messages), 400, param)
    assert site.engine.jobs == []


@pytest.mark.parametrize("field", [{"temperature": 0.5}, {"stop": ["a"]}, {"n": 2}, {"tools": [{}]}])
async def test_parameters_that_a_captioner_lacks_are_refused(site: Site, field: dict[str, Any]) -> None:
    response = await ask(site, user(SHOWN), **field)
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(next(iter(field)))


async def test_a_text_model_refuses_a_picture(site: Site) -> None:
    response = await ask(site, user(ASKED, SHOWN), model="talker")
    assert assert_envelope(response, 400, "messages[0].content[1]")["code"] == "unsupported_parameter"


async def test_a_captioner_is_no_chat_model_elsewhere(site: Site) -> None:
    body = {"model": "blip", "prompt": "hi"}
    assert_envelope(await site.client.post("/api/v1/llm/chat", json=body), 400, "model")


# --- embeddings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "items"),
    [
        (URL, [Media(Inline(b"dots"), param="input")]),
        ({"image": PICTURE}, [Media(Inline(b"dots"), param="input.image")]),
        ({"text": "a"}, [Text("a")]),
        (
            ["a", {"image": URL}, {"text": URL}, URL],
            [
                Text("a"),
                Media(Inline(b"dots"), param="input[1].image"),
                Text(URL),
                Media(Inline(b"dots"), param="input[3]"),
            ],
        ),
        ("a", [Text("a")]),
        (["a", ""], [Text("a"), Text("")]),
        ([1, 2], [Tokens([1, 2])]),
        ([[1], [2]], [Tokens([1]), Tokens([2])]),
    ],
)
async def test_inputs_of_a_model_that_sees(site: Site, inputs: Any, items: list[Any]) -> None:
    response = await embed(site, inputs)
    assert response.status_code == 200, response.text
    assert len(response.json()["data"]) == len(items)
    assert site.engine.jobs[0][0].items == items


@pytest.mark.parametrize(
    ("inputs", "param"),
    [
        ([], "input"),
        ({}, "input"),
        ([{"image": URL, "text": "a"}], "input[0]"),
        (["a", {"image": "!"}], "input[1].image"),
        ([{"picture": URL}], "input[0].picture"),
        (["a", 1], "input[1]"),
        (["a"] * 2049, "input"),
    ],
)
async def test_inputs_that_are_none_are_named(site: Site, inputs: Any, param: str) -> None:
    assert_envelope(await embed(site, inputs), 400, param)


@pytest.mark.parametrize(
    ("inputs", "param"), [(URL, "input"), (["a", URL], "input[1]"), ({"image": URL}, "input")]
)
async def test_a_model_of_texts_refuses_pictures(site: Site, inputs: Any, param: str) -> None:
    assert_envelope(await embed(site, inputs, EMBED.name), 400, param)
