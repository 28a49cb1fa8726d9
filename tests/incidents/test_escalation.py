"""A critical that nobody answers reaches the next channel, and none that somebody has answered does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from incidents import channels, events, notifications, services
from incidents.models import Event, Incident, Notification, Verdict
from incidents.queue import State
from tests.incidents.chat import Chat, chats
from tests.incidents.clock import Clock, clock
from tests.incidents.rows import a_target, an_incident

__all__ = ["chats", "clock"]
pytestmark = pytest.mark.django_db
Kind = Notification.Kind


def critical(severity: str = "critical") -> Incident:
    """An incident that is told now, if it is critical."""
    incident = an_incident(target=a_target(), started_at=timezone.now(), severity=severity)
    notifications.tell_opened(incident)
    return incident


def counts(chats: list[Chat]) -> list[int]:
    return [len(chat.messages) for chat in chats]


def test_who_is_told_when_nobody_answers(chats: list[Chat], clock: Clock) -> None:
    critical()
    clock.pass_minutes(1)
    assert counts(chats) == [1, 0, 0]
    clock.pass_minutes(10)
    assert counts(chats) == [1, 1, 0]
    clock.pass_minutes(10)
    assert counts(chats) == [1, 1, 1]
    clock.pass_minutes(10)
    assert counts(chats) == [2, 1, 1]
    clock.pass_minutes(300)
    assert counts(chats) == [2, 1, 1], "the list is over"


def test_the_message_says_who_was_told_when(chats: list[Chat], clock: Clock) -> None:
    critical()
    clock.pass_minutes(31)
    (second,) = chats[1].messages
    assert second["title"] == "CRIT jellyfin@docker2 ServiceDown 10m · unanswered 10 min"
    assert "12:00 told json-1" in second["message"]
    last = chats[0].messages[-1]
    assert last["title"].endswith("· nobody answered, 30 min")
    assert "12:10 told json-escalation-1\n12:20 told json-escalation-2" in last["message"]
    row = Notification.objects.get(channel="json-escalation-1")
    assert (row.title, row.body) == (second["title"], second["message"])
    assert row.incident.events.filter(kind=Event.Kind.NOTIFIED, actor="json-escalation-1").count() == 1


@pytest.mark.parametrize("answer", ["acknowledge", "take_over", "annotate", "approved", "rejected", "close"])
def test_an_answer_ends_it(answer: str, chats: list[Chat], clock: Clock) -> None:
    incident = critical()
    clock.pass_minutes(12)
    if answer == "annotate":
        services.annotate(incident, by="robin", cause="the disk")
    elif answer == "close":
        services.close(incident, Verdict.VERIFIED, actor="crew", note="clear")
    elif answer in ("approved", "rejected"):
        events.record(incident, Event.Kind(answer), "robin", answer)
    else:
        getattr(services, answer)(incident, by="robin")
    clock.pass_minutes(100)
    assert counts(chats) == [1, 1, 0]
    left = Notification.objects.filter(kind=Kind.ESCALATION, sent_at=None)
    assert {row.state for row in left} == {State.DONE}
    said = "the incident is closed" if answer == "close" else "by robin"
    assert all(said in row.error for row in left)


def test_a_first_channel_that_is_away_does_not_stop_it(chats: list[Chat], clock: Clock) -> None:
    critical()
    chats[0].status = 503
    clock.pass_minutes(15)
    assert counts(chats) == [0, 1, 0]
    assert "Not reached: json-1" in chats[1].messages[0]["message"]


def test_an_escalation_channel_that_is_away_does_not_stop_the_next(chats: list[Chat], clock: Clock) -> None:
    critical()
    chats[1].status = 503
    clock.pass_minutes(25)
    assert counts(chats) == [1, 0, 1]


def test_it_counts_from_when_the_first_message_was_sent(chats: list[Chat], clock: Clock) -> None:
    """Nothing was told while nobody worked; then not all are told at one moment."""
    critical()
    clock.moment += timedelta(hours=1)
    for row in Notification.objects.order_by("-pk"):
        notifications.deliver(row.pk)
    assert counts(chats) == [1, 0, 0]
    clock.pass_minutes(9)
    assert counts(chats) == [1, 0, 0]
    clock.pass_minutes(2)
    assert counts(chats) == [1, 1, 0]
    clock.pass_minutes(8)
    assert counts(chats) == [1, 1, 0]


def test_the_words_that_took_the_place_of_an_opening_count_as_it(chats: list[Chat], clock: Clock) -> None:
    incident = critical()
    notifications.supersede_opened(incident)
    notifications.tell(incident, Kind.DECISION, title="restart?", body="x", transition="decision:1")
    clock.pass_minutes(11)
    assert counts(chats) == [1, 1, 0]


def test_one_that_rose_counts_from_then(chats: list[Chat], clock: Clock) -> None:
    incident = an_incident(severity="warning")
    notifications.tell(incident, Kind.UPDATE, title="watching", body="x", transition="a")
    clock.pass_minutes(60)
    Incident.objects.update(severity_class="critical")
    incident.refresh_from_db()
    notifications.tell_opened(incident, transition=f"{notifications.opened_transition(incident)}:rose")
    clock.pass_minutes(9)
    assert counts(chats) == [2, 0, 0]
    clock.pass_minutes(2)
    assert counts(chats) == [2, 1, 0]


def test_one_that_is_no_critical_is_not_told_on(chats: list[Chat], clock: Clock) -> None:
    critical(severity="warning")
    assert not Notification.objects.exists()


def test_one_that_came_back_is_told_anew_and_wants_an_answer_of_its_own(
    chats: list[Chat], clock: Clock
) -> None:
    incident = critical()
    services.acknowledge(incident, by="robin")
    clock.pass_minutes(2)
    services.close(incident, Verdict.VERIFIED, actor="crew", note="clear")
    services.reopen(incident, actor="alertmanager", text="fired again")
    notifications.tell_opened(incident)
    clock.pass_minutes(11)
    assert counts(chats) == [2, 1, 0], "told once, by the later opening"
    assert services.acknowledge(incident, by="robin")
    clock.pass_minutes(60)
    assert counts(chats) == [2, 1, 0]


def test_what_waits_for_its_time_holds_up_no_other_message(chats: list[Chat], clock: Clock) -> None:
    incident = critical()
    last = Notification.objects.filter(kind=Kind.ESCALATION, channel="json-1").get()
    Notification.objects.filter(pk=last.pk).update(due_at=timezone.now())
    notifications.deliver(last.pk)  # too early: given back
    notifications.tell(incident, Kind.UPDATE, title="news", body="x", transition="a")
    notifications.deliver(Notification.objects.latest("pk").pk)
    assert [message["title"] for message in chats[0].messages] == ["news"]


def test_it_is_told_again_when_its_worker_died_before_that_was_written(
    chats: list[Chat], clock: Clock
) -> None:
    critical()
    clock.pass_minutes(5)
    row = Notification.objects.get(channel="json-escalation-1")
    clock.moment = row.due_at
    assert Notification.queue.claim(row.pk)  # and nothing more is heard of it
    clock.moment += timedelta(minutes=1)
    clock.work()
    assert counts(chats) == [1, 1, 0]


@pytest.mark.parametrize("minutes", [0, 10])
def test_without_further_channels_or_minutes_nothing_is_queued(
    minutes: int, chats: list[Chat], clock: Clock, settings
) -> None:
    settings.ESCALATE_MINUTES = minutes
    if minutes:
        settings.ESCALATION_URLS = []
    critical()
    assert [row.kind for row in Notification.objects.all()] == ["opened"]


def test_turned_off_what_waits_ends_without_a_failure(chats: list[Chat], clock: Clock, settings) -> None:
    critical()
    settings.ESCALATE_MINUTES = 0
    clock.pass_minutes(60)
    assert counts(chats) == [1, 0, 0]
    assert {row.state for row in Notification.objects.all()} == {State.DONE}


def test_secrets_of_an_alert_are_not_told_on(chats: list[Chat], clock: Clock) -> None:
    secret = "postgres://app:hunter2@db/x"
    incident = an_incident(description=f"cannot reach {secret}", alert_name=f"Down {secret}")
    notifications.tell_opened(incident)
    assert not Notification.objects.filter(title__contains="hunter2").exists()
    clock.pass_minutes(11)
    assert "hunter2" not in str(chats[1].messages)
    assert "cannot reach" in chats[1].messages[0]["message"]


def test_all_levels_are_stored_with_the_statement_that_stores_the_first(
    chats: list[Chat], clock: Clock, django_assert_num_queries
) -> None:
    incident = an_incident()
    with django_assert_num_queries(1):
        notifications.tell_opened(incident)
    assert Notification.objects.count() == 4


def test_channels_are_told_of_without_their_addresses(settings) -> None:
    settings.NOTIFY_URLS = ["json://me:hunter2@127.0.0.1:9/"]
    settings.ESCALATION_URLS = ["pover://hunter2@token", "json://me:hunter2@127.0.0.1:9/"]
    said = "json-1; a critical that nobody answers in 10 min: pover-escalation-1, then json-escalation-2"
    assert channels.summary() == said
