"""The pages for people: what they show, to whom, and that strangers' text does no harm there."""

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

from agents import pauses
from agents.models import Action, ToolCall
from agents.templatetags.untrusted import percent, web_link
from incidents import liveness, memory, problems
from incidents.models import Event, Incident, Problem, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
Person = Callable[..., Client]


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return str(answer.content.decode())


@pytest.mark.parametrize("path", ["/", "/incidents/1"])
def test_a_page_asks_for_a_login(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/login?next={path}")


def test_people_who_are_no_staff_can_log_in(client: Client, django_user_model: Any) -> None:
    django_user_model.objects.create_user("robin", password="only for tests")
    answer = client.post("/login", {"username": "robin", "password": "only for tests", "next": "/"})
    assert answer["Location"] == "/"
    assert "Nothing has come yet" in text(client.get("/"))
    assert client.post("/logout").status_code == 302
    assert client.get("/").status_code == 302


def test_a_login_sends_nobody_elsewhere(client: Client, django_user_model: Any) -> None:
    django_user_model.objects.create_user("robin", password="only for tests")
    data = {"username": "robin", "password": "only for tests", "next": "https://evil.example/"}
    assert client.post("/login", data)["Location"] == "/"


def test_the_overview_shows_what_waits_what_is_open_and_what_ended(person: Person) -> None:
    action = an_action()
    ended = an_incident(Verdict.VERIFIED, seconds=137)
    page = text(person(staff=True).get("/"))
    assert "Waiting for you" in page
    assert f"/incidents/{action.incident_id}/actions/{action.pk}/approve" in page
    assert f"/incidents/{ended.pk}" in page
    assert "Fixed, proven in 2m" in " ".join(page.split())


def test_a_viewer_gets_no_buttons(person: Person) -> None:
    action = an_action()
    client = person()
    for page in ("/", f"/incidents/{action.incident_id}"):
        shown = text(client.get(page))
        assert "an operator decides" in shown
        assert "/approve" not in shown
    assert client.post(f"/incidents/{action.incident_id}/actions/{action.pk}/approve").status_code == 403
    assert client.post(f"/incidents/{action.incident_id}/annotate", {"cause": "x"}).status_code == 403
    assert client.post(f"/incidents/{action.incident_id}/acknowledge").status_code == 403
    assert Action.objects.get().status == "awaiting_approval"


def test_without_prometheus_the_overview_says_that_nothing_can_be_proved(person: Person) -> None:
    client = person()
    assert "Proof is unavailable: PROMETHEUS_URL is not set." in text(client.get("/"))
    an_episode(an_incident(), generator_url="http://me:secret@prom.lan:9090/graph?g0.expr=up+%3D%3D+0")
    page = text(client.get("/"))
    assert "the last alert came from http://prom.lan:9090." in page
    assert "secret" not in page


def test_configured_parts_show_no_secrets(person: Person, settings: Any) -> None:
    settings.PROMETHEUS_URL = "https://me:hunter2@prom.lan:9090/path"
    settings.NOTIFY_URLS = ["tgram://hunter2/5"]
    settings.OPENAI_API_KEY = "hunter2"
    page = text(person(superuser=True).get("/"))
    assert "https://prom.lan:9090" in page
    assert "tgram-1" in page
    assert "hunter2" not in page
    assert "Proof is unavailable" not in page


def test_a_huge_text_does_not_make_a_huge_page(person: Person) -> None:
    huge = "x" * 1_000_000
    incident = an_incident(description=huge)
    an_episode(incident, labels={"instance": huge, huge: "y"}, annotations={"runbook": f"http://x/{huge}"})
    Event.objects.create(incident=incident, kind=Event.Kind.AGENT, actor="monitor", text=huge)
    browser = person(superuser=True)
    pages = ("/", f"/incidents/{incident.pk}", "/admin/incidents/event/")
    sizes = {page: len(browser.get(page).content) for page in pages}
    assert max(sizes.values()) < 100_000, sizes


def test_a_pause_and_a_dead_part_stand_on_top(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses.pause(scope="*", until=None, by="kim", reason="holidays")
    monkeypatch.setitem(liveness._CHECKS, "worker", lambda: False)
    page = text(person().get("/"))
    assert "Paused: * by kim: holidays" in page
    assert "Not running: worker" in page


def test_the_overview_costs_the_same_for_any_number(person: Person) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            text(client.get("/"))
        return len(seen)

    client, target = person(staff=True), a_target()
    an_action(target=target)
    an_incident(Verdict.VERIFIED, seconds=1, target=target)
    few = queries()
    for _ in range(10):
        an_action(target=target)
        an_incident(Verdict.VERIFIED, seconds=1, target=target)
    assert queries() == few


def test_an_incidents_page_tells_the_whole_story(person: Person) -> None:
    action = an_action()
    incident = action.incident
    Incident.objects.filter(pk=incident.pk).update(root_cause="out of memory", certainty="CONFIRMED")
    earlier = an_incident(Verdict.VERIFIED, seconds=1)
    later = an_incident()
    page = text(person(staff=True).get(f"/incidents/{incident.pk}"))
    assert "CRIT jellyfin@docker2 ServiceDown" in page
    assert "Killed process 7" in page
    assert "struck: the quote is not in t1" in page
    assert "REMEDIATION_MODE is approve" in page
    assert "container_logs" in page
    assert "secret-looking output" in page
    whole = text(person(staff=True, name="sam").get(f"/incidents/{incident.pk}/record"))
    assert "secret-looking output" in whole
    assert "secret-looking prompt" in whole  # all that was sent to the model
    assert "Sent to http://model" in whole
    assert f"/incidents/{earlier.pk}" in text(person(name="kim").get(f"/incidents/{later.pk}"))


def test_outputs_are_for_operators(person: Person) -> None:
    """Quotes are what tools gave out, too."""
    action, client = an_action(), person()
    page = text(client.get(f"/incidents/{action.incident_id}/"))
    assert "container_logs" in page
    assert "Killed process 7" not in page
    whole = text(client.get(f"/incidents/{action.incident_id}/record"))
    assert "container_logs" in whole
    assert "Killed process 7" not in whole
    assert "secret-looking" not in page + whole


def test_similar_incidents_are_those_that_the_crew_was_shown(person: Person) -> None:
    action = an_action()
    past = an_incident(Verdict.VERIFIED, seconds=1, alert_name="Other")
    shown = {"incident": past.pk, "alert_name": "Other", "root_cause": "a leak", "verdict": "verified"}
    ToolCall.objects.update(tool="recall_incidents", data={"count": 1, "incidents": [shown, "odd"]})
    page = text(person().get(f"/incidents/{action.incident_id}"))
    assert "a leak" in page
    assert f'href="/incidents/{past.pk}"' in page


def test_a_similar_incident_of_another_memory_has_no_page_and_says_why_it_is_shown(person: Person) -> None:
    action = an_action()
    why = ["same alert", "from an earlier memory, unproven"]
    shown = {
        "incident": None,
        "alert_name": "Old",
        "root_cause": "<i>a leak",
        "note": "see shelf",
        "why": why,
    }
    ToolCall.objects.update(tool="recall_incidents", data={"count": 1, "incidents": [shown]})
    page = text(person().get(f"/incidents/{action.incident_id}"))
    assert "Similar incidents" in page
    assert "&lt;i&gt;a leak" in page
    assert "because: same alert, from an earlier memory, unproven" in page
    assert 'href="/incidents/None"' not in page


def test_an_open_incident_shows_the_problem_that_it_will_join(person: Person) -> None:
    action = an_action()
    incident = action.incident
    for _ in range(3):
        ended = an_incident(Verdict.UNKNOWN, target=incident.target, closed_at=timezone.now())
        problems.notice(memory.remember(ended).pk)
    problems.edit(Problem.objects.get(), by="alice", note="a new one is ordered", proposal="swap the disk")
    staff, guest = person(staff=True), person(name="kim")
    for url in ("/", f"/incidents/{incident.pk}"):
        page = text(staff.get(url))
        assert "Comes back" in page
        assert "a new one is ordered" in page
        assert "swap the disk" in page
        assert "swap the disk" not in text(guest.get(url))  # it may quote what tools read


def decide(client: Client, action: Action, what: str) -> list[str]:
    answer = client.post(f"/incidents/{action.incident_id}/actions/{action.pk}/{what}")
    assert answer["Location"] == f"/incidents/{action.incident_id}"
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_a_yes_is_taken_once(person: Person) -> None:
    client, action = person(staff=True), an_action()
    assert decide(client, action, "approve")[0].startswith("Approved: ")
    assert decide(client, action, "approve")[-1].startswith("Too late, nothing was changed")
    assert Action.objects.get().decided_by == "robin"


def test_a_no_and_a_late_yes(person: Person) -> None:
    client = person(staff=True)
    action = an_action()
    assert decide(client, action, "reject")[0].startswith("Rejected: ")
    late = an_action(expires_at=timezone.now() - timedelta(seconds=1))
    assert decide(client, late, "approve")[-1].startswith("Too late")


def test_an_action_of_another_incident_is_not_there(person: Person) -> None:
    action, other = an_action(), an_incident()
    answer = person(staff=True).post(f"/incidents/{other.pk}/actions/{action.pk}/approve")
    assert answer.status_code == 404


def test_a_decision_needs_a_csrf_token(person: Person) -> None:
    action = an_action()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = person(staff=True).cookies
    assert strict.post(f"/incidents/{action.incident_id}/actions/{action.pk}/approve").status_code == 403
    assert strict.get(f"/incidents/{action.incident_id}/actions/{action.pk}/approve").status_code == 405


def test_what_a_person_knows(person: Person) -> None:
    client, incident = person(staff=True), an_incident()
    client.post(f"/incidents/{incident.pk}/acknowledge")
    client.post(f"/incidents/{incident.pk}/annotate", {"cause": "the cat", "verdict": "resolved_by_human"})
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.human_cause) == ("robin", "the cat")
    assert incident.verdict == "resolved_by_human"
    client.post(f"/incidents/{incident.pk}/annotate", {"note": "on the keyboard"})
    client.post(f"/incidents/{incident.pk}/annotate", {"verdict": "verified"})
    incident.refresh_from_db()
    assert (incident.verdict, incident.human_cause) == ("resolved_by_human", "the cat")
    assert incident.human_note == "on the keyboard"


ATTACK = "<script>alert(1)</script>"


def test_what_strangers_wrote_is_escaped(person: Person) -> None:
    action = an_action(reason=ATTACK)
    incident = action.incident
    Incident.objects.filter(pk=incident.pk).update(description=ATTACK, alert_name=ATTACK, root_cause=ATTACK)
    an_episode(
        incident,
        labels={"instance": ATTACK, ATTACK: "x"},
        annotations={"runbook_url": "javascript:alert(1)", "dashboard": "https://grafana.lan/d/1?a=<b>"},
        generator_url='http://prom.lan/"onmouseover="alert(1)',
    )
    ToolCall.objects.update(output=ATTACK, tool=ATTACK)
    client = person(superuser=True)
    page = text(client.get(f"/incidents/{incident.pk}"))
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert 'href="https://grafana.lan/d/1?a=&lt;b&gt;" rel="noopener nofollow noreferrer"' in page
    assert '"onmouseover="' not in page
    assert "<script>alert" not in text(client.get("/"))


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:x",
        "data:text/html,x",
        "//evil",
        "http:",
        "ftp://x/",
        "http://[",
        "https://evil.example/\u202egro.elpmaxe",
        "https://evil\u200b.example/",
        "",
        None,
    ],
)
def test_only_web_addresses_become_links(address: str | None) -> None:
    assert "<a" not in web_link(address)


def test_pages_load_nothing_from_elsewhere(person: Person) -> None:
    action = an_action()
    client = person(superuser=True)
    mine = f"/incidents/{action.incident_id}"
    for path in ("/", mine, f"{mine}/record", f"{mine}/chart", "/login"):
        page = text(client.get(path))
        assert 'src="http' not in page
        assert 'href="http' not in page
        assert "<style" not in page
        assert " style=" not in page
    for name in ("style.css", "live.js", "incident.css", "incident.js"):
        assert client.get(f"/static/homelab/{name}").status_code == 200


@pytest.mark.parametrize("pk", ["0", "9" * 18, "9" * 19])
def test_an_incident_that_is_not_there(person: Person, pk: str) -> None:
    assert person().get(f"/incidents/{pk}").status_code == 404


def test_admin_without_its_slash(client: Client) -> None:
    assert client.get("/admin")["Location"] == "/admin/"
    assert client.post("/admin").status_code in (403, 405)


@pytest.mark.parametrize(
    ("rate", "shown"), [(1.0, 100), (0.996, 99), (0.9999999, 99), (0.29, 29), (0.004, 0), (0.0, 0)]
)
def test_a_rate_is_rounded_down(rate: float, shown: int) -> None:
    assert percent(rate) == shown
