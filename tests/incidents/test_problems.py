"""A trouble that comes back three times in a week is a problem: raised once, joined, closed by people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from incidents import memory, problems, services, tasks
from incidents.models import Event, Incident, MemoryEntry, Notification, Problem, Target, Verdict
from tests.conftest import Api
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems are looked for by the rows alone."""
    monkeypatch.setattr(memory, "sync", lambda pk: True)


@pytest.fixture
def web() -> Target:
    return a_target("web")


def ends(
    target: Target | None, *, days: float = 0, verdict: Verdict = Verdict.UNKNOWN, **fields: Any
) -> Incident:
    """An incident that ended so many days ago, and what the records' worker makes of it."""
    at = timezone.now() - timedelta(days=days)
    wanted = {"target": target, "severity": "warning", "started_at": at, "opened_at": at, "closed_at": at}
    incident = an_incident(verdict, **{**wanted, **fields})
    learn(incident)
    return incident


def learn(incident: Incident) -> None:
    services.remember(incident)
    tasks.sync_memory(MemoryEntry.objects.get(incident=incident).pk)


def messages() -> list[Notification]:
    return list(Notification.objects.order_by("pk"))


def test_the_third_in_a_week_is_told_once_and_does_not_interrupt(web: Target, settings: Any) -> None:
    settings.PUBLIC_URL = "https://home.example"
    first, second = ends(web, days=6), ends(web, days=3)
    assert not Problem.objects.exists()
    third = ends(web)
    problem = Problem.objects.get()
    assert (problem.title, problem.target, problem.status) == ("ServiceDown", web, "open")
    assert set(problem.incidents.all()) == {first, second, third}
    [message] = messages()
    assert (message.kind, message.incident) == ("update", third)
    assert message.title == "ServiceDown web@docker2: 3 times in 7 days"
    for each in (first, second, third):
        assert f"https://home.example/incidents/{each.pk}" in message.body
    event = third.events.get(kind=Event.Kind.RECURRED)
    assert event.data == {"problem": problem.pk, "incidents": [first.pk, second.pk, third.pk]}


@pytest.mark.parametrize(
    "third",
    [
        {"days": 7.1},
        {"alert_name": "AnotherAlert"},
        {"verdict": Verdict.FALSE_ALARM},
        {"other_target": True},
    ],
    ids=lambda each: next(iter(each)),
)
def test_what_is_none(web: Target, third: dict[str, Any]) -> None:
    ends(web, days=2)
    ends(web, days=1)
    ends(a_target("db") if third.pop("other_target", False) else web, **third)
    assert not Problem.objects.exists()
    assert messages() == []


def test_without_a_target_the_systems_tell_troubles_apart() -> None:
    def hot(system: str) -> Incident:
        incident = an_incident(Verdict.UNKNOWN, alert_name="HostTooHot", closed_at=timezone.now())
        an_episode(incident, labels={"instance": system})
        learn(incident)
        return incident

    on_pi = [hot("pi"), hot("nas"), hot("pi"), hot("nas"), hot("pi")]
    problem = Problem.objects.get()
    assert problem.target is None
    assert set(problem.incidents.all()) == set(on_pi[::2])


def test_further_ones_join_and_nobody_is_told_again(web: Target) -> None:
    for _ in range(3):
        ends(web)
    late = [ends(web), ends(web)]
    problem = Problem.objects.get()
    assert problem.incidents.count() == 5
    assert problem.last_seen_at == late[1].closed_at
    for incident in late:
        learn(incident)  # as a repeated hint does
    assert (problem.incidents.count(), len(messages())) == (5, 1)
    assert Event.objects.filter(kind=Event.Kind.RECURRED).count() == 1


def test_a_false_alarm_leaves_its_problem(web: Target) -> None:
    first, *_ = [ends(web, human_cause="the cat"), ends(web), ends(web)]
    problem = Problem.objects.get()
    assert "the cat" in problem.proposal
    services.annotate(first, by="alice", verdict=Verdict.FALSE_ALARM)
    learn(Incident.objects.get(pk=first.pk))
    problem.refresh_from_db()
    assert first not in problem.incidents.all()
    assert "the cat" not in problem.proposal


def test_an_incident_that_is_open_again_is_not_counted(web: Target) -> None:
    first = ends(web)
    services.reopen(first, actor="intake", text="it fires again")
    ends(web)
    ends(web)
    assert not Problem.objects.exists()


