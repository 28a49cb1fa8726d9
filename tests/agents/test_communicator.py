"""What people are told, and that no news is swallowed because something was said before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import communicator
from agents.models import Action
from incidents.models import Incident, Notification, Rating, Verdict
from incidents.notifications import tell_opened
from incidents.queue import State
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


def told() -> list[tuple[str, str]]:
    """Kind and the end of the title of every message that is or will be sent."""
    rows = Notification.objects.exclude(error__startswith="superseded").order_by("id")
    return [(row.kind, row.title.split(" · ", 1)[-1]) for row in rows]


def critical() -> Incident:
    incident = an_incident(target=a_target(), started_at=timezone.now() - timedelta(minutes=4))
    an_episode(incident)
    tell_opened(incident)
    return incident


def test_the_analysis_takes_the_place_of_an_opening_that_is_unsent() -> None:
    incident = critical()
    communicator.tell(incident, a_run(incident))
    assert told() == [("opened", "needs a person")]


def test_an_opening_that_was_sent_does_not_swallow_the_news() -> None:
    incident = critical()
    Notification.objects.update(state=State.DONE, sent_at=timezone.now())
    run = a_run(incident)
    action = an_action(incident, status=Action.Status.REFUSED, result="")
    communicator.tell(incident, run)
    Action.objects.filter(pk=action.pk).update(status=Action.Status.FAILED, result="the engine said no")
    communicator.tell(incident, run)
    communicator.tell(incident, run)  # the same state of affairs is told once
    assert told() == [
        ("opened", "not analysed yet"),
        ("decision", "not acted on"),
        ("decision", "restart container: Failed"),
    ]


def test_a_question_names_the_container_it_is_about() -> None:
    incident = critical()
    other = a_target(name="sonarr")
    an_action(incident, other)
    communicator.tell(incident, incident.runs.get())
    title = Notification.objects.get(kind="decision").title
    assert title.startswith("CRIT sonarr@docker2 ServiceDown 4m · restart? until ")
    assert len(title) <= 90


def test_the_body_has_the_checked_quote_the_rung_and_the_choices() -> None:
    incident = critical()
    an_action(incident)
    communicator.tell(incident, incident.runs.get())
    body = Notification.objects.get(kind="decision").body
    assert "Cause (CONFIRMED): out of memory" in body
    assert "“Killed process 7”" in body
    assert "no space left" not in body  # a struck quote is no evidence
    assert "Worked by: model" in body
    assert "Approve or reject until" in body


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.VERIFIED, "update"),
        (Verdict.FALSE_ALARM, "update"),
        (Verdict.NOT_FIXED, "ended"),
        (Verdict.RELAPSED, "ended"),
        (Verdict.UNKNOWN, "ended"),
    ],
)
def test_an_end_without_a_fix_interrupts(verdict: Verdict, kind: str) -> None:
    incident = an_incident(verdict, severity="warning")
    communicator.tell(incident, a_run(incident))
    assert [row.kind for row in Notification.objects.all()] == [kind]


def test_the_end_says_what_people_say_of_the_cause() -> None:
    said: dict[str, Any] = {
        "rating": Rating.WRONG,
        "rated_by": "robin",
        "human_cause": "a bad disk",
        "annotated_by": "kim",
    }
    incident = an_incident(Verdict.UNKNOWN, **said)
    an_action(incident)
    communicator.tell(incident, incident.runs.get())
    lines = Notification.objects.get(kind="ended").body.splitlines()
    assert lines[0] == "Cause (CONFIRMED): out of memory"
    assert {"robin calls this cause wrong.", "kim says: a bad disk"} <= set(lines)


def test_secrets_of_an_alert_are_not_told() -> None:
    incident = an_incident(description="cannot reach postgres://app:hunter2@db/x")
    tell_opened(incident)
    assert "hunter2" not in Notification.objects.get().body
