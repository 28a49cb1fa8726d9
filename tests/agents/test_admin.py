"""Decisions and pauses in the admin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from agents import pauses
from agents.models import Action, ModelCall, Pause, Step, ToolCall
from incidents.models import Incident
from tests.agents.rows import an_action
from tests.incidents.rows import a_target

pytestmark = pytest.mark.django_db


def choose(client: Client, table: str, what: str, *rows: Any) -> list[str]:
    """Run an admin action on rows; what it says."""
    client.get("/admin/")  # shows, and so forgets, what was said before
    answer = client.post(
        f"/admin/agents/{table}/", {"action": what, "_selected_action": [row.pk for row in rows]}
    )
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_an_approval_from_the_list(root: Client) -> None:
    action = an_action()
    assert choose(root, "action", "approve", action) == ["1 approved"]
    action.refresh_from_db()
    assert (action.status, action.decided_by) == ("approved", "robin")
    assert choose(root, "action", "reject", action) == [f"not rejected: {action} is Approved"]


def test_a_rejection_from_the_list(root: Client) -> None:
    action = an_action()
    assert choose(root, "action", "reject", action) == ["1 rejected"]
    assert Incident.objects.get().status == "proving"


def test_staff_decide_when_they_may_see_actions(person: Callable[..., Client]) -> None:
    client, action = person(staff=True), an_action()
    choose(client, "action", "approve", action)
    assert Action.objects.get().status == "awaiting_approval"
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_action"))
    assert choose(client, "action", "approve", action) == ["1 approved"]


def test_a_new_pause_and_its_end(root: Client) -> None:
    target = a_target()
    data = {"scope": target.key, "until_0": "", "until_1": "", "reason": "I work on it"}
    assert root.post("/admin/agents/pause/add/", data).status_code == 302
    pause = Pause.objects.get()
    assert (pause.scope, pause.by, pause.until) == (target.key, "robin", None)
    assert choose(root, "pause", "lift", pause) == ["1 lifted"]
    assert choose(root, "pause", "lift", pause) == [f"{pause} was lifted before"]


def test_a_pause_of_nothing_known_is_refused(root: Client) -> None:
    answer = root.post("/admin/agents/pause/add/", {"scope": "jelyfin", "reason": ""})
    assert answer.status_code == 200
    assert b"is not in the inventory" in answer.content
    assert Pause.objects.count() == 0


def test_a_pause_that_is_over_before_it_begins_is_refused(root: Client) -> None:
    data = {"scope": "*", "until_0": "2020-01-01", "until_1": "03:00", "reason": ""}
    assert b"is in the past" in root.post("/admin/agents/pause/add/", data).content
    assert Pause.objects.count() == 0


def test_a_pause_that_another_lifted_meanwhile_is_not_lifted(root: Client) -> None:
    pause = pauses.pause(scope="*", until=None, by="kim", reason="")
    assert pauses.lift(pause, by="kim") is True
    assert pauses.lift(pause, by="robin") is False


def test_a_changes_page_says_what_was_asked(root: Client) -> None:
    action = an_action(touches="restarts it, which 3 others depend on", arguments={"tail": 7})
    choose(root, "action", "reject", action)
    page = root.get(f"/admin/agents/action/{action.pk}/change/").content.decode()
    assert "which 3 others depend on" in page
    assert "tail" in page


def test_the_incidents_page_shows_what_the_crew_did(root: Client) -> None:
    action = an_action()
    page = root.get(f"/admin/incidents/incident/{action.incident_id}/change/").content.decode()
    assert str(action.target) in page
    assert f"/incidents/{action.incident_id}" in page
    assert "investigations" in page.lower()


def test_a_transcript_is_pretty_printed_and_escaped(root: Client) -> None:
    an_action()
    call = ToolCall.objects.get()
    ToolCall.objects.update(output="<script>alert(1)</script>")
    page = root.get(f"/admin/agents/toolcall/{call.pk}/change/").content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    step = Step.objects.get(agent="analyst")
    assert "out of memory" in root.get(f"/admin/agents/step/{step.pk}/change/").content.decode()
    model = ModelCall.objects.get()
    assert "secret-looking prompt" in root.get(f"/admin/agents/modelcall/{model.pk}/change/").content.decode()


def test_a_late_yes_says_so(root: Client) -> None:
    action = an_action(expires_at=timezone.now() - timedelta(seconds=1))
    assert choose(root, "action", "approve", action)[0].startswith("not approved")
