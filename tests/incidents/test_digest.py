"""In quiet hours criticals are told, and the rest afterwards: all of it, once, in order, in one message."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from incidents import digest, events, notifications, queue, services
from incidents.models import Event, Incident, Notification, Verdict
from incidents.queue import State
from incidents.quiet import parse
from tests.incidents.chat import Chat
from tests.incidents.clock import Clock, clock
from tests.incidents.rows import a_target, an_incident

__all__ = ["clock"]
pytestmark = pytest.mark.django_db
Kind = Notification.Kind
NIGHT = datetime.fromisoformat("2026-11-23T23:00:00+01:00")
MORNING = datetime.fromisoformat("2026-11-24T07:00:00+01:00")


@pytest.fixture
def chat(settings, clock: Clock) -> Iterator[Chat]:
    """It is eleven in the evening, and quiet until seven."""
    made = Chat()
    settings.NOTIFY_URLS = [made.url]
    settings.TIME_ZONE = "Europe/Berlin"
    settings.QUIET_HOURS = parse("22:30-07:00")
    clock.moment = NIGHT
    yield made
    made.close()


def titles(chat: Chat) -> list[str]:
    return [message["title"] for message in chat.messages]


def tell(incident: Incident | None, title: str, kind: Kind = Kind.UPDATE, **options: Any) -> Notification:
    transition = options.pop("transition", title)
    notifications.tell_once(incident, kind, title=title, body=f"about {title}", transition=transition)
    row = Notification.objects.latest("pk")
    Notification.objects.filter(pk=row.pk).update(created_at=timezone.now())
    return row


def a_warning(name: str = "web", **fields: Any) -> Incident:
    return an_incident(severity="warning", target=a_target(name), started_at=timezone.now(), **fields)


@pytest.mark.parametrize("kind", [Kind.OPENED, Kind.DECISION, Kind.ENDED])
def test_what_interrupts_about_a_critical_is_told_at_once(kind: Kind, chat: Chat, clock: Clock) -> None:
    tell(an_incident(), "critical", kind)
    clock.work()
    assert titles(chat) == ["critical"]


@pytest.mark.parametrize(
    ("severity", "kind"),
    [("critical", Kind.UPDATE), ("warning", Kind.UPDATE), ("warning", Kind.DECISION), ("info", Kind.ENDED)],
)
def test_the_rest_waits_until_the_end(severity: str, kind: Kind, chat: Chat, clock: Clock) -> None:
    row = tell(an_incident(severity=severity), "it can wait", kind)
    clock.work_until(MORNING - timedelta(seconds=1))
    row.refresh_from_db()
    assert (row.state, row.held_until, row.sent_at) == (State.WAITING, MORNING, None)
    assert chat.messages == []
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["it can wait"], "one alone comes as it is"
    row.refresh_from_db()
    assert row.sent_at is not None


def test_what_is_about_no_incident_waits_too(chat: Chat, clock: Clock) -> None:
    tell(None, "Model budget for 2026-11-23 is at 80 %")
    clock.work()
    assert chat.messages == []
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["Model budget for 2026-11-23 is at 80 %"]


def test_several_are_one_message(chat: Chat, clock: Clock) -> None:
    first, second, third = a_warning("web"), a_warning("db"), a_warning("mail")
    for incident in (first, second):
        tell(incident, f"#{incident.pk} is watched")
        services.close(incident, Verdict.VERIFIED, actor="crew", note="clear")
        tell(incident, f"#{incident.pk} is fixed")
    tell(third, "restart mail?", Kind.DECISION)
    tell(None, "budget")
    clock.work_until(MORNING + timedelta(minutes=1))
    (message,) = chat.messages
    assert message["title"] == "While you slept: 3 incidents, 2 verified, 1 needs you, 1 other message"
    body = message["message"]
    assert body.startswith("23:00 restart mail?\nabout restart mail?"), "what needs somebody comes first"
    assert body.index(f"#{first.pk} is watched") < body.index(f"#{first.pk} is fixed")
    assert "about budget" in body
    rows = Notification.objects.exclude(kind=Kind.DIGEST)
    assert all(row.sent_at and row.state == State.DONE for row in rows)
    told = Event.objects.filter(kind=Event.Kind.NOTIFIED)
    assert told.count() == 6, "each is on its incident's timeline"


def test_each_channel_has_a_digest_of_its_own(chat: Chat, clock: Clock, settings) -> None:
    settings.NOTIFY_URLS = [chat.url, chat.url]
    for title in ("one", "two"):
        tell(a_warning(title), title)
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["While you slept: 2 incidents"] * 2


def test_a_question_that_expired_unseen_says_so_and_how_to_be_asked_again(
    chat: Chat, clock: Clock, settings
) -> None:
    settings.PUBLIC_URL = "https://homelab.example.org"
    incident = a_warning()
    tell(incident, "restart? until 23:15", Kind.DECISION)
    clock.work_until(NIGHT + timedelta(minutes=15))
    events.record(incident, Event.Kind.EXPIRED, "policy", "nobody answered: restart docker:docker2/web")
    clock.work_until(MORNING + timedelta(minutes=1))
    (message,) = chat.messages
    said = "23:15 nobody answered: restart docker:docker2/web. To be asked again: https://homelab.example.org"
    assert f"{said}/incidents/{incident.pk}" in message["message"]


def test_a_question_is_told_whole_also_when_something_came_after_it(chat: Chat, clock: Clock) -> None:
    incident = a_warning()
    tell(incident, "restart?", Kind.DECISION)
    tell(incident, "it flaps")
    clock.work_until(MORNING + timedelta(minutes=1))
    (message,) = chat.messages
    assert message["title"] == "While you slept: 1 incident, 1 needs you"
    assert message["message"] == "23:00 restart?\n23:00 it flaps\nabout restart?"


def test_who_has_answered_is_not_asked_again(chat: Chat, clock: Clock) -> None:
    incident = a_warning()
    tell(incident, "restart?", Kind.DECISION)
    tell(incident, "under way")
    clock.work()
    events.record(incident, Event.Kind.APPROVED, "robin", "approved")
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["While you slept: 1 incident"]


def test_a_critical_takes_along_what_was_held_of_its_incident(chat: Chat, clock: Clock) -> None:
    incident = an_incident()
    held = tell(incident, "restart under way")
    other = tell(a_warning(), "another")
    clock.work()
    tell(incident, "restart failed", Kind.DECISION)
    clock.work()
    (message,) = chat.messages
    assert message["title"] == "restart failed"
    assert message["message"] == "about restart failed\nBefore, 23:00 restart under way"
    held.refresh_from_db()
    assert held.sent_at is not None
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["restart failed", "another"]
    other.refresh_from_db()
    assert other.sent_at is not None


def test_the_words_of_what_waits_may_change(chat: Chat, clock: Clock) -> None:
    incident = a_warning()
    for title in ("analysing", "analysed"):
        notifications.tell(incident, Kind.UPDATE, title=title, body="x", transition="a")
        clock.work()
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["analysed"]


def test_what_could_not_be_sent_before_does_not_ring_in_the_night(chat: Chat, clock: Clock) -> None:
    clock.moment = NIGHT - timedelta(hours=1)
    chat.status = 503
    tell(a_warning(), "late")
    clock.work_until(NIGHT)
    chat.status = 200
    tell(an_incident(), "critical", Kind.OPENED)
    clock.pass_minutes(5)
    assert titles(chat) == ["critical"]
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["critical", "late"]


def test_news_of_the_morning_comes_after_what_was_held(chat: Chat, clock: Clock) -> None:
    incident = a_warning()
    tell(incident, "asked", Kind.DECISION)
    tell(a_warning("db"), "another")
    clock.work_until(MORNING)
    clock.work()
    chat.status = 503
    clock.pass_minutes(1)
    fresh = tell(incident, "fixed")
    notifications.deliver(fresh.pk)
    chat.status = 200
    clock.pass_minutes(3)
    assert titles(chat) == ["While you slept: 2 incidents, 1 needs you", "fixed"]


def test_a_digest_that_a_chat_refuses_comes_later_and_once(chat: Chat, clock: Clock) -> None:
    tell(a_warning("web"), "one")
    tell(a_warning("db"), "two")
    chat.status = 503
    clock.work_until(MORNING + timedelta(hours=1))
    assert not Notification.objects.filter(sent_at__isnull=False).exists()
    chat.status = 200
    clock.pass_minutes(2)
    assert titles(chat) == ["While you slept: 2 incidents"]
    assert not Notification.objects.filter(sent_at=None).exists()


def test_a_worker_that_dies_with_a_digest_loses_nothing_of_it(chat: Chat, clock: Clock) -> None:
    tell(a_warning("web"), "one")
    tell(a_warning("db"), "two")
    clock.work_until(MORNING)
    clock.work()
    row = Notification.objects.get(kind=Kind.DIGEST)
    clock.moment = row.due_at
    claimed = Notification.queue.claim(row.pk)
    digest.take_along(claimed)  # and nothing more is heard of it
    clock.moment += timedelta(minutes=1)
    clock.work()
    assert titles(chat) == ["While you slept: 2 incidents"]
    assert {"one", "two"} <= {line[6:] for line in chat.messages[0]["message"].splitlines()}


def test_a_digest_waits_for_what_a_killed_worker_held(chat: Chat, clock: Clock) -> None:
    tell(a_warning("web"), "one")
    straggler = tell(a_warning("db"), "two")
    clock.work_until(MORNING - timedelta(seconds=1))
    clock.moment = MORNING + timedelta(seconds=1)
    assert Notification.queue.claim(straggler.pk)  # by a worker that dies
    clock.work()
    clock.moment += timedelta(seconds=3)
    clock.work()
    assert chat.messages == []
    clock.pass_minutes(1)
    clock.pass_minutes(1)
    assert titles(chat) == ["While you slept: 2 incidents"]


def test_what_missed_its_digest_comes_alone(chat: Chat, clock: Clock) -> None:
    first, second = tell(a_warning("web"), "one"), tell(a_warning("db"), "two")
    clock.work()
    Notification.objects.filter(pk=second.pk).update(due_at=MORNING + timedelta(hours=1), state=State.DEAD)
    clock.work_until(MORNING + timedelta(minutes=1))
    queue.retry(second)
    clock.work()
    assert titles(chat) == ["one", "two"]
    first.refresh_from_db()
    assert first.sent_at is not None


def test_the_hours_may_be_turned_off_while_something_waits(chat: Chat, clock: Clock, settings) -> None:
    tell(a_warning("web"), "one")
    tell(a_warning("db"), "two")
    clock.work()
    settings.QUIET_HOURS = ()
    clock.work_until(MORNING + timedelta(minutes=1))
    assert titles(chat) == ["While you slept: 2 incidents"]


def test_many_incidents_are_counted_and_the_first_are_shown(chat: Chat, clock: Clock) -> None:
    for number in range(23):
        tell(a_warning(f"web{number}"), f"news of {number}")
    clock.work_until(MORNING + timedelta(minutes=1))
    (message,) = chat.messages
    assert message["title"] == "While you slept: 23 incidents"
    assert message["message"].endswith("… and 3 more incidents")
