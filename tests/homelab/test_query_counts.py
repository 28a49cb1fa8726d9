"""What a list asks of the database does not grow with its rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.health import SOURCE
from agents.models import Action, Autonomy, CrewRun, MaintenanceWindow, ModelCall, Pause, Step, ToolCall
from incidents import access, memory
from incidents.memory import load
from incidents.models import Delivery, Event, Incident, Notification, Problem, Role, Verdict
from tests.conftest import Api
from tests.homelab.test_permissions import TABLE
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
MOST = 8  # the busiest of them
# Their queries are many, but always as many.
ELSEWHERE = {"health-checks", "costs", "slo", "stats", "memory?q=disk", "incidents/{incident}/postmortem"}
LISTS = [
    path
    for method, _, path in (name.partition(" ") for name in TABLE)
    if method == "GET" and "{" not in path.replace("{incident}", "")
]


def rows(first: int, last: int, busy: Incident) -> None:
    """A row of each kind for each number; what an incident may have many of is of `busy`."""
    for number in range(first, last):
        now, name = timezone.now(), f"a{number}"
        target = a_target(name)
        incident = an_incident(Verdict.VERIFIED, seconds=1, target=target, alert_name=name)
        for of in (incident, busy):
            an_episode(of, fingerprint=f"{name}-{of.pk}", target=target)
            an_episode(of, fingerprint=f"{name}-{of.pk}", target=None, ends_at=now)
            Event.objects.create(incident=of, kind="noted", actor="robin", text=name)
            Notification.objects.create(
                incident=of, kind="opened", dedup_key=f"{name}-{of.pk}", channel="x-1", title=name, body=name
            )
        an_episode(incident, fingerprint=f"{name}-found", source=SOURCE, target=target)
        run = CrewRun.objects.create(incident=busy, number=number, finished_at=now)
        step = Step.objects.create(run=run, agent=Step.Agent.HEALER, state="done")
        ToolCall.objects.create(step=step, call_id="t", tool="container_logs")
        ModelCall.objects.create(step=step, model=name, endpoint="e", request={}, cost_usd="0.1", seconds=1)
        Action.objects.create(
            incident=busy,
            step=step,
            kind="restart_container",
            target=target,
            host=name,
            status="done",
            digest=name,
        )
        Autonomy.objects.create(kind="restart_container", target_kind="docker", alert_name=name)
        Pause.objects.create(scope=target.key, by="robin")
        MaintenanceWindow.objects.create(scope=target.key, starts="03:00", minutes=60, by="robin")
        problem = Problem.objects.create(signature=name, title=name, target=target, last_seen_at=now)
        problem.incidents.add(incident, busy)
        Delivery.objects.create(source="am", body=b"{}", alerts=0)
        access.create_token(name=name, role=Role.VIEWER)
        memory.remember(incident)
    memory.fill()


def test_the_number_of_queries_of_every_list(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REMEMBER_SECONDS", 0)  # the token is looked up each time,
    monkeypatch.setattr(load, "REFRESH_SECONDS", 0)  # and so is what is new to the memory
    busy = an_incident(alert_name="busy")
    memory.forget_index()

    def queries() -> dict[str, int]:
        found = {}
        for path in LISTS:
            with CaptureQueriesContext(connection) as seen:
                answer = admin.get(f"/api/v1/{path.format(incident=busy.pk)}")
                b"".join(answer) if answer.streaming else answer.content
            assert answer.status_code == 200, path
            found[path] = len(seen)
        return found

    rows(1, 3, busy)
    queries()  # what is loaded once
    few = queries()
    rows(3, 21, busy)
    assert queries() == few
    assert {path: count for path, count in few.items() if count > MOST and path not in ELSEWHERE} == {}
    memory.forget_index()
