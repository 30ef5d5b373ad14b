"""POST /v1/chat/completions over a scripted engine."""

import json

from backends.protocol import (
    Chat,
    ChatMessage,
    Delta,
    Finished,
    GenerateParameters,
    GenerationResult,
    ItemDone,
    Job,
    TokenLogprob,
    ToolCall,
)
from gateway.engine.stream import JobStream
from tests.unit.gateway.http.fakes import CHAT_DESCRIPTION, Site, assert_envelope


async def test_a_chat_is_answered_in_openais_shape(site: Site) -> None:
    response = await site.chat(model="gpt-4o-mini", temperature=0.5, max_completion_tokens=9)
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "talker"
    choice = body["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "Hello"
    assert choice["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == 10
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


async def test_the_job_carries_what_was_asked(site: Site) -> None:
    await site.chat(temperature=0.5, max_completion_tokens=9, stop="x", seed=3)
    job, key = site.engine.jobs[0]
    assert job.items == [Chat([ChatMessage("user", "hi")])]
    assert job.parameters == GenerateParameters(max_tokens=9, temperature=0.5, stop=["x"], seed=3)
    assert (job.model, job.task, job.stream, key) == ("talker", "generate", False, "")
    assert job.timeout_s == 600.0


def frames(text: str) -> list[str]:
    assert text.endswith("\n\n")
    parts = text[:-2].split("\n\n")
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return [part.removeprefix("data: ") for part in parts]


async def test_a_streamed_chat(site: Site) -> None:
    response = await site.chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    *chunks, done = frames(response.text)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert parsed[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in parsed)
    assert text == 'Hello "you"\n'
    assert [chunk["choices"][0]["finish_reason"] for chunk in parsed] == [None, None, None, "stop"]
    assert all("usage" not in chunk for chunk in parsed)
    assert len({chunk["id"] for chunk in parsed}) == 1


async def test_usage_is_streamed_only_when_asked_for(site: Site) -> None:
    response = await site.chat(stream=True, stream_options={"include_usage": True})
    *chunks, done = frames(response.text)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert all(chunk["usage"] is None for chunk in parsed[:-1])
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"]["completion_tokens"] == 3


async def test_a_model_that_does_not_chat_is_refused(site: Site) -> None:
    assert_envelope(await site.chat(model="org/embedder"), 400, "model")


async def test_an_unknown_model_is_not_found(site: Site) -> None:
    error = assert_envelope(await site.chat(model="nope"), 404, "model")
    assert error["code"] == "model_not_found"


async def test_what_an_answer_kept_for_its_end_is_streamed_before_it(site: Site) -> None:
    def late(job: Job, stream: JobStream) -> None:
        stream.push(Delta(job.id, 0, "Hel"))
        logprobs = [TokenLogprob(b"lo", -1.0)]
        calls = [ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", "{}")]
        result = GenerationResult("lo", "tool_calls", 7, 3, 0, "hm", calls, 0, logprobs)
        stream.push(ItemDone(job.id, 0, result))
        stream.push(Finished(job.id))
        stream.end()

    site.engine.script = late
    *chunks, done = frames((await site.chat(stream=True)).text)
    assert done == "[DONE]"
    _, first, rest, end = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert first["delta"] == {"content": "Hel"}
    assert (rest["delta"]["content"], rest["delta"]["reasoning"]) == ("lo", "hm")
    called = [(call["index"], call["id"], call["function"]) for call in rest["delta"]["tool_calls"]]
    assert called == [
        (0, "call_1", {"arguments": "{}", "name": "f"}),
        (1, "call_2", {"arguments": "{}", "name": "g"}),
    ]
    assert rest["logprobs"]["content"][0]["token"] == "lo"
    assert (end["delta"], end["finish_reason"]) == ({}, "tool_calls")


async def test_many_logprobs_are_rendered_on_a_thread_alike(site: Site) -> None:
    def long(job: Job, stream: JobStream) -> None:
        logprobs = [TokenLogprob(b"a", -1.0)] * 1001
        stream.push(ItemDone(job.id, 0, GenerationResult("a" * 1001, "stop", 7, 1001, logprobs=logprobs)))
        stream.push(Finished(job.id))
        stream.end()

    site.engine.script = long
    site.engine.parameters = [*CHAT_DESCRIPTION.parameters, "logprobs"]
    body = (await site.chat(logprobs=True)).json()
    assert len(body["choices"][0]["logprobs"]["content"]) == 1001
