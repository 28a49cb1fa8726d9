"""A threaded HTTP/1.1 server on loopback for the servers that the storm plays."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """A request; of a repeated query parameter the last value."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(value).encode() + b"\n")


class Server:
    """Answers each request with what `answer` makes of it; `sent` is called when the answer is out.

    Who asked may be gone before its answer: what it asked for is done all the same.
    """

    def __init__(self, answer: Callable[[Asked], Answer], sent: Callable[[Asked], None] = lambda _: None):
        class Handler(_Handler):
            def handle_any(self) -> None:
                asked = self.asked()
                self.send(answer(asked))
                sent(asked)

            do_GET = do_HEAD = do_POST = do_DELETE = handle_any

        self._server = _Threads(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # connections that clients keep open would hold up the end
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed in the middle of their requests here; that is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    def asked(self) -> Asked:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return Asked(self.command, parts.path, dict(parse_qsl(parts.query)), body)

    def send(self, answer: Answer) -> None:
        with suppress(ConnectionError):
            self.send_response(answer.status)
            if answer.status != 204:
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