def test_closed_it_opens_again_when_the_trouble_returns(web: Target) -> None:
    old = [ends(web) for _ in range(3)]
    problem = Problem.objects.get()
    assert problems.close(problem, by="alice", note="more memory") is True
    assert problems.close(problem, by="bob") is False
    problem.refresh_from_db()
    assert (problem.status, problem.closed_by, problem.note) == ("closed", "alice", "more memory")
    services.annotate(old[0], by="bob", note="it was the cat")  # what is learnt of an old one is no return
    learn(Incident.objects.get(pk=old[0].pk))
    assert Problem.objects.get().status == "closed"
    ends(web)
    problem.refresh_from_db()
    assert (problem.status, problem.reopened, problem.closed_by) == ("open", 1, "")
    assert problem.note == "more memory"
    assert [each.title for each in messages()] == [
        "ServiceDown web@docker2: 3 times in 7 days",
        "ServiceDown web@docker2: came back after it was closed",
    ]


def test_long_after_its_end_it_takes_three_again(web: Target) -> None:
    for _ in range(3):
        ends(web)
    problem = Problem.objects.get()
    problems.close(problem, by="alice")
    Problem.objects.update(closed_at=timezone.now() - timedelta(days=31))
    MemoryEntry.objects.update(happened_at=timezone.now() - timedelta(days=32))
    ends(web)
    ends(web)
    assert Problem.objects.get().status == "closed"
    ends(web)
    assert Problem.objects.get().status == "open"


def test_what_a_person_proposes_stays_until_it_is_taken_back(web: Target) -> None:
    for _ in range(3):
        ends(web, root_cause="the kernel killed it: out of memory")
    problem = Problem.objects.get()
    by_rules = problem.proposal
    assert "raise its limit" in by_rules
    problems.edit(problem, by="alice", proposal="buy memory", note="ordered")
    ends(web, root_cause="the kernel killed it: out of memory")
    problem.refresh_from_db()
    assert (problem.proposal, problem.proposal_by, problem.note) == ("buy memory", "alice", "ordered")
    problems.edit(problem, by="alice", proposal="")
    problem.refresh_from_db()
    assert (problem.proposal_by, problem.note) == ("", "ordered")
    assert problem.proposal == by_rules.replace("3", "4")
    said = Event.objects.filter(kind=Event.Kind.PROBLEM, actor="alice")
    assert [each.data.get("proposal") for each in said] == ["buy memory", ""]


def test_who_closes_an_incident_asks_nothing_of_problems(web: Target) -> None:
    incident = an_incident(target=web)
    with CaptureQueriesContext(connection) as seen:
        services.close(incident, Verdict.UNKNOWN, actor="proof", note="no way to tell")
    assert not [query for query in seen.captured_queries if "problem" in query["sql"]]


def test_it_costs_the_same_whatever_is_remembered(web: Target) -> None:
    def cost() -> int:
        entry = MemoryEntry.objects.latest("pk")
        with CaptureQueriesContext(connection) as seen:
            problems.notice(entry.pk)
        return len(seen)

    ends(web, days=20)
    few = cost()
    for number in range(30):
        ends(a_target(f"other{number}"))
        ends(web, days=8 + number)
    assert cost() == few == 3


def test_times_counts_the_last_week_with_this_one(web: Target) -> None:
    ends(web, days=9)
    first = ends(web, days=4)
    ends(web, days=2, verdict=Verdict.FALSE_ALARM)
    now = an_incident(target=web)
    assert (problems.times(first), problems.times(now)) == (1 + 1, 2)


# --- the API and the admin ----------------------------------------------------------------------------


@pytest.fixture
def problem(web: Target) -> Problem:
    for _ in range(3):
        ends(web)
    return Problem.objects.get()


