"""Malformed and hostile bodies: a 4xx in the envelope that names the parameter, never a 500."""

import json
from typing import Any

import pytest

from config.schema import LimitsConfig
from tests.unit.gateway.http.fakes import Site, assert_envelope, open_site

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
OLDER = "/api/v1/llm/chat"

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


def chat(extra: str, messages: str = MESSAGES) -> bytes:
    return f'{{"model":"talker",{messages},{extra}}}'.encode("utf-8", "surrogateescape")


def message(fields: str) -> bytes:
    return f'{{"model":"talker","messages":[{fields}]}}'.encode("utf-8", "surrogateescape")


BIASES = json.dumps({str(token): 1 for token in range(5000)})

# name: (path, body, param)
CASES: dict[str, tuple[str, bytes, str | None]] = {
    "empty body": (CHAT, b"", None),
    "truncated": (CHAT, b'{"model":"talker"', None),
    "trailing junk": (CHAT, chat('"seed":1') + b"x", None),
    "byte order mark": (CHAT, b"\xef\xbb\xbf" + chat('"seed":1'), None),
    "an array": (CHAT, b"[]", None),
    "a number": (CHAT, b"5", None),
    "null": (CHAT, b"null", None),
    "raw control character": (CHAT, chat('"user":"\x01"'), None),
    "depth 1e5 of arrays": (CHAT, b"[" * 100_000, None),
    "depth 1e5 in a parameter": (CHAT, chat('"stop":' + "[" * 100_000), "stop"),
    "depth 1e5 of objects": (CHAT, chat('"tools":' + '{"a":' * 100_000), "tools"),
    "depth 1e5 in an unknown parameter": (CHAT, chat('"foo":' + "[" * 100_000 + "]" * 100_000), "foo"),
    "bad UTF-8 in a text": (CHAT, message('{"role":"user","content":"\udcff"}'), "messages[0].content"),
    "bad UTF-8 in a key": (CHAT, chat('"a\udcff":1'), "a?"),
    "bad UTF-8 in a raw field": (CHAT, chat('"tools":"\udcff"'), "tools"),
    "lone surrogate": (CHAT, message('{"role":"user","content":"\\ud800"}'), "messages[0].content"),
    "lone surrogate in an input": (
        EMBEDDING,
        b'{"model":"org/embedder","input":["a","\\udc00"]}',
        "input[1]",
    ),
    "NaN": (CHAT, chat('"temperature":NaN'), "temperature"),
    "Infinity": (CHAT, chat('"temperature":-Infinity'), "temperature"),
    "1e999": (CHAT, chat('"temperature":1e999'), "temperature"),
    "integer of 5,000 digits": (CHAT, chat('"max_tokens":' + "9" * 5000), "max_tokens"),
    "float of 5,000 digits": (CHAT, chat('"temperature":' + "9" * 5000), "temperature"),
    "seed over int64": (CHAT, chat('"seed":9223372036854775808'), "seed"),
    "n of 1e9": (CHAT, chat('"n":1e9'), "n"),
    "n of 1000000000": (CHAT, chat('"n":1000000000'), "n"),
    "n of 2": (CHAT, chat('"n":2'), "n"),
    "n of 0": (CHAT, chat('"n":0'), "n"),
    "10,000 stops": (CHAT, chat('"stop":' + json.dumps(["x"] * 10_000)), "stop"),
    "a stop of 10,000 characters": (CHAT, chat(f'"stop":["a","{"x" * 10_000}"]'), "stop[1]"),
    "an empty stop": (CHAT, chat('"stop":""'), "stop"),
    "stop of numbers": (CHAT, chat('"stop":[1]'), "stop[0]"),
    "huge logit_bias": (CHAT, chat(f'"logit_bias":{BIASES}'), "logit_bias"),
    "logit_bias of a token that is not": (CHAT, chat('"logit_bias":{"1000":1}'), "logit_bias"),
    "logit_bias of a negative token": (CHAT, chat('"logit_bias":{"-1":1}'), "logit_bias"),
    "logit_bias of a word": (CHAT, chat('"logit_bias":{"x":1}'), "logit_bias"),
    "logit_bias over 100": (CHAT, chat('"logit_bias":{"1":101}'), "logit_bias"),
    "NUL in a text": (CHAT, message('{"role":"user","content":"a\\u0000b"}'), "messages[0].content"),
    "NUL in a prompt": (COMPLETION, b'{"model":"talker","prompt":["a","\\u0000"]}', "prompt[1]"),
    "duplicate key": (CHAT, chat('"model":"other"'), "model"),
    "duplicate key in another spelling": (CHAT, chat('"mod\\u0065l":"other"'), "model"),
    "duplicate key in a message": (CHAT, message('{"role":"user","role":"user"}'), "messages.role"),
    "unknown parameter": (CHAT, chat('"frobnicate":1'), "frobnicate"),
    "unknown parameter in a message": (CHAT, message('{"role":"user","foo":1}'), "messages[0].foo"),
    "unknown parameter with a huge name": (CHAT, chat(f'"{"x" * 5000}":1'), "x" * 200),
    "no model": (CHAT, b"{" + MESSAGES.encode() + b"}", "model"),
    "model null": (CHAT, b'{"model":null,' + MESSAGES.encode() + b"}", "model"),
    "no messages": (CHAT, b'{"model":"talker"}', "messages"),
    "empty messages": (CHAT, message(""), "messages"),
    "messages of strings": (CHAT, message('"hi"'), "messages[0]"),
    "message without a role": (CHAT, message('{"content":"hi"}'), "messages[0].role"),
    "unknown role": (CHAT, message('{"role":"wizard","content":"hi"}'), "messages[0].role"),
    "tool role without an id": (
        CHAT,
        message('{"role":"tool","content":"hi"}'),
        "messages[0].tool_call_id",
    ),
    "tool role that answers nothing": (
        CHAT,
        message('{"role":"tool","content":"hi","tool_call_id":"1"}'),
        "messages[0].tool_call_id",
    ),
    "function role that answers nothing": (
        CHAT,
        message('{"role":"function","content":"hi","name":"f"}'),
        "messages[0].name",
    ),
    "user without content": (CHAT, message('{"role":"user"}'), "messages[0].content"),
    "content of a number": (CHAT, message('{"role":"user","content":4}'), "messages[0].content"),
    "picture": (
        CHAT,
        message(
            '{"role":"user","content":[{"type":"text","text":"a"},'
            '{"type":"image_url","image_url":{"url":"data:,"}}]}'
        ),
        "messages[0].content[1]",
    ),
    "text part without text": (
        CHAT,
        message('{"role":"user","content":[{"type":"text"}]}'),
        "messages[0].content[0].text",
    ),
    "tool call without a function": (
        CHAT,
        message('{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}'),
        "messages[0].tool_calls[0].function",
    ),
    "tool calls of a model without tools": (
        CHAT,
        message(
            '{"role":"assistant","content":null,'
            '"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}'
        ),
        "messages[0].tool_calls",
    ),
    "a user's tool calls": (
        CHAT,
        message(
            '{"role":"user","content":"x",'
            '"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}'
        ),
        "messages[0].tool_calls",
    ),
    "temperature over 2": (CHAT, chat('"temperature":2.1'), "temperature"),
    "temperature of a text": (CHAT, chat('"temperature":"hot"'), "temperature"),
    "temperature of a boolean": (CHAT, chat('"temperature":true'), "temperature"),
    "max_tokens of 0": (CHAT, chat('"max_tokens":0'), "max_tokens"),
    "max_tokens twice": (CHAT, chat('"max_tokens":1,"max_completion_tokens":2'), "max_tokens"),
    "parameter of another model": (CHAT, chat('"min_p":0.1'), "min_p"),
    "tools": (CHAT, chat('"tools":[{"type":"function","function":{"name":"f"}}]'), "tools"),
    "tool without a function": (CHAT, chat('"tools":[{"type":"function"}]'), "tools[0].function"),
    "tools of numbers": (CHAT, chat('"tools":[1]'), "tools[0]"),
    "bad UTF-8 in a tool": (
        CHAT,
        chat('"tools":[{"type":"function","function":{"name":"\udcff"}}]'),
        "tools[0].function.name",
    ),
    "a lone surrogate in a schema": (
        CHAT,
        chat('"tools":[{"type":"function","function":{"name":"f","parameters":{"title":"\\ud800"}}}]'),
        "tools[0].function.parameters.title",
    ),
    "functions": (CHAT, chat('"functions":[{"name":"f"}]'), "functions"),
    "required tool": (CHAT, chat('"tool_choice":"required"'), "tool_choice"),
    "logprobs": (CHAT, chat('"logprobs":true'), "logprobs"),
    "top_logprobs": (CHAT, chat('"top_logprobs":3'), "top_logprobs"),
    "JSON schema that is not there": (
        CHAT,
        chat('"response_format":{"type":"json_schema"}'),
        "response_format.json_schema",
    ),
    "JSON schema": (
        CHAT,
        chat('"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}'),
        "response_format.json_schema.schema",
    ),
    "regular expression": (CHAT, chat('"regex":"a+"'), "regex"),
    "grammar": (COMPLETION, b'{"model":"talker","prompt":"a","grammar":"root ::= \\"a\\""}', "grammar"),
    "adapters": (CHAT, chat('"lora":[{"name":"x"}]'), "lora"),
    "reproducible": (CHAT, chat('"reproducible":true'), "reproducible"),
    "a chat template": (CHAT, chat('"chat_template":"{{ 1 }}"'), "chat_template"),
    "template arguments": (CHAT, chat('"chat_template_kwargs":{"a":1}'), "chat_template_kwargs"),
    "unknown effort": (CHAT, chat('"reasoning_effort":"huge"'), "reasoning_effort"),
    "JSON object": (CHAT, chat('"response_format":{"type":"json_object"}'), "response_format"),
    "stored": (CHAT, chat('"store":true'), "store"),
    "audio": (CHAT, chat('"modalities":["text","audio"]'), "modalities"),
    "web search": (CHAT, chat('"web_search_options":{}'), "web_search_options"),
    "prediction": (CHAT, chat('"prediction":{"type":"content","content":""}'), "prediction"),
    "reasoning effort": (CHAT, chat('"reasoning_effort":"high"'), "reasoning_effort"),
    "flex tier": (CHAT, chat('"service_tier":"flex"'), "service_tier"),
    "stream of a text": (CHAT, chat('"stream":"yes"'), "stream"),
    "stream options without a stream": (CHAT, chat('"stream_options":{}'), "stream_options"),
    "unknown stream option": (CHAT, chat('"stream":true,"stream_options":{"x":1}'), "stream_options.x"),
    "more than one completion": (COMPLETION, b'{"model":"talker","prompt":"a","n":2}', "n"),
    "best_of": (COMPLETION, b'{"model":"talker","prompt":"a","best_of":2}', "best_of"),
    "echo": (COMPLETION, b'{"model":"talker","prompt":"a","echo":true}', "echo"),
    "suffix": (COMPLETION, b'{"model":"talker","prompt":"a","suffix":"b"}', "suffix"),
    "completion logprobs": (COMPLETION, b'{"model":"talker","prompt":"a","logprobs":1}', "logprobs"),
    "no prompt": (COMPLETION, b'{"model":"talker"}', "prompt"),
    "null prompt": (COMPLETION, b'{"model":"talker","prompt":null}', "prompt"),
    "empty prompt list": (COMPLETION, b'{"model":"talker","prompt":[]}', "prompt"),
    "empty prompt": (COMPLETION, b'{"model":"talker","prompt":""}', "prompt"),
    "mixed prompts": (COMPLETION, b'{"model":"talker","prompt":["a",1]}', "prompt[1]"),
    "negative token": (COMPLETION, b'{"model":"talker","prompt":[1,-1]}', "prompt[1]"),
    "empty token list": (COMPLETION, b'{"model":"talker","prompt":[[1],[]]}', "prompt[1]"),
    "no input": (EMBEDDING, b'{"model":"org/embedder"}', "input"),
    "input of an object": (EMBEDDING, b'{"model":"org/embedder","input":{}}', "input"),
    "empty input list": (EMBEDDING, b'{"model":"org/embedder","input":[ ]}', "input"),
    "fractional token": (EMBEDDING, b'{"model":"org/embedder","input":[1.5]}', "input[0]"),
    "token lists with a text": (EMBEDDING, b'{"model":"org/embedder","input":[[1],["a"]]}', "input[1][0]"),
    "unknown encoding": (
        EMBEDDING,
        b'{"model":"org/embedder","input":"a","encoding_format":"int8"}',
        "encoding_format",
    ),
    "dimensions": (EMBEDDING, b'{"model":"org/embedder","input":"a","dimensions":1}', "dimensions"),
    "too many inputs": (
        EMBEDDING,
        json.dumps({"model": "org/embedder", "input": ["a"] * 3000}).encode(),
        "input",
    ),
    "older route with nothing": (OLDER, b"{}", "messages"),
    "older route with two": (OLDER, b'{"prompt":"a","message":"b"}', "message"),
    "older route, unknown parameter": (OLDER, b'{"prompt":"a","wat":1}', "wat"),
    "older route with tools": (OLDER, b'{"prompt":"a","tools":[]}', "tools"),
    "older route with a tool's answer": (
        OLDER,
        b'{"messages":[{"role":"tool","content":"a","tool_call_id":"1"}]}',
        "messages[0].role",
    ),
    "older route, two answers": (OLDER, b'{"prompt":"a","n":2}', "n"),
    "older route, a format the model does not know": (
        OLDER,
        b'{"prompt":"a","response_format":{"type":"json_object"}}',
        "response_format",
    ),
    "2 million empty arrays": (
        EMBEDDING,
        b'{"model":"org/embedder","input":[' + b"[]," * 2_000_000 + b"[]]}",
        "input",
    ),
    "3 million tokens": (
        EMBEDDING,
        b'{"model":"org/embedder","input":[' + b"1," * 3_000_000 + b"1]}",
        "input",
    ),
}


