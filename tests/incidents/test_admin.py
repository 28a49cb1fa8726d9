"""The admin of the records: people annotate incidents; everything else is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client

from incidents.access import create_token
from incidents.models import Delivery, Event, Incident, Notification, Problem, Token, Verdict
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
OURS = [model for app in ("incidents", "agents") for model in apps.get_app_config(app).get_models()]
REGISTERED = [model for model in OURS if admin.site.is_registered(model)]
NOT_SHOWN = {"GroupKey", "Guard", "Turn", "FailureCounter", "Tally", "TallyChange"}
CHANGED_BY_HAND = {"Incident", "Token", "MaintenanceWindow", "Pause"}


def said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_every_table_has_a_page() -> None:
    assert {model.__name__ for model in OURS if model not in REGISTERED} == NOT_SHOWN


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_lists_and_pages_open(root: Client, model: Any) -> None:
    action = an_action()
    Delivery.objects.create(source="am", body=b"{}", alerts=0)
    create_token(name="t", role="viewer")
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert root.get(base).status_code == 200
    assert root.get(f"{base}?q=x").status_code in (200, 302)
    row = model._default_manager.first()
    if row is not None:
        assert root.get(f"{base}{row.pk}/change/").status_code == 200
    assert action.pk


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_nothing_is_added_changed_or_deleted_by_hand(root: Client, rf: Any, model: Any) -> None:
    page = admin.site._registry[model]
    request = rf.get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    assert not page.has_delete_permission(request)
    assert page.has_change_permission(request) == (model in (Incident, Problem))
    assert page.has_add_permission(request) == (model.__name__ in CHANGED_BY_HAND - {"Incident"})
    assert len(page.list_display) <= 8
    assert page.show_full_result_count is False


def form(**changes: str) -> dict[str, str]:
    """The incident's page as a browser sends it back, with its empty inlines."""
    prefixes = ("actions", "runs", "episodes", "events", "notifications")
    management = {f"{prefix}-{name}": "0" for prefix in prefixes for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    return {"human_cause": "", "human_note": "", **management, **changes}


def change(incident: Incident) -> str:
    return f"/admin/incidents/incident/{incident.pk}/change/"


def test_an_annotation_goes_through_the_service(root: Client) -> None:
    incident = an_incident(Verdict.UNKNOWN)
    answer = root.post(change(incident), form(human_cause="the cat", _save="Save"))
    assert answer.status_code == 302, answer.content
    incident.refresh_from_db()
    assert (incident.human_cause, incident.annotated_by, incident.verdict) == ("the cat", "robin", "unknown")
    assert Event.objects.get(kind="annotated").data == {"cause": "the cat"}


def test_a_save_without_a_change_says_nothing(root: Client) -> None:
    incident = an_incident(human_cause="the cat")
    shown = {"initial-human_cause": "the cat"}
    root.post(change(incident), form(human_cause="the cat", _save="Save", **shown))
    assert not incident.events.exists()


@pytest.mark.parametrize(
    ("button", "verdict"), [("_false_alarm", "false_alarm"), ("_resolved_by_me", "resolved_by_human")]
)
def test_a_button_ends_an_incident(root: Client, button: str, verdict: str) -> None:
    incident = an_incident()
    page = root.get(change(incident)).content.decode()
    assert f'name="{button}"' in page
    answer = root.post(change(incident), form(human_note="seen it", **{button: "x"}))
    assert answer["Location"] == change(incident)
    incident.refresh_from_db()
    assert (incident.verdict, incident.status, incident.human_note) == (verdict, "closed", "seen it")


def test_a_button_acknowledges(root: Client) -> None:
    incident = an_incident()
    root.post(change(incident), form(_acknowledge="x"))
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.annotated_at) == ("robin", None)
    again = said(root.post(change(incident), form(_acknowledge="x")))
    assert f"{incident} was acknowledged before by robin" in again


def test_nothing_else_can_be_written_through_the_form(root: Client) -> None:
    incident = an_incident()
    root.post(change(incident), form(verdict="verified", status="closed", root_cause="x", alert_name="y"))
    incident.refresh_from_db()
    assert (incident.verdict, incident.status, incident.root_cause, incident.alert_name) == (
        None,
        "investigating",
        None,
        "ServiceDown",
    )


def test_an_action_on_many_says_how_many_and_why_not(root: Client) -> None:
    one, two, done = an_incident(), an_incident(), an_incident(Verdict.FALSE_ALARM)
    data = {"action": "mark_false_alarm", "_selected_action": [one.pk, two.pk, done.pk]}
    answer = root.post("/admin/incidents/incident/", data)
    assert said(answer) == ["2 marked: False Alarm", f"{done} had this verdict before"]
    assert set(Incident.objects.values_list("verdict", flat=True)) == {"false_alarm"}


