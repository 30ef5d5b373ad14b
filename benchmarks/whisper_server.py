"""faster-whisper behind a socket, as one would use it directly: one recording after the other.

usage: python -m benchmarks.whisper_server PORT MODEL_FOLDER THREADS BEAM_SIZE

POST /serial: its own loop; POST /batched: its offline batch of 8. The body is the recording.
"""

import io
import sys
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.direct_server import serve


def main(port: str, folder: str, threads: str, beam_size: str) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))
    batched = BatchedInferencePipeline(model)
    options: dict[str, Any] = {"beam_size": int(beam_size)}

    def transcribe(path: str, body: bytes) -> object:
        sound = io.BytesIO(body)
        if path == "/batched":
            segments, _ = batched.transcribe(sound, batch_size=8, without_timestamps=False, **options)
        else:
            segments, _ = model.transcribe(sound, **options)
        return {"text": "".join(segment.text for segment in segments)}

    serve(int(port), transcribe)


if __name__ == "__main__":
    main(*sys.argv[1:])
