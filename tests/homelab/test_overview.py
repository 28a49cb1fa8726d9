"""The overview: its figures and its week, who sees what, and that asking again is cheap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Action
from incidents import services
from incidents.models import Event, Incident, Job, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
Person = Callable[..., Client]


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return " ".join(answer.content.decode().split())


def test_it_says_how_it_goes_and_shows_the_wrong_ones_of_the_week_first(person: Person) -> None:
    now = timezone.now()
    wrong = an_incident(Verdict.NOT_FIXED, closed_at=now, opened_at=now)
    an_incident(Verdict.VERIFIED, seconds=120, closed_at=now, opened_at=now)
    an_incident(Verdict.CLEARED_BEFORE_ACTION, seconds=60, closed_at=now, opened_at=now)
    page = text(person().get("/"))
    assert "Verdicts: Fixed, proven 1, Over by itself 1, Not fixed 1" in page
    assert "<dt>Proved gone</dt><dd>66 % <span" in page  # rounded down: what is not all is never 100 %
    assert "<dt>Proved gone</dt><dd>66 %</dd>" in page  # in all
    assert "<dt>Time to proof</dt><dd>1m <span" in page
    week = page[page.index('id="week"') :]
    assert week.index(f"/incidents/{wrong.pk}") < week.index("<summary>Fixed alone")


def test_an_open_incident_says_how_it_stands(person: Person) -> None:
    an_action()
    page = text(person().get("/"))
    assert "Needs your yes" in page
    assert '<span class="badge severity severity-critical">critical</span>' in page
    assert "<title>(1) 1 open · homelab</title>" in page


def test_what_is_left_to_people_stands_where_they_are_waited_for(person: Person) -> None:
    left = an_incident(status="proving")
    an_episode(left)
    an_incident(status="proving", alert_name="Ended")  # nothing fires any more: that ends by itself
    page = text(person().get("/"))
    waiting = page[page.index('id="waiting"') : page.index('id="open"')]
    assert f"/incidents/{left.pk}" in waiting
    assert "Needs you · " in waiting
    assert "Ended" not in waiting
    assert "<title>(1) 2 open · homelab</title>" in page


def test_the_open_ones_that_need_a_person_come_first_then_the_gravest(person: Person) -> None:
    wanted = [
        an_action().incident,
        an_incident(status="proving", severity="info"),
        an_incident(),
        an_incident(severity="warning"),
        an_incident(severity="warning"),
        an_incident(severity="odd"),
    ]
    an_episode(wanted[1])
    wanted[3], wanted[4] = wanted[4], wanted[3]  # of two alike the newer one
    rows = person().get("/").context["open"]
    assert [row["incident"] for row in rows] == wanted


def test_what_waits_says_what_it_would_touch_to_those_who_decide(person: Person) -> None:
    an_action(touches="restarts the container jellyfin")
    assert "It restarts the container jellyfin." in text(person(staff=True).get("/"))
    assert "restarts the container" not in text(person(name="kim").get("/"))


def test_why_a_part_fails_is_for_operators(person: Person, settings: Any) -> None:
    """It may quote what a tool read."""
    settings.PROMETHEUS_URL = "http://prom.lan:9090"
    errors = {"prometheus": "it said: quoted text"}
    Job.objects.create(name="health_check", last_finished_at=timezone.now(), result={"errors": errors})
    assert "quoted text" in text(person(staff=True).get("/"))
    page = text(person(name="kim").get("/"))
    assert "quoted text" not in page
    assert 'class="badge state-failing">Fails' in page


def test_nothing_is_asked_of_the_world(
    person: Person, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PROMETHEUS_URL = settings.ALERTMANAGER_URL = "http://127.0.0.1:1"
    settings.QDRANT_URL = settings.OPENAI_BASE_URL = "http://127.0.0.1:1"
    client = person()
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("somebody was asked"))
    page = text(client.get("/"))
    assert page.count('class="badge state-unknown">Unknown') >= 4


def test_it_costs_the_same_with_two_and_with_twenty(person: Person) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            text(client.get("/"))
        return len(seen)

    def more() -> None:
        now = timezone.now()
        an_action(target=target)
        for verdict in Verdict:
            an_incident(verdict, seconds=1, target=target, closed_at=now, opened_at=now)
        an_episode(an_incident(status="proving"))
        done = an_incident(Verdict.VERIFIED, target=target, closed_at=now)
        an_action(done, status=Action.Status.DONE, by_person=True, helped=True)

    client, target = person(staff=True), a_target()
    more()
    more()
    few = queries()
    for _ in range(18):
        more()
    assert queries() == few


def tag(client: Client, known: str | None = None) -> tuple[int, str]:
    answer = client.get("/", headers={"If-None-Match": known} if known else {})
    return answer.status_code, answer["ETag"]


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    class Set(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment.astimezone(tz)

    monkeypatch.setattr(timezone, "datetime", Set)


def test_a_page_that_did_not_change_is_not_sent_again(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now().replace(second=10)
    at(monkeypatch, now)
    client, incident = person(staff=True), an_incident()
    status, first = tag(client)
    assert status == 200
    with CaptureQueriesContext(connection) as seen:
        assert tag(client, first) == (304, first)
    assert len(seen) <= 3  # session, person, the latest event
    services.acknowledge(incident, by="kim")
    status, second = tag(client, first)
    assert (status, second != first) == (200, True)
    at(monkeypatch, now + timedelta(minutes=1))  # ages are told in minutes
    assert tag(client, second)[0] == 200


def test_another_role_sees_another_page(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, timezone.now())
    Event.objects.create(kind=Event.Kind.PAUSED, actor="kim", text="x")
    assert tag(person())[1] != tag(person(name="kim", staff=True))[1]


def test_the_menu_leads_where_the_role_may_go_and_marks_where_one_is(person: Person) -> None:
    admin, operator, viewer = person(superuser=True), person(name="alice", staff=True), person(name="kim")
    records = ("/admin/incidents/incident/", "/admin/incidents/problem/", "/admin/")
    page = text(admin.get("/slo"))
    assert 'href="/slo" aria-current="page"' in page
    for path in records:
        assert f'href="{path}"' in page
        assert admin.get(path).status_code == 200
    shown = text(operator.get("/slo"))
    for path in records:
        assert (f'href="{path}"' in shown) == (operator.get(path).status_code == 200), path
    assert "/admin/" not in text(viewer.get("/slo"))
    assert 'href="/" aria-current="page"' in text(viewer.get("/"))


def test_a_list_is_not_longer_than_a_page_bears(person: Person) -> None:
    target = a_target()
    for _ in range(51):
        an_incident(target=target)
    page = text(person(superuser=True).get("/"))
    assert "50+" in page
    assert "All of them" in page
    assert Incident.objects.unresolved().count() == 51


def test_it_says_that_more_waits_than_it_shows(person: Person) -> None:
    for number in range(51):
        an_action(target=a_target(f"web{number}"))
    page = text(person(staff=True).get("/"))
    assert "<title>(50+) 50+ open · homelab</title>" in page
    assert page.count("/approve") == 50


@pytest.mark.parametrize("path", ["/no-such-page", "/incidents/999"])
def test_pages_of_errors_have_the_same_look(person: Person, path: str) -> None:
    answer = person().get(path)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.content.decode()


def test_who_may_not_is_told_so(person: Person) -> None:
    answer = person().post("/pause", {"scope": "*"})
    assert answer.status_code == 403
    assert "<h1>No access</h1>" in answer.content.decode()