def test_acknowledging_many(root: Client) -> None:
    one = an_incident()
    two = an_incident(acknowledged_at="2026-11-23T04:00:00Z", acknowledged_by="kim")
    data = {"action": "mark_acknowledged", "_selected_action": [one.pk, two.pk]}
    answer = root.post("/admin/incidents/incident/", data)
    assert said(answer) == ["1 acknowledged", f"{two} was acknowledged before by kim"]


def test_staff_see_what_they_were_given(person: Callable[..., Client]) -> None:
    client = person(staff=True)
    incident = an_incident()
    assert client.get("/admin/incidents/incident/").status_code == 403
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_incident"))
    page = client.get(change(incident))
    assert page.status_code == 200
    assert b"_false_alarm" not in page.content
    assert client.post(change(incident), form(_false_alarm="x")).status_code == 403


def test_a_new_token_is_shown_once(root: Client) -> None:
    answer = root.post("/admin/incidents/token/add/", {"name": "nas", "role": "ingest", "source": "am-nas"})
    secret = said(answer)[0].split()[-1]
    token = Token.objects.get(name="nas")
    assert (token.role, token.source) == ("ingest", "am-nas")
    assert Api(Client(), secret).post("/alert", {"alerts": []}).status_code == 200
    assert secret in root.get("/admin/incidents/token/").content.decode()
    assert secret not in root.get("/admin/incidents/token/").content.decode()
    assert secret not in root.get(f"/admin/incidents/token/{token.pk}/change/").content.decode()
    assert Event.objects.get(kind="token").actor == "robin"


def test_a_tokens_name_is_taken_once(root: Client) -> None:
    create_token(name="nas", role="viewer")
    answer = root.post("/admin/incidents/token/add/", {"name": "nas", "role": "admin", "source": "x"})
    assert answer.status_code == 200
    assert b"already exists" in answer.content


def test_only_superusers_make_tokens(person: Callable[..., Client]) -> None:
    client = person(staff=True)
    User.objects.get().user_permissions.set(Permission.objects.filter(content_type__app_label="incidents"))
    assert client.get("/admin/incidents/token/add/").status_code == 403
    token, _secret = create_token(name="nas", role="viewer")
    client.post("/admin/incidents/token/", {"action": "revoke", "_selected_action": [token.pk]})
    assert Token.objects.get().revoked_at is None


def test_a_token_is_revoked_once(root: Client) -> None:
    token, secret = create_token(name="nas", role="viewer")
    data = {"action": "revoke", "_selected_action": [token.pk]}
    assert said(root.post("/admin/incidents/token/", data)) == ["1 revoked"]
    assert said(root.post("/admin/incidents/token/", data))[-1] == "nas (viewer) was revoked before"
    assert Api(Client(), secret).get("/stats").status_code == 401


def test_what_strangers_wrote_is_escaped(root: Client) -> None:
    attack = "<script>alert(1)</script>"
    incident = an_incident(description=attack, alert_name=attack)
    an_episode(incident, labels={"x": attack}, alert_name=attack)
    Delivery.objects.create(source="am", body=attack.encode(), alerts=0, quarantined=[{"reason": attack}])
    for page in (
        "/admin/incidents/incident/",
        change(incident),
        "/admin/incidents/delivery/",
        f"/admin/incidents/delivery/{Delivery.objects.get().pk}/change/",
        "/admin/incidents/episode/",
    ):
        assert attack not in root.get(page).content.decode()


def test_what_died_is_tried_again_by_a_person(person: Callable[..., Client]) -> None:
    rows = [
        Notification.objects.create(
            incident=an_incident(),
            kind="update",
            dedup_key=state,
            channel="x",
            title="t",
            body="b",
            state=state,
        )
        for state in ("dead", "done")
    ]
    browser = person(superuser=True)
    said = browser.post(
        "/admin/incidents/notification/",
        {"action": "retry", "_selected_action": [row.pk for row in rows]},
        follow=True,
    )
    assert b"1 tried again" in said.content
    assert b"is not dead, but done" in said.content
    assert list(Notification.objects.order_by("pk").values_list("state", flat=True)) == ["waiting", "done"]
    Notification.objects.filter(dedup_key="dead").update(state="dead", error="no such channel")
    said = browser.post(
        "/admin/incidents/notification/",
        {"action": "give_up", "_selected_action": [row.pk for row in rows]},
        follow=True,
    )
    assert b"1 given up" in said.content
    given_up = Notification.objects.get(dedup_key="dead")
    assert (given_up.state, given_up.error) == ("done", "given up by robin: no such channel")
