"""Messages are rows, sent through a real HTTP channel, and what is said first is what matters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from incidents import notifications
from incidents.models import Incident, Notification
from incidents.queue import State
from incidents.wording import duration, headline
from tests.incidents.chat import Chat, chat
from tests.incidents.rows import a_target, an_incident

__all__ = ["chat"]
pytestmark = pytest.mark.django_db
Kind = Notification.Kind


def tell(incident: Incident, title: str = "hello", transition: str = "t", **options: Any) -> Notification:
    notifications.tell(incident, Kind.UPDATE, title=title, body="body", transition=transition, **options)
    return Notification.objects.latest("id")


def test_a_message_is_marked_sent_after_it_was_sent(chat: Chat) -> None:
    row = tell(an_incident())
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert chat.messages[0]["title"] == "hello"
    assert row.sent_at is not None
    assert row.incident.events.get(kind="notified").text == "hello"


def test_a_message_is_sent_once(chat: Chat) -> None:
    row = tell(an_incident())
    notifications.deliver(row.pk)
    notifications.deliver(row.pk)
    assert len(chat.messages) == 1


def test_one_message_per_transition_and_its_words_may_change_until_it_is_sent(chat: Chat) -> None:
    incident = an_incident()
    tell(incident, "not analysed yet")
    row = tell(incident, "it was killed")
    assert Notification.objects.count() == 1
    notifications.deliver(row.pk)
    tell(incident, "too late")
    assert [message["title"] for message in chat.messages] == ["it was killed"]


def test_a_message_is_cut_to_what_its_channel_takes(chat: Chat) -> None:
    """A chat refuses a longer one, each time, and people would never be told."""
    notifications.tell(an_incident(), Kind.UPDATE, title="long", body="x" * 1_000_000, transition="t")
    notifications.deliver(Notification.objects.get().pk)
    (message,) = chat.messages
    assert len(message["message"]) == 32768  # what Apprise knows of this kind of channel


def test_a_channel_that_is_away_gets_it_later_and_not_forever(chat: Chat) -> None:
    chat.status = 503
    row = tell(an_incident())
    for attempt in (1, 2, Notification.MAX_ATTEMPTS):
        Notification.objects.update(due_at=timezone.now(), attempts=attempt - 1)
        notifications.deliver(row.pk)
        row.refresh_from_db()
        assert row.attempts == attempt
    assert row.state == State.DEAD
    assert row.sent_at is None
    assert "did not take" in row.error


def test_a_message_that_failed_is_tried_every_minute_at_least(chat: Chat) -> None:
    chat.status = 503
    row = tell(an_incident())
    Notification.objects.update(attempts=500)
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert timezone.now() < row.due_at <= timezone.now() + timedelta(seconds=60)


def test_what_waited_for_a_channel_comes_in_order_and_at_once_when_it_is_back(chat: Chat) -> None:
    incident = an_incident()
    broken = tell(incident, "broken", "opened")
    chat.status = 503
    notifications.deliver(broken.pk)
    chat.status = 200
    fixed = tell(incident, "fixed", "ended")
    notifications.deliver(fixed.pk)
    assert chat.messages == [], "the earlier one goes first"
    Notification.objects.filter(pk=broken.pk).update(due_at=timezone.now())
    notifications.deliver(broken.pk)
    fixed.refresh_from_db()
    assert fixed.due_at <= timezone.now()
    notifications.deliver(fixed.pk)
    assert [message["title"] for message in chat.messages] == ["broken", "fixed"]


def test_a_message_that_no_chat_takes_does_not_hold_up_the_others_for_good(chat: Chat) -> None:
    incident = an_incident()
    tell(incident, "poison", "opened")
    Notification.objects.update(fence=9, attempts=9, due_at=timezone.now() + timedelta(seconds=60))
    row = tell(incident, "fixed", "ended")
    Notification.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(minutes=11))
    notifications.deliver(row.pk)
    assert [message["title"] for message in chat.messages] == ["fixed"]


def test_a_channel_that_comes_back_gets_what_waited(chat: Chat) -> None:
    chat.status = 503
    row = tell(an_incident())
    notifications.deliver(row.pk)
    chat.status = 200
    Notification.objects.update(due_at=timezone.now())
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert row.sent_at is not None


def test_each_channel_has_its_own_row_and_no_url_is_stored(chat: Chat, settings) -> None:
    settings.NOTIFY_URLS = [chat.url, "tgram://123456789:secret/42"]
    tell(an_incident())
    names = set(Notification.objects.values_list("channel", flat=True))
    assert names == {"json-1", "tgram-2"}


def test_without_a_channel_the_message_is_kept_and_not_called_sent(settings) -> None:
    settings.NOTIFY_URLS = []
    row = tell(an_incident())
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert (row.channel, row.state, row.sent_at) == ("none", State.DONE, None)


def test_a_url_that_apprise_cannot_read_is_dead_at_once(settings) -> None:
    settings.NOTIFY_URLS = ["nonsense://x"]
    row = tell(an_incident())
    notifications.deliver(row.pk)
    row.refresh_from_db()
    assert row.state == State.DEAD


def test_the_first_ninety_characters_say_it() -> None:
    incident = an_incident(target=a_target(), alert_name="JellyfinDown")
    now = incident.started_at + timedelta(minutes=4, seconds=10)
    title = headline(incident, "restart? until 03:27", now=now)
    assert title == "CRIT jellyfin@docker2 JellyfinDown 4m · restart? until 03:27"
    incident.alert_name = "A" * 200
    assert len(headline(incident, "restart?", now=now)) <= 90


def test_a_long_name_does_not_push_out_what_is_asked() -> None:
    incident = an_incident(target=a_target(name="x" * 60), alert_name="A" * 80)
    title = headline(incident, "restart? until 03:27")
    assert len(title) <= 90
    assert title.endswith("restart? until 03:27")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (240, "4m"), (7200, "2h"), (90000, "1d")]
)
def test_durations_as_people_read_them(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
