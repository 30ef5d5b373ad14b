"""diffusers behind a socket, as one would use it directly: one picture after the other.

usage: python -m benchmarks.diffusers_server PORT MODEL_FOLDER THREADS

POST with the fields prompt, seed, steps and guidance; the answer has OpenAI's shape.
"""

import base64
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image


def main(port: str, folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            image = pipeline(
                asked["prompt"],
                num_inference_steps=asked["steps"],
                guidance_scale=asked["guidance"],
                generator=torch.Generator().manual_seed(asked["seed"]),
            ).images[0]
            self._answer({"data": [{"b64_json": base64.b64encode(_png(image)).decode()}]})

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Nothing: it would cost time."""

    _Patient(("127.0.0.1", int(port)), Handler).serve_forever()


class _Patient(HTTPServer):
    request_queue_size = 128
    """All clients are connected before the first is answered."""


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
