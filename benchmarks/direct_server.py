"""A library behind a socket, as one would use it directly: one request after the other.

Owns the HTTP around such a peer. Bodies come as they were sent, answers go out as JSON.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Patient(HTTPServer):
    request_queue_size = 128
    """All clients are connected before the first is answered."""


def serve(port: int, answer: Callable[[str, bytes], object]) -> None:
    """For ever. `answer`: to a POST's path and body. A GET, which asks for readiness, is answered at once."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together: else the second waits 40 ms for the first to be acknowledged.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(answer(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Nothing: it would cost time."""

    _Patient(("127.0.0.1", port), Handler).serve_forever()
