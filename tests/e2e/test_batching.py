"""Streams of many clients decode together, and leaving frees the place, on the real chat model."""

import asyncio
import os
import signal
import time

import httpx
import openai
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.e2e.conftest import CHAT
from tests.gateway_process import GatewayProcess, wait_for

TOKENS = 96


async def stream(client: AsyncOpenAI, number: int) -> openai.types.CompletionUsage:
    """One streamed answer of exactly TOKENS tokens; its usage."""
    chunks = await client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": f"Count upwards from {number}."}],
        max_tokens=TOKENS,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    usage = [chunk.usage async for chunk in chunks][-1]
    assert usage is not None
    return usage


async def long_story(client: AsyncOpenAI) -> AsyncStream[ChatCompletionChunk]:
    """A stream that would go on for a minute, after its first chunk."""
    chunks = await client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Write a very long story."}],
        max_tokens=4000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    await anext(chunks)
    return chunks


def batches(gateway: GatewayProcess) -> tuple[float, float]:
    """Decode rows and steps so far."""
    return gateway.metric("batch_size_sum", model=CHAT), gateway.metric("batch_size_count", model=CHAT)


async def test_sixteen_streams_share_their_steps(gateway: GatewayProcess, async_client: AsyncOpenAI) -> None:
    """The ratio of the times is the best of three rounds: a neighbour on the machine can only spoil it."""
    await stream(async_client, 0)
    ratios, sizes = [], []
    for _ in range(3):
        started_at = time.monotonic()
        for number in range(2):
            await stream(async_client, number)
        one_by_one_s = (time.monotonic() - started_at) * 8

        rows, steps = batches(gateway)
        started_at = time.monotonic()
        usages = await asyncio.gather(*(stream(async_client, number) for number in range(16)))
        ratios.append((time.monotonic() - started_at) / one_by_one_s)
        more_rows, more_steps = batches(gateway)

        sizes.append((more_rows - rows) / (more_steps - steps))
        assert {usage.completion_tokens for usage in usages} == {TOKENS}
        assert all(usage.total_tokens == usage.prompt_tokens + TOKENS for usage in usages)
        if ratios[-1] <= 0.6 and sizes[-1] >= 12:
            return
    raise AssertionError(f"together takes {ratios} of the time one by one, in batches of {sizes}")


async def test_leaving_frees_the_sequence_and_its_cache(
    gateway: GatewayProcess, async_client: AsyncOpenAI
) -> None:
    chunks = await long_story(async_client)
    await anext(chunks)
    assert gateway.running(CHAT) == 1
    await chunks.close()
    wait_for(lambda: gateway.running(CHAT) == 0, 10)
    wait_for(lambda: gateway.metric("kv_cache_usage_perc", model=CHAT) == 0, 10)


def test_leaving_during_a_long_prefill_frees_it_too(gateway: GatewayProcess) -> None:
    body = {"model": CHAT, "messages": [{"role": "user", "content": "word " * 6000}], "max_tokens": 1}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body, timeout=1)
    wait_for(lambda: gateway.running(CHAT) == 0, 3)


async def test_a_killed_worker_is_told_in_band_and_replaced(
    gateway: GatewayProcess, async_client: AsyncOpenAI
) -> None:
    chunks = await long_story(async_client)
    models = {model["id"]: model for model in gateway.get("/v1/models").json()["data"]}
    assert models[CHAT]["state"] == "ready"
    os.kill(chat_worker(gateway), signal.SIGKILL)
    killed_at = time.monotonic()
    with pytest.raises(openai.APIError) as caught:
        async for _ in chunks:
            pass
    assert caught.value.code == "worker_died"
    assert time.monotonic() - killed_at < 10
    usage = await stream(async_client, 1)
    assert usage.completion_tokens == TOKENS


def chat_worker(gateway: GatewayProcess) -> int:
    """The worker that has llama.cpp's library mapped."""
    for pid in gateway.worker_pids():
        with open(f"/proc/{pid}/maps") as maps:
            if "libllama" in maps.read():
                return pid
    raise AssertionError("no worker runs llama.cpp")


async def test_a_killed_gateway_leaves_no_real_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.e2e.conftest import starter_config
    from tests.faults.outside import any_alive

    with GatewayProcess.serving(starter_config(), tmp_path_factory.mktemp("killed")) as gateway:
        gateway.wait_until_ready()
        family = gateway.family()
        assert len(family) >= 6, "three workers and their helpers"
        gateway.process.kill()
        gateway.process.wait()
        wait_for(lambda: not any_alive(family), 10)
