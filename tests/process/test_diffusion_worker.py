"""A painter in a worker process of its own: what comes over the channel, aborts on the way, refusals."""

import asyncio
import io
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backends.protocol import (
    Finished,
    Inline,
    Job,
    Media,
    PaintParameters,
    PaintProgress,
    PictureDelta,
    Text,
)
from config.schema import ModelSpec
from gateway.engine.engine import Engine
from gateway.engine.errors import GatewayError
from gateway.engine.stream import JobStream
from tests.diffusion_checkpoint import write_sdxl
from tests.process.fleet import ready_pid, running, running_engine, until, worker_pids

# Of diffusers, which does not know NumPy's newest manners.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
_ids = count(1)


def ask(engine: Engine, prompt: str = "a cat", *, stream: bool = False, **asked: Any) -> JobStream:
    task: Any = "edit" if "images" in asked else "paint"
    return engine.submit(
        Job(f"job-{next(_ids)}", "m", task, PaintParameters(**asked), [Text(prompt)], stream)
    )


async def picture(stream: JobStream) -> bytes:
    """The finished one's pixels. Raises the job's GatewayError."""
    data = b""
    while True:
        for output in await stream.next():
            if isinstance(output, PictureDelta) and output.preview < 0:
                data += output.data
            elif isinstance(output, Finished):
                return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


async def test_painting_in_a_worker(tmp_path: Path) -> None:
    folder = write_sdxl(tmp_path / "model")
    spec = ModelSpec(
        name="m",
        backend="diffusion",
        tasks=["paint", "edit"],
        source=str(folder),
        parameters={"steps": 3, "guidance": 2, "n_threads": 1},
        preload=True,
    )
    async with running_engine(tmp_path, spec) as engine:
        description = await engine.description("m")
        assert description.sizes[0] == "64x64"
        await until(lambda: bool(worker_pids(engine, "m")), 60)
        pid = await ready_pid(engine, "m")
        alone = await picture(ask(engine, seed=1))

        async with ask(engine, "dog", seed=2, steps=100, stream=True) as leaving:
            many = [ask(engine, seed=seed) for seed in (1, 5, 6, 7, 8)]
            seen = 0
            while seen < 3:
                seen += sum(isinstance(output, PaintProgress) for output in await leaving.next())
        made = await asyncio.gather(*map(picture, many))
        assert max(abs(a - b) for a, b in zip(made[0], alone, strict=True)) <= 2
        assert len(set(made)) == 5
        await until(lambda: running(engine, "m") == 0)

        for param, asked in {
            "prompt": {"prompt": "x" * 100},
            "size": {"width": 8, "height": 8},
            "image": {"images": [Media(Inline(b"GIF89a" + bytes(100)))]},
        }.items():
            with pytest.raises(GatewayError) as caught:
                await picture(ask(engine, **asked))
            assert (caught.value.status, caught.value.param) == (400, param)
        assert worker_pids(engine, "m") == [pid]
