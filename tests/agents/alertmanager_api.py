"""Alertmanager's `GET /api/v2/alerts/groups` for tests: a list of alerts to change, grouped by alertname."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.utils import timezone


class FakeAlertmanager:
    """`alerts` is what it lists; `down` makes it answer 503."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.down = False
        self.url = ""


def grouped(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(item["labels"]["alertname"] for item in alerts)
    return [
        {
            "labels": {"alertname": name},
            "receiver": {"name": "homelab"},
            "alerts": [item for item in alerts if item["labels"]["alertname"] == name],
        }
        for name in names
    ]


@contextmanager
def serving() -> Iterator[FakeAlertmanager]:
    fake = FakeAlertmanager()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if fake.down else 200)
            self.end_headers()
            self.wfile.write(json.dumps(grouped(fake.alerts)).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def active(fingerprint: str, **fields: Any) -> dict[str, Any]:
    """An alert that has fired for five minutes, as the API lists it."""
    now = timezone.now()
    return {
        "labels": {"alertname": f"Missed{fingerprint}", "severity": "warning"},
        "annotations": {"summary": "nobody brought it"},
        "startsAt": (now - timedelta(minutes=5)).isoformat(),
        "endsAt": (now + timedelta(minutes=4)).isoformat(),
        "generatorURL": "http://prometheus/graph?g0.expr=up+%3D%3D+0",
        "fingerprint": fingerprint,
        "status": {"state": "active"},
        **fields,
    }
