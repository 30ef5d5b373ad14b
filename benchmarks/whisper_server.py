"""faster-whisper behind a socket, as one would use it directly: one recording after the other.

usage: python -m benchmarks.whisper_server PORT MODEL_FOLDER THREADS BEAM_SIZE

POST /serial: its own loop; POST /batched: its offline batch of 8. The body is the recording.
"""

import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel


def main(port: str, folder: str, threads: str, beam_size: str) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))
    batched = BatchedInferencePipeline(model)
    options: dict[str, Any] = {"beam_size": int(beam_size)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            sound = io.BytesIO(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/batched":
                segments, _ = batched.transcribe(sound, batch_size=8, without_timestamps=False, **options)
            else:
                segments, _ = model.transcribe(sound, **options)
            self._answer({"text": "".join(segment.text for segment in segments)})

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


if __name__ == "__main__":
    main(*sys.argv[1:])
