"""Production mode on a stage: a fleet of processes, and everything that it stands on, each behind a proxy."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg

from tests.incidents.memory.qdrant_server import FakeQdrant

from .fleet import Fleet
from .postgres import Postgres
from .process import wait_until
from .proxy import ANY_BIT, Proxy
from .valkey import Valkey

# Of a database that does not answer: to connect, and for a statement. Shorter than ours, for the test's sake.
PATIENCE = "connect_timeout=2&tcp_user_timeout=2000"


class Chat:
    """A channel of Apprise, and what it took. While not `awake` it answers 503; while `hung`, nothing."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.awake = True
        self.hung = threading.Event()
        self.tried = 0
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                title = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"]
                chat.tried += 1
                while chat.hung.is_set():
                    time.sleep(0.05)
                self.send_response(200 if chat.awake else 503)
                self.end_headers()
                if chat.awake:
                    chat.messages.append(title)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"json://127.0.0.1:{self.server.server_address[1]}/"

    def about(self, name: str) -> list[str]:
        return [title for title in self.messages if name in title]


class Stage:
    """The fleet, and everything that it stands on."""

    def __init__(self, postgres: Postgres, valkey: Valkey, qdrant: FakeQdrant, chat: Chat) -> None:
        self.postgres, self.valkey, self.qdrant, self.chat = postgres, valkey, qdrant, chat
        self.fleet: Fleet
        self.database: Proxy
        self.broker: Proxy

    def post(self, *names: str) -> tuple[int, float, list[int]]:
        """Alerts in one delivery; the status, the seconds it took, and the incidents."""
        now = datetime.now(UTC).isoformat()
        alerts = [
            {"status": "firing", "labels": {"alertname": name, "severity": "critical"}, "startsAt": now}
            for name in names
        ]
        body = {"version": "4", "groupKey": names[0], "alerts": alerts}
        began = time.monotonic()
        answer = self.fleet.request("POST", "/alert", role="ingest", json=body)
        return answer.status_code, time.monotonic() - began, answer.json()["incidents"] if answer.ok else []

    def open_again(self, name: str, seconds: float = 15) -> int:
        """As the sender does after a 5xx, until it is taken."""
        return wait_until(lambda: next(iter(self.post(name)[2]), None), seconds, f"{name} is not taken")

    def open(self, name: str) -> int:
        status, _, incidents = self.post(name)
        assert status == 200
        return incidents[0]

    def close(self, pk: int, verdict: str = "resolved_by_human") -> None:
        path, said = f"/api/v1/incidents/{pk}/annotate", {"verdict": verdict}
        assert self.fleet.request("POST", path, role="operator", json=said).status_code == 200

    def incident(self, pk: int) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet.request("GET", f"/api/v1/incidents/{pk}", role="viewer").json()
        return found

    def wait_diagnosed(self, pk: int, seconds: float = 40) -> None:
        wait_until(lambda: self.incident(pk)["root_cause"], seconds, f"#{pk} has no cause", 0.1)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Asked of the server itself, whatever the fleet can reach."""
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def count(self, query: str, *values: object) -> int:
        return int(self.rows(f"SELECT count(*) FROM {query}", *values)[0][0])


@contextmanager
def set_up(directory: Path, **variables: str) -> Iterator[Stage]:
    """The whole of it; `variables` are the fleet's."""
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(directory / "postgres"))
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        qdrant = stack.enter_context(FakeQdrant().running())
        chat = Chat()
        stack.callback(chat.server.server_close)
        stack.callback(chat.server.shutdown)
        stage = Stage(postgres, valkey, qdrant, chat)
        # To the database: after the login, and such that a reader of text can notice.
        stage.database = stack.enter_context(Proxy(postgres.url, spared=1500, gap=400))
        stage.broker = stack.enter_context(Proxy(valkey.url, bits=ANY_BIT))
        stage.fleet = stack.enter_context(
            Fleet(
                directory,
                database=f"{stage.database.url}?{PATIENCE}",
                broker=stage.broker.url,
                qdrant=qdrant.url,
                NOTIFY_URLS=chat.url,
                **variables,
            )
        )
        yield stage
