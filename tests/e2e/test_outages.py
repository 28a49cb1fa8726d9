"""Production mode, for real: PostgreSQL, Valkey, two web processes, prefork workers, a beat. Each of what it
stands on goes away once; nothing that was accepted is lost, and nobody is told twice.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from tests.incidents.memory.qdrant_server import FakeQdrant

from .fleet import Fleet
from .postgres import Postgres
from .process import wait_until
from .proxy import Proxy
from .valkey import Valkey

pytestmark = pytest.mark.e2e


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
        return answer.status_code, time.monotonic() - began, answer.json().get("incidents", [])

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

    def wait_diagnosed(self, pk: int, seconds: float = 20) -> None:
        wait_until(lambda: self.incident(pk)["root_cause"], seconds, f"#{pk} has no cause", 0.1)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Asked of the server itself, whatever the fleet can reach."""
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def count(self, query: str, *values: object) -> int:
        return int(self.rows(f"SELECT count(*) FROM {query}", *values)[0][0])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(directory / "postgres"))
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        qdrant = stack.enter_context(FakeQdrant().running())
        chat = Chat()
        stack.callback(chat.server.server_close)
        stack.callback(chat.server.shutdown)
        made = Stage(postgres, valkey, qdrant, chat)
        made.database = stack.enter_context(Proxy(postgres.url))
        made.fleet = stack.enter_context(
            Fleet(
                directory,
                database=made.database.url,
                broker=valkey.url,
                qdrant=qdrant.url,
                NOTIFY_URLS=chat.url,
            )
        )
        yield made


def test_an_alert_becomes_a_diagnosis_and_a_verdict_in_production_mode(stage: Stage) -> None:
    began = time.monotonic()
    pk = stage.open("Whole")
    stage.wait_diagnosed(pk)
    print(f"diagnosed after {time.monotonic() - began:.2f} s")
    wait_until(lambda: stage.chat.about("Whole"), 10, "nobody is told that it opened")
    stage.close(pk)
    wait_until(lambda: len(stage.chat.about("Whole")) == 2, 10, "nobody is told how it ended")
    assert "resolved by a person" in stage.chat.about("Whole")[1]
    synced = "incidents_memoryentry WHERE incident_id = %s AND synced_at IS NOT NULL"
    wait_until(lambda: stage.count(synced, pk), 10, "it is not remembered")


def test_without_its_broker_it_accepts_at_once_and_works_afterwards(stage: Stage) -> None:
    stage.valkey.kill()
    answers = [stage.post(f"NoBroker{number}", f"Beside{number}") for number in range(10)]
    assert {status for status, _, _ in answers} == {200}
    slowest = max(seconds for _, seconds, _ in answers)
    print(f"slowest without a broker {slowest:.3f} s")
    assert slowest < 1.0
    stage.valkey.start()
    began = time.monotonic()
    for _, _, incidents in answers:
        for pk in incidents:
            stage.wait_diagnosed(pk, 30)
    print(f"all worked {time.monotonic() - began:.1f} s after it came back")
    said = [line for line in stage.fleet.output().splitlines() if '"broker: ' in line and "WARNING" in line]
    assert len(said) <= 2, "each web process says it once a minute"


def test_without_its_database_it_answers_503_and_keeps_nothing_by_half(stage: Stage) -> None:
    stage.database.set("cut")
    refused = [stage.post(f"Refused{number}") for number in range(6)]
    assert {status for status, _, _ in refused} == {503}
    assert max(seconds for _, seconds, _ in refused) < 5
    assert stage.fleet.request("GET", "/health").status_code == 503
    stage.database.set("passing")
    accepted = [stage.open(f"Accepted{number}") for number in range(6)]
    for pk in accepted:
        stage.wait_diagnosed(pk)
    named = "{} WHERE alert_name LIKE %s"
    assert stage.count(named.format("incidents_incident"), "Refused%") == 0
    assert stage.count(named.format("incidents_episode"), "Refused%") == 0
    assert stage.count(named.format("incidents_incident"), "Accepted%") == 6
    # what Alertmanager does after a 503
    assert {stage.post(f"Refused{number}")[0] for number in range(6)} == {200}
    assert stage.count(named.format("incidents_incident"), "Refused%") == 6


def test_without_qdrant_rows_wait_and_drain(stage: Stage) -> None:
    stage.qdrant.down = True
    incidents = [stage.open(f"NoMemory{number}") for number in range(3)]
    for pk in incidents:
        stage.close(pk, "false_alarm")
    mine = "incidents_memoryentry WHERE incident_id = ANY(%s)"
    failed = f"{mine} AND state = 'waiting' AND error <> ''"
    wait_until(lambda: stage.count(failed, incidents) == 3, 20, "they were not tried", 0.1)
    assert stage.fleet.request("GET", "/health").json()["status"] == "degraded"
    stage.qdrant.down = False
    began = time.monotonic()
    synced = f"{mine} AND synced_at IS NOT NULL"
    wait_until(lambda: stage.count(synced, incidents) == 3, 30, "they did not drain", 0.1)
    print(f"drained {time.monotonic() - began:.1f} s after it came back")
    assert stage.fleet.request("GET", "/health").json()["status"] == "healthy"


def test_without_chat_messages_wait_and_come_once_and_in_order(stage: Stage) -> None:
    stage.chat.awake = False
    incidents = [stage.open(f"NoChat{number}x") for number in range(3)]
    for pk in incidents:
        stage.wait_diagnosed(pk)
    failed = "incidents_notification WHERE incident_id = ANY(%s) AND state = 'waiting' AND error <> ''"
    wait_until(lambda: stage.count(failed, incidents) == 3, 20, "they were not tried", 0.1)
    for pk in incidents:
        stage.close(pk)
    stage.chat.awake = True
    began = time.monotonic()
    waiting = "incidents_notification WHERE incident_id = ANY(%s) AND state IN ('waiting', 'running')"
    wait_until(lambda: stage.count(waiting, incidents) == 0, 60, "they did not drain", 0.1)
    print(f"told {time.monotonic() - began:.1f} s after it came back")
    for number in range(3):
        titles = stage.chat.about(f"NoChat{number}x")
        assert len(titles) == len(set(titles)), "each once"
        assert "resolved by a person" in titles[-1]


def test_a_worker_that_is_told_to_end_gives_back_what_it_holds(stage: Stage) -> None:
    stage.chat.hung.set()
    tried = stage.chat.tried
    pk = stage.open("Drained")
    wait_until(lambda: stage.chat.tried > tried, 20, "it was not tried")
    row = "SELECT state, attempts FROM incidents_notification WHERE incident_id = %s AND fence > 0"
    assert stage.rows(row, pk) == [("running", 1)]
    os.killpg(stage.fleet.pid("worker"), signal.SIGTERM)  # as systemd does: to everybody in the unit
    wait_until(lambda: stage.rows(row, pk) == [("waiting", 0)], 10, "it was not given back", 0.05)
    stage.chat.hung.clear()
    stage.fleet.restart_part("worker")
    wait_until(lambda: stage.rows(row, pk) == [("done", 1)], 20, "it was not taken up", 0.1)


def test_nothing_is_stuck_afterwards(stage: Stage) -> None:
    assert stage.count("incidents_incident WHERE alert_name = 'HomelabWorkStuck'") == 0
    for table in ("agents_step", "incidents_notification", "incidents_memoryentry", "incidents_job"):
        assert stage.count(f"{table} WHERE state = 'dead'") == 0, table