@pytest.mark.parametrize(("path", "body", "param"), CASES.values(), ids=CASES.keys())
async def test_a_malformed_body_is_refused(site: Site, path: str, body: bytes, param: str | None) -> None:
    response = await site.client.post(path, content=body, headers={"content-type": "application/json"})
    error = assert_envelope(response, 400, param)
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 1000
    assert site.engine.jobs == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_only_plain_json_is_read(site: Site, headers: dict[str, str]) -> None:
    response = await site.client.post(CHAT, content=chat('"seed":1'), headers=headers)
    assert_envelope(response, 415)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_cap_is_refused(tmp_path: Any, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 100

    async with open_site(tmp_path / "keys.json", limits=LimitsConfig(json_body_bytes=1000)) as site:
        body = pieces() if chunked else b" " * 1001
        response = await site.client.post(CHAT, content=body, headers={"content-type": "application/json"})
        assert_envelope(response, 413)


@pytest.mark.parametrize("length", ["-1", "abc", "1_0"])
async def test_a_lying_content_length_is_refused(site: Site, length: str) -> None:
    headers = {"content-type": "application/json", "content-length": length}
    assert_envelope(await site.client.post(CHAT, content=b"{}", headers=headers), 400)


HARMLESS: dict[str, Any] = {
    "user": "me",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "store": False,
    "safety_identifier": "x",
    "prompt_cache_key": "y",
    "n": 1,
    "logprobs": False,
    "response_format": {"type": "text"},
    "tools": [],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "logit_bias": {},
    "stop": None,
    "stream": False,
    "verbosity": "medium",
    "reasoning_effort": None,
}


async def test_parameters_that_ask_for_nothing_are_accepted(site: Site) -> None:
    for name, value in HARMLESS.items():
        response = await site.chat(**{name: value})
        assert response.status_code == 200, (name, response.text)
    assert (await site.chat(**HARMLESS)).status_code == 200