def test_the_api_lists_and_shows(problem: Problem, viewer: Api, operator: Api) -> None:
    [shown] = viewer.get("/api/v1/problems").json()["results"]
    assert (shown["status"], shown["times"], shown["target"]) == ("open", 3, "docker:docker2/web")
    assert (shown["proposal"], shown["note"], shown["closed_by"]) == (None, None, None)
    whole = operator.get(f"/api/v1/problems/{problem.pk}").json()
    assert whole["proposal"] == problem.proposal
    assert whole["incidents"] == list(problem.incidents.order_by("-pk").values_list("pk", flat=True))
    incident = viewer.get(f"/api/v1/incidents/{whole['incidents'][0]}").json()
    assert incident["problems"] == [problem.pk]
    for status, number in (("open", 1), ("closed", 0)):
        assert len(viewer.get(f"/api/v1/problems?status={status}").json()["results"]) == number
    assert viewer.get("/api/v1/problems?status=odd").status_code == 400
    assert viewer.get("/api/v1/problems/999").status_code == 404


def test_operators_write_and_close(problem: Problem, api: Callable[[str | None], Api]) -> None:
    url = f"/api/v1/problems/{problem.pk}"
    assert api(None).get(url).status_code == 401
    viewer, operator = api("viewer"), api("operator")
    assert [viewer.post(f"{url}/{word}", {"note": "x"}).status_code for word in ("note", "close")] == [
        403
    ] * 2
    assert operator.post(f"{url}/note", {}).status_code == 400
    written = operator.post(f"{url}/note", {"note": "ordered", "proposal": "buy memory"}).json()
    assert (written["note"], written["proposal"], written["proposal_by"]) == (
        "ordered",
        "buy memory",
        "operator",
    )
    closed = operator.post(f"{url}/close").json()
    assert (closed["status"], closed["closed_by"], closed["note"]) == ("closed", "operator", "ordered")
    assert operator.post(f"{url}/close", {"note": "late"}).json() == closed


def test_a_note_leaves_the_rules_their_proposal(web: Target, person: Callable[..., Client]) -> None:
    for days in (3, 2, 0):
        ends(web, days=days, human_cause=f"cause {days}")
    problem = Problem.objects.get()
    assert "\n" in problem.proposal
    shown = problem.proposal.replace("\n", "\r\n")  # as browsers send it back
    page = f"/admin/incidents/problem/{problem.pk}/change/"
    data = {"note": "one\r\ntwo", "proposal": shown, "initial-proposal": shown, "_save": "Save"}
    answer = person(superuser=True).post(page, data)
    assert answer.status_code == 302
    kept = Problem.objects.get()
    assert (kept.note, kept.proposal, kept.proposal_by) == ("one\ntwo", problem.proposal, "")


def test_the_admin_writes_and_closes(problem: Problem, person: Callable[..., Client]) -> None:
    root = person(superuser=True)
    page = f"/admin/incidents/problem/{problem.pk}/change/"
    shown = root.get(page).content.decode()
    assert f'href="/incidents/{problem.incidents.latest("pk").pk}"' in shown
    seen = {"initial-note": problem.note, "initial-proposal": problem.proposal}
    assert all(f'name="{name}"' in shown for name in seen)
    root.post(page, {"note": "ordered", "proposal": "buy memory", **seen, "_save": "Save"})
    problem.refresh_from_db()
    assert (problem.note, problem.proposal, problem.proposal_by) == ("ordered", "buy memory", "robin")
    data = {"action": "close", "_selected_action": [problem.pk]}
    for words in ("1 closed", f"{problem} was closed before"):
        answer = root.post("/admin/incidents/problem/", data)
        assert str(list(get_messages(answer.wsgi_request))[-1]) == words


def test_a_stale_page_takes_back_nothing_of_anybody_else(
    problem: Problem, person: Callable[..., Client]
) -> None:
    root, page = person(superuser=True), f"/admin/incidents/problem/{problem.pk}/change/"
    seen = {"initial-note": "", "initial-proposal": problem.proposal}
    problems.edit(problem, by="bob", note="the fan is ordered")
    assert root.post(page, {**seen, "note": "", "proposal": "buy memory"}).status_code == 302
    problem.refresh_from_db()
    assert (problem.note, problem.proposal) == ("the fan is ordered", "buy memory")
    mine = {"note": "it is the dust", "proposal": "", "initial-proposal": ""}
    said = root.post(page, {**mine, "initial-note": ""})
    [error] = said.context["adminform"].form.errors["note"]
    assert error == "bob wrote “the fan is ordered” meanwhile. Save again to put yours instead."
    root.post(page, {**mine, "initial-note": "the fan is ordered"})
    assert Problem.objects.get().note == "it is the dust"
