"""diffusers behind a socket, as one would use it directly: one picture after the other.

usage: python -m benchmarks.diffusers_server PORT MODEL_FOLDER THREADS

POST with the fields prompt, seed, steps and guidance; the answer has OpenAI's shape.
"""

import base64
import io
import json
import sys
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image

from benchmarks.direct_server import serve


def main(port: str, folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def paint(path: str, body: bytes) -> object:
        asked = json.loads(body)
        image = pipeline(
            asked["prompt"],
            num_inference_steps=asked["steps"],
            guidance_scale=asked["guidance"],
            generator=torch.Generator().manual_seed(asked["seed"]),
        ).images[0]
        return {"data": [{"b64_json": base64.b64encode(_png(image)).decode()}]}

    serve(int(port), paint)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
