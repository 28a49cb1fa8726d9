"""Several workers at the same messages, on a real PostgreSQL: each is told once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from incidents import notifications
from incidents.models import Notification
from incidents.queue import State
from tests.e2e.on_postgres import at_once, on_postgres, server
from tests.incidents.chat import Chat
from tests.incidents.rows import an_incident

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
Kind = Notification.Kind
WORKERS = 4


@pytest.fixture
def chat(settings) -> Iterator[Chat]:
    made = Chat()
    settings.NOTIFY_URLS = [made.url]
    settings.ESCALATION_URLS = [made.url, made.url]
    yield made
    made.close()


def work(pks: list[int]) -> None:
    """All workers are told of all messages at one moment."""
    at_once([partial(notifications.deliver, pk) for pk in pks for _ in range(WORKERS)])


def keys(**fields: object) -> list[int]:
    return list(Notification.objects.filter(**fields).order_by("pk").values_list("pk", flat=True))


def test_each_level_is_told_once(chat: Chat) -> None:
    incident = an_incident()
    notifications.tell_opened(incident)
    for minutes in (1, 10, 10, 10):
        for row in Notification.objects.all():  # time passes
            passed = timedelta(minutes=minutes)
            sent_at = row.sent_at and row.sent_at - passed
            times = {"created_at": row.created_at - passed, "due_at": row.due_at - passed, "sent_at": sent_at}
            Notification.objects.filter(pk=row.pk).update(**times)
        work(keys(state=State.WAITING, due_at__lte=timezone.now()))
    kinds = (
        Notification.objects.filter(sent_at__isnull=False).order_by("sent_at").values_list("kind", flat=True)
    )
    assert list(kinds) == ["opened", "escalation", "escalation", "escalation"]
    assert len(chat.messages) == 4
    assert incident.events.filter(kind="notified").count() == 4


def test_what_was_held_is_told_in_one_digest(chat: Chat) -> None:
    for number in range(6):
        notifications.tell_once(None, Kind.UPDATE, title=f"news {number}", body="x", transition=f"t{number}")
    over = timezone.now() - timedelta(seconds=1)
    Notification.objects.update(held_until=over, due_at=over)
    work(keys()[:3])
    assert chat.messages == []
    Notification.objects.filter(kind=Kind.DIGEST).update(due_at=over)
    work(keys(kind=Kind.DIGEST))
    assert [message["title"] for message in chat.messages] == ["While you slept: 6 messages"]
    assert all(f"news {number}" in chat.messages[0]["message"] for number in range(6))
    assert not Notification.objects.filter(sent_at=None).exists()
