"""BLIP and CLIP of transformers behind a socket, as one would use them directly: one picture after the other.

usage: python -m benchmarks.vision_server PORT BLIP_FOLDER CLIP_FOLDER THREADS MAX_TOKENS LABEL …

POST /captions, /labels and /vectors; the body is the picture.
"""

import io
import sys
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor, CLIPModel, CLIPProcessor

from benchmarks.direct_server import serve


def main(port: str, captioner: str, clip: str, threads: str, max_tokens: str, *labels: str) -> None:
    torch.set_num_threads(int(threads))
    ways = {"/captions": captions(captioner, int(max_tokens)), **likeness(clip, list(labels))}

    def look(path: str, body: bytes) -> object:
        with torch.inference_mode():
            return ways[path](Image.open(io.BytesIO(body)).convert("RGB"))

    serve(int(port), look)


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
