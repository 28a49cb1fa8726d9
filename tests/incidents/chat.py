"""Channels that people are told by, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Chat:
    """A channel that Apprise posts JSON to; `status` is what it answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if chat.status == 200:
                    chat.messages.append(body)
                self.send_response(chat.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def chat(settings) -> Iterator[Chat]:
    """The one channel."""
    made = Chat()
    settings.NOTIFY_URLS = [made.url]
    yield made
    made.close()


@pytest.fixture
def chats(settings) -> Iterator[list[Chat]]:
    """The first channel, and two that are told when nobody answers."""
    made = [Chat(), Chat(), Chat()]
    settings.NOTIFY_URLS = [made[0].url]
    settings.ESCALATION_URLS = [each.url for each in made[1:]]
    yield made
    for each in made:
        each.close()
