"""A chat whose answers are damaged on their way: a message waits, and comes; nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from incidents import notifications
from incidents.models import Notification
from incidents.queue import State
from tests.e2e.proxy import HIGH_BIT, Proxy
from tests.incidents.chat import Chat, chat
from tests.incidents.rows import an_incident
from tests.incidents.test_notifications import tell

__all__ = ["chat"]
pytestmark = pytest.mark.django_db


def test_each_message_comes_though_the_answers_are_damaged(chat: Chat, settings: Any) -> None:
    with Proxy(chat.url, gap=8) as proxy:
        settings.NOTIFY_URLS = [proxy.url]
        for number in proxy.corruptions(HIGH_BIT, 6):
            row = tell(an_incident(alert_name=f"Alert{number}"), title=f"message {number}")
            notifications.deliver(row.pk)
            row.refresh_from_db()
            assert row.state in (State.WAITING, State.DONE)
        assert Notification.objects.filter(state=State.WAITING).exists()
        for row in Notification.objects.filter(state=State.WAITING):
            Notification.objects.filter(pk=row.pk).update(due_at=timezone.now())
            notifications.deliver(row.pk)
    assert not Notification.objects.exclude(state=State.DONE).exists()
    # At least once: who does not hear that it was taken can only say it again.
    assert {message["title"] for message in chat.messages} == {f"message {number}" for number in range(6)}
