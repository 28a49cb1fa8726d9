"""Every list of the admin costs as many queries for twenty rows as for two, and none counts a table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.models import (
    Action,
    Autonomy,
    Breaker,
    Chart,
    CrewRun,
    MaintenanceWindow,
    ModelCall,
    Pause,
    Step,
    ToolCall,
)
from incidents import adminbase, memory
from incidents.access import create_token
from incidents.models import (
    Delivery,
    Episode,
    Event,
    Incident,
    Job,
    MemoryEntry,
    Notification,
    Problem,
    Target,
    Token,
    Verdict,
)
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
WINDOW = {"scope": "*", "starts": time(3), "minutes": 60, "by": "kim"}


def _whole(number: int) -> Incident:
    """An incident of a target of its own, with all that belongs to one."""
    incident = an_action(_open(number), a_target(f"web{number}")).incident
    an_episode(incident)
    Event.objects.create(incident=incident, kind="opened", actor="am", text="opened")
    _message(number, incident)
    return incident


def _open(number: int) -> Incident:
    return an_incident(target=a_target(f"box{number}"), status="awaiting_approval")


def _message(number: int, incident: Incident) -> Notification:
    return Notification.objects.create(
        incident=incident, kind="update", dedup_key=f"{number}", channel="json-1", title="t", body="b"
    )


def _problem(number: int) -> Problem:
    return Problem.objects.create(
        signature=f"{number}", title="t", target=a_target(f"p{number}"), last_seen_at=timezone.now()
    )


ROWS: dict[type[Any], Callable[[int], Any]] = {
    Incident: _whole,
    Action: _whole,
    Step: _whole,
    ToolCall: _whole,
    ModelCall: _whole,
    CrewRun: lambda number: a_run(_open(number)),
    Chart: lambda number: Chart.objects.create(incident=_open(number)),
    Episode: lambda number: an_episode(_open(number)),
    Event: lambda number: Event.objects.create(incident=_open(number), kind="opened", actor="am", text="x"),
    Notification: lambda number: _message(number, _open(number)),
    MemoryEntry: lambda number: memory.remember(an_incident(Verdict.VERIFIED, target=a_target(f"m{number}"))),
    Problem: _problem,
    Target: lambda number: Target.objects.create(
        key=f"t{number}", kind="docker", host="h", name=f"{number}", parent=a_target(f"parent{number}")
    ),
    Token: lambda number: create_token(name=f"t{number}", role="viewer"),
    Delivery: lambda number: Delivery.objects.create(source="am", body=b"{}", alerts=0),
    Job: lambda number: Job.objects.create(name=f"job{number}"),
    Autonomy: lambda number: Autonomy.objects.create(
        kind="restart_container", target_kind="docker", alert_name=f"A{number}"
    ),
    Pause: lambda number: Pause.objects.create(scope="*", by="kim"),
    MaintenanceWindow: lambda number: MaintenanceWindow.objects.create(**WINDOW),
    Breaker: lambda number: Breaker.objects.create(key=f"{number}", rung="m at http://m"),
    User: lambda number: User.objects.create(username=f"u{number}"),
    Group: lambda number: Group.objects.create(name=f"g{number}"),
}
LISTS = {model: f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in ROWS}
PAGES = ("/admin/approvals/", "/admin/playbooks/", "/admin/tools/", "/admin/budgets/", "/admin/channels/")


def costs_the_same(
    root: Client, path: str, make: Callable[[int], Any], most: DjangoAssertNumQueries
) -> list[str]:
    """The statements for two rows, of which there are no more for twenty."""
    for number in range(2):
        make(number)
    root.get(path)  # kinds of content are asked for once
    with CaptureQueriesContext(connection) as few:
        assert root.get(path).status_code == 200
    for number in range(2, 20):
        make(number)
    with most(len(few)) as many:
        assert root.get(path).status_code == 200
    assert len(many) == len(few)
    return [query["sql"] for query in many]


def test_no_list_is_left_out() -> None:
    assert set(admin.site._registry) == set(ROWS)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_a_list_asks_the_same_for_any_number(
    root: Client, django_assert_max_num_queries: DjangoAssertNumQueries, model: type[Any]
) -> None:
    asked = costs_the_same(root, LISTS[model], ROWS[model], django_assert_max_num_queries)
    table = model._meta.db_table
    if model not in (User, Group):  # those are Django's, and few
        whole = [sql for sql in asked if f'FROM "{table}"' in sql and "WHERE" not in sql]
        assert [sql for sql in whole if "COUNT(" in sql or "DISTINCT" in sql] == []


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_odd_questions_are_no_error(root: Client, model: type[Any]) -> None:
    ROWS[model](1)
    assert root.get(f"{LISTS[model]}?q=1").status_code == 200
    for query in ("id__range=1", "pk__in=a,b", "p=abc", f"p={10**30}", "pk__gt=nothing", "_to_field=x"):
        assert root.get(f"{LISTS[model]}?{query}").status_code in (200, 302, 400), query
    for action in (*(admin.site._registry[model].actions or ()), "nonsense"):
        for key in ("abc", "", "\0", str(10**30)):
            chosen = {"action": action, "_selected_action": [key]}
            assert root.post(LISTS[model], chosen).status_code in (200, 302, 400), (action, key)


def test_no_counts_beside_the_filters(root: Client) -> None:
    _whole(1)
    with CaptureQueriesContext(connection) as plain:
        page = root.get(LISTS[Incident]).content.decode()
    assert "Show counts" not in page
    with CaptureQueriesContext(connection) as asked:
        root.get(f"{LISTS[Incident]}?_facets=True")
    assert len(asked) <= len(plain)


@pytest.mark.parametrize(
    "query", ["q=web", "q=nothing", "severity_class=critical", "source=alertmanager", "opened_at__year=2026"]
)
def test_incidents_that_are_looked_for_cost_the_same(
    root: Client, django_assert_max_num_queries: DjangoAssertNumQueries, query: str
) -> None:
    costs_the_same(root, f"{LISTS[Incident]}?{query}", _whole, django_assert_max_num_queries)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_the_same_for_any_number(
    root: Client, django_assert_max_num_queries: DjangoAssertNumQueries, path: str
) -> None:
    costs_the_same(root, path, _whole, django_assert_max_num_queries)


def test_an_incidents_page_asks_the_same_for_any_number_of_alerts(
    root: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    incident = _whole(100)

    def more(number: int) -> None:
        an_episode(incident, target=a_target(f"more{number}"))
        Event.objects.create(incident=incident, kind="joined", actor="am", text="another")
        _message(number, incident)

    path = f"{LISTS[Incident]}{incident.pk}/change/"
    costs_the_same(root, path, more, django_assert_max_num_queries)


def test_a_search_and_the_filters_look_at_the_newest_rows(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        Notification.objects.create(
            kind="update", dedup_key=f"{number}", channel=f"chat-{number}", title="hello", body="b"
        )
    monkeypatch.setattr(adminbase, "SEARCHED", 2)
    answer = root.get(f"{LISTS[Notification]}?q=hello")
    assert [row.channel for row in answer.context["cl"].result_list] == ["chat-2", "chat-1"]
    page = root.get(LISTS[Notification]).content.decode()
    assert "?channel=chat-2" in page
    assert "?channel=chat-0" not in page
