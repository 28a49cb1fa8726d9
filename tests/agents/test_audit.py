"""Work of our own that is stuck is told like any alert; the heartbeat speaks only while nothing is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from agents import audit, proof
from agents.models import CrewRun, Step
from incidents import jobs
from incidents.models import Episode, Event, Incident, Job, MemoryEntry, Notification, Turn, Verdict
from incidents.queue import State
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_is_told(settings) -> None:
    settings.NOTIFY_URLS = []


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def a_message(**fields: Any) -> Notification:
    key = str(Notification.objects.count())
    return Notification.objects.create(dedup_key=key, channel="chat-1", title="t", body="b", **fields)


def a_step(incident: Incident, **fields: Any) -> Step:
    run = CrewRun.objects.create(incident=incident)
    return Step.objects.create(run=run, agent=Step.Agent.ANALYST, **fields)


def test_all_well_opens_nothing() -> None:
    a_message(due_at=timezone.now() + timedelta(hours=1))
    a_message(state=State.DONE, due_at=ago(9999))
    a_message(state=State.RUNNING, due_at=ago(9999), lease_until=timezone.now())
    a_step(an_incident(), due_at=timezone.now())
    assert audit.run()["stuck"] == {}
    assert Episode.objects.count() == 0


def test_dead_and_overdue_rows_are_one_alert_a_kind_with_what_to_do() -> None:
    a_message(state=State.DEAD)
    a_message(due_at=ago(301))
    a_message(state=State.RUNNING, due_at=ago(900), lease_until=ago(301))
    closed = an_incident(verdict=Verdict.VERIFIED)
    MemoryEntry.objects.create(incident=closed, content_hash="", state=State.DEAD)
    audit.run()
    incident = Incident.objects.get(alert_name="HomelabWorkStuck", episodes__labels__kind="notification")
    assert (incident.severity, incident.source, incident.target) == ("critical", "homelab", None)
    assert "1 dead and 2 overdue" in incident.description
    assert "admin" in incident.description
    assert Incident.objects.filter(alert_name="HomelabWorkStuck").count() == 2
    audit.run()
    assert Incident.objects.filter(alert_name="HomelabWorkStuck").count() == 2
    assert Notification.objects.filter(incident=incident).exists(), "people are told"


def test_thousands_of_entries_that_are_taken_over_are_stuck_only_when_none_is_embedded_any_more() -> None:
    rows = [
        MemoryEntry(kind="imported", key=f"import:a:{number}", title="t", text="t") for number in range(9)
    ]
    MemoryEntry.objects.bulk_create(rows)
    MemoryEntry.objects.update(due_at=ago(400))
    assert "9 overdue" in audit.look()["memory entry"].summary
    MemoryEntry.objects.filter(key="import:a:0").update(state=State.DONE, synced_at=ago(20))
    assert audit.look() == {}
    MemoryEntry.objects.filter(key="import:a:1").update(state=State.DEAD)
    assert "1 dead" in audit.look()["memory entry"].summary


def test_it_is_over_when_nothing_is_stuck_and_the_proof_sees_it() -> None:
    row = a_message(state=State.DEAD)
    audit.run()
    incident = Incident.objects.get()
    assert proof.observe(incident).state == "firing"
    Notification.objects.filter(pk=row.pk).update(state=State.DONE)
    assert proof.observe(incident).state == "cleared"
    audit.run()
    incident.refresh_from_db()
    assert incident.ended_at is not None
    assert not Episode.objects.firing().exists()


def test_an_open_incident_that_nobody_works_on_is_found() -> None:
    left = an_incident(opened_at=ago(400))
    worked = an_incident(opened_at=ago(400))
    a_step(worked)
    just_now = an_incident(opened_at=ago(400))
    Event.objects.create(incident=just_now, kind="reopened", actor="x", text="")
    an_incident(opened_at=ago(10))
    an_incident(verdict=Verdict.VERIFIED, opened_at=ago(400))
    assert audit.look()["incident"].summary == f"incidents without a next step: 1 (#{left.pk})"


def test_a_dead_step_of_a_closed_incident_is_no_trouble() -> None:
    a_step(an_incident(verdict=Verdict.VERIFIED), state=State.DEAD)
    assert audit.look() == {}
    a_step(an_incident(), state=State.DEAD)
    assert set(audit.look()) == {"step"}


def test_the_alert_about_stuck_work_does_not_keep_itself_alive() -> None:
    mine = an_incident(source=audit.SOURCE, opened_at=ago(400))
    a_step(mine, state=State.DEAD)
    assert audit.look() == {}


def test_it_runs_every_minute_by_itself() -> None:
    jobs.ensure()
    job = Job.objects.get(name="audit")
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.result["stuck"] == {}
    assert 50 < (job.due_at - timezone.now()).total_seconds() <= 60


@pytest.fixture
def listener(settings) -> Iterator[list[int]]:
    """What was asked of the heartbeat's listener; its first member is what it answers."""
    seen = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(1)
            self.send_response(seen[0])
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    settings.HEARTBEAT_URL = f"http://127.0.0.1:{server.server_address[1]}/ping"
    yield seen
    server.shutdown()
    server.server_close()


def test_the_heartbeat_is_given_once_a_minute_while_nothing_is_stuck(listener: list[int]) -> None:
    assert audit.run()["heartbeat"] == "ok"
    assert audit.run()["heartbeat"] is None, "not more than once a minute"
    assert len(listener) == 2
    Turn.objects.update(until=ago(1))
    a_message(state=State.DEAD)
    assert audit.run()["heartbeat"] is None
    assert len(listener) == 2


def test_a_listener_that_is_away_stops_nothing(listener: list[int], settings) -> None:
    listener[0] = 500
    assert audit.run()["heartbeat"] == "answered 500"
    Turn.objects.update(until=ago(1))
    settings.HEARTBEAT_URL = "http://127.0.0.1:1/secret-path"
    said = audit.run()["heartbeat"]
    assert said
    assert "secret-path" not in said
