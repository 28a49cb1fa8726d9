"""The link in a message: it shows, a button decides, once and in time; and it opens nothing else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone

from agents import communicator, links
from agents.models import Action, Pause, Step
from incidents import throttle
from incidents.models import Event, Incident, Notification
from incidents.redaction import clean
from tests.agents.rows import an_action

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def public(settings: Any) -> None:
    settings.PUBLIC_URL = "http://testserver"
    settings.NOTIFY_URLS = ["json://127.0.0.1:1/a", "json://127.0.0.1:1/b"]


def link(action: Action) -> str:
    url = links.url(action, "json-1")
    assert url is not None
    return url


def expire(action: Action) -> None:
    Action.objects.filter(pk=action.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_question_comes_with_a_link_for_each_channel_that_no_redaction_breaks() -> None:
    action = an_action()
    assert communicator.tell(action.incident, action.step.run, action.target)
    bodies = {row.channel: row.body for row in Notification.objects.all()}
    for channel, body in bodies.items():
        url = body.rsplit(" ", 1)[1]
        assert links.read(url.rsplit("/", 1)[1]) == links.Link(action.pk, channel)
        assert clean(url) == url
    assert len(bodies) == 2


def test_to_read_it_decides_nothing(client: Client) -> None:
    action = an_action()
    for _ in range(2):  # a chat that looks for a preview does the same
        page = client.get(link(action))
        assert page.status_code == 200
        for words in ("restart container", "out of memory", "Killed process 7", "Approve", "Reject"):
            assert words in page.content.decode()
        assert "no space left" not in page.content.decode()  # its quote was not found
    action.refresh_from_db()
    assert action.status == Action.Status.AWAITING_APPROVAL


def test_a_yes_counts_once(client: Client) -> None:
    action = an_action()
    answer = client.post(link(action), {"decision": "approve"})
    assert (answer.status_code, "Approved" in answer.content.decode()) == (200, True)
    action.refresh_from_db()
    assert (action.status, action.decided_by, action.by_person) == ("approved", "link in json-1", True)
    for decision in ("approve", "reject"):
        assert client.post(link(action), {"decision": decision}).status_code == 410
    assert Event.objects.filter(kind="approved").count() == 1
    assert action.step.run.steps.filter(agent=Step.Agent.EXECUTOR).count() == 1


def test_a_no_may_say_why(client: Client) -> None:
    action = an_action()
    client.post(link(action), {"decision": "reject", "code": "mine", "reason": "on it"})
    action.refresh_from_db()
    assert (action.status, action.rejected_as, action.result) == ("rejected", "mine", "on it")
    assert Incident.objects.get().taken_over_by == "link in json-1"


def test_a_person_who_is_logged_in_decides_by_name(client: Client, django_user_model: Any) -> None:
    action = an_action()
    client.force_login(django_user_model.objects.create_user("robin", is_staff=True))
    client.post(link(action), {"decision": "approve"})
    assert Action.objects.get().decided_by == "robin"


def test_after_its_time_it_shows_how_things_stand_and_asks_again_once(client: Client) -> None:
    action = an_action()
    expire(action)
    page = client.get(link(action)).content.decode()
    assert "Ask again" in page
    assert ">Approve<" not in page
    assert client.post(link(action), {"decision": "approve"}).status_code == 410
    assert client.post(link(action), {"decision": "ask-again"}).status_code == 200
    assert client.post(link(action), {"decision": "ask-again"}).status_code == 410
    step = action.step.run.steps.get(agent=Step.Agent.HEALER, state="waiting")
    assert step.asked_by == "link in json-1"


def test_it_pauses_its_own_target_and_nothing_else(client: Client) -> None:
    action = an_action()
    client.post(link(action), {"decision": "pause", "hours": "24", "scope": "*"})
    pause = Pause.objects.get()
    assert (pause.scope, pause.by) == (action.target.key, "link in json-1")
    assert pause.until is not None
    assert timedelta(hours=23) < pause.until - timezone.now() <= timedelta(hours=24)


@pytest.mark.parametrize("data", [{}, {"decision": "delete"}, {"decision": "pause", "hours": "100000"}])
def test_what_no_button_says_changes_nothing(client: Client, data: dict[str, str]) -> None:
    action = an_action()
    assert "Nothing was changed" in client.post(link(action), data).content.decode()
    assert not Pause.objects.exists()
    assert Action.objects.get().status == "awaiting_approval"


def test_a_link_of_somebody_else_opens_nothing_and_is_slowed_down(client: Client) -> None:
    action = an_action()
    good = link(action)
    forged = signing.TimestampSigner(key="x" * 50, salt=links.SALT, sep=".").sign(f"{action.pk}-json-1")
    other = signing.TimestampSigner(salt="another purpose", sep=".").sign(f"{action.pk}-json-1")
    for token in (forged, other, good.rsplit("/", 1)[1][:-1] + "-", "1-json-1"):
        assert client.post(f"/q/{token}", {"decision": "approve"}).status_code == 404
    for _ in range(throttle.ALLOWED):
        last = client.get(f"/q/{forged}")
    assert last.status_code == 429
    assert client.get(good).status_code == 200
    assert Action.objects.get().status == "awaiting_approval"


def test_an_old_link_opens_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = link(an_action())
    monkeypatch.setattr(links, "LIVES", timedelta(seconds=-1))
    assert client.get(url).status_code == 404


def test_without_csrf_token_nothing_is_decided() -> None:
    action = an_action()
    assert Client(enforce_csrf_checks=True).post(link(action), {"decision": "approve"}).status_code == 403
    assert Action.objects.get().status == "awaiting_approval"


def test_enter_in_the_reason_does_not_approve(client: Client) -> None:
    """A browser then presses the first button of the field's own form."""
    page = client.get(link(an_action())).content.decode()
    [form] = [each for each in re.findall(r"<form.*?</form>", page, re.DOTALL) if 'name="reason"' in each]
    assert re.findall(r'<button[^>]*value="([^"]*)"', form) == ["reject"]
