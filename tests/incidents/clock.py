"""A clock that tests set, and the worker that takes up what is due by it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from incidents import notifications
from incidents.models import Notification


class Clock:
    """What Django holds for the time. It stands until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass; each message is taken up at the moment it is due."""
        self.work_until(self.moment + timedelta(minutes=minutes))

    def work_until(self, end: datetime) -> None:
        self.work()
        for _ in range(500):
            due = Notification.queue.filter(state="waiting", due_at__lte=end).order_by("due_at").first()
            if due is None:
                self.moment = max(self.moment, end)
                return
            self.moment = max(self.moment, due.due_at)
            self.work()
        raise AssertionError("messages are put off again and again")

    def work(self) -> None:
        """Take up once, in their order, what is due now."""
        for pk in list(Notification.queue.due().order_by("due_at", "pk").values_list("pk", flat=True)):
            notifications.deliver(pk)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Noon of a Monday in UTC, until it is set."""
    clock = Clock(datetime.fromisoformat("2026-11-23T12:00:00+00:00"))

    class Set(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return clock.moment.astimezone(tz)

    monkeypatch.setattr(timezone, "datetime", Set)
    return clock
