"""/tokenize and /detokenize in the shapes of llama-server and of vLLM."""

from typing import Any

import pytest

from backends.protocol import Chat, Text, TokenizeParameters, Tokens
from tests.unit.gateway.http.fakes import EMBED, Site, assert_envelope

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


async def ask(site: Site, path: str = "/tokenize", **fields: Any) -> dict[str, Any]:
    response = await site.client.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def parameters(site: Site) -> TokenizeParameters:
    job, _ = site.engine.jobs[-1]
    assert job.task == "tokenize"
    assert isinstance(job.parameters, TokenizeParameters)
    return job.parameters


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
async def test_tokens_of_a_text(site: Site, path: str) -> None:
    body = await ask(site, path, model="gpt-4o-mini", prompt="Hi ☃")
    assert body == {"tokens": [9, 7, 8], "count": 3, "max_model_len": 2048}
    assert site.engine.jobs[0][0].model == "talker"
    assert site.engine.jobs[0][0].items == [Text("Hi ☃")]


@pytest.mark.parametrize(
    ("fields", "add", "parse"),
    [
        ({"prompt": "x"}, True, False),
        ({"prompt": "x", "add_special_tokens": False}, False, False),
        ({"prompt": "x", "parse_special": True}, True, True),
        ({"content": "x"}, False, True),
        ({"content": "x", "add_special": True}, True, True),
        ({"content": "x", "parse_special": False}, False, False),
        ({"content": "", "add_special": True, "add_special_tokens": True}, True, True),
    ],
)
async def test_what_each_shape_means_by_itself(
    site: Site, fields: dict[str, Any], add: bool, parse: bool
) -> None:
    await ask(site, **fields)
    assert parameters(site) == TokenizeParameters(add_special=add, parse_special=parse)


async def test_messages_are_for_the_template(site: Site) -> None:
    await ask(site, model="talker", messages=[USER], tools=[TOOL], chat_template_kwargs={"thinking": True})
    (chat,) = site.engine.jobs[0][0].items
    assert isinstance(chat, Chat)
    assert [message.content for message in chat.messages] == ["hi"]
    assert [tool.name for tool in chat.tools] == ["look"]
    assert chat.template_arguments == '{"thinking":true}'


async def test_pieces_are_text_or_bytes_where_they_are_half_a_character(site: Site) -> None:
    body = await ask(site, content="Hi ☃", with_pieces=True)
    assert body["tokens"] == [
        {"id": 9, "piece": "Hi"},
        {"id": 7, "piece": [0x20, 0xE2, 0x98]},
        {"id": 8, "piece": [0x83]},
    ]
    assert parameters(site).pieces
    texts = await ask(site, prompt="Hi ☃", return_token_strs=True)
    assert (texts["tokens"], texts["token_strs"]) == ([9, 7, 8], ["Hi", " \ufffd", "\ufffd"])


@pytest.mark.parametrize("path", ["/detokenize", "/v1/detokenize"])
async def test_the_text_of_tokens(site: Site, path: str) -> None:
    assert await ask(site, path, tokens=[9, 7, 8]) == {"content": "Hi ☃", "prompt": "Hi ☃"}
    job, _ = site.engine.jobs[0]
    assert (job.task, job.items) == ("detokenize", [Tokens([9, 7, 8])])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "content": "x"}, "prompt"),
        ({"prompt": "x", "messages": [USER]}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "god", "content": "x"}]}, "messages[0].role"),
        ({"messages": [USER], "add_special": True}, "add_special"),
        ({"messages": [USER], "add_generation_prompt": False}, "add_generation_prompt"),
        ({"messages": [USER], "continue_final_message": True}, "continue_final_message"),
        ({"messages": [USER], "chat_template": "x"}, "chat_template"),
        ({"messages": [USER], "chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"prompt": "x", "tools": [TOOL]}, "tools"),
        ({"prompt": "x", "chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"prompt": "x", "add_special": True, "add_special_tokens": False}, "add_special"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x", "n_ctx": 5}, "n_ctx"),
        ({"prompt": "x", "model": EMBED.name}, "model"),
    ],
)
async def test_what_cannot_be_meant_is_refused(site: Site, fields: dict[str, Any], param: str) -> None:
    assert_envelope(await site.client.post("/tokenize", json=fields), 400, param)
    assert site.engine.jobs == []


@pytest.mark.parametrize(
    ("fields", "param"), [({}, "tokens"), ({"tokens": "x"}, "tokens"), ({"tokens": [-1]}, "tokens[0]")]
)
async def test_what_are_no_tokens(site: Site, fields: dict[str, Any], param: str) -> None:
    response = await site.client.post("/detokenize", json=fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(param.partition("[")[0])


async def test_a_model_that_is_not_there(site: Site) -> None:
    assert_envelope(await site.client.post("/tokenize", json={"prompt": "x", "model": "no"}), 404, "model")
