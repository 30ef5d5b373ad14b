"""BLIP and CLIP of transformers behind a socket, as one would use them directly: one picture after the other.

usage: python -m benchmarks.vision_server PORT BLIP_FOLDER CLIP_FOLDER THREADS MAX_TOKENS LABEL …

POST /captions, /labels and /vectors; the body is the picture.
"""

import io
import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor, CLIPModel, CLIPProcessor


def main(port: str, captioner: str, clip: str, threads: str, max_tokens: str, *labels: str) -> None:
    torch.set_num_threads(int(threads))
    ways = {"/captions": captions(captioner, int(max_tokens)), **likeness(clip, list(labels))}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            with torch.inference_mode():
                self._answer(ways[self.path](Image.open(io.BytesIO(data)).convert("RGB")))

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Nothing: it would cost time."""

    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def captions(folder: str, max_tokens: int) -> Callable[[Image.Image], object]:
    processor: Any = BlipProcessor.from_pretrained(folder)
    model: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()

    def caption(image: Image.Image) -> object:
        written = model.generate(**processor(images=image, return_tensors="pt"), max_new_tokens=max_tokens)
        return processor.decode(written[0], skip_special_tokens=True)

    return caption


def likeness(folder: str, labels: list[str]) -> dict[str, Callable[[Image.Image], object]]:
    processor: Any = CLIPProcessor.from_pretrained(folder)
    model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()

    def weigh(image: Image.Image) -> object:
        inputs = processor(text=labels, images=image, padding=True, return_tensors="pt")
        return model(**inputs).logits_per_image.softmax(dim=1)[0].tolist()

    def embed(image: Image.Image) -> object:
        states = model.vision_model(**processor(images=image, return_tensors="pt")).pooler_output
        return torch.nn.functional.normalize(model.visual_projection(states), dim=1)[0].tolist()

    return {"/labels": weigh, "/vectors": embed}


if __name__ == "__main__":
    main(*sys.argv[1:])
