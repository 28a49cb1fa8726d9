"""What a lost worker held has waited for its lease: with a real broker it comes before the backlog."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.utils import timezone
from kombu import Message, Queue

from incidents import broker
from incidents.models import Notification
from incidents.queue import sweep

from .valkey import Valkey

pytestmark = [pytest.mark.e2e, pytest.mark.django_db]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    with Valkey(tmp_path) as valkey:
        made = Celery(broker=valkey.url, set_as_current=False)
        made.conf.task_default_queue = "work"
        monkeypatch.setattr(broker, "current_app", made)
        broker._producers.cache_clear()
        yield made
        broker._producers.cache_clear()


def taken(app: Celery, count: int) -> list[int]:
    """Primary keys of so many hints, in the order in which a worker takes them."""
    keys: list[int] = []

    def take(body: Any, message: Message) -> None:
        keys.extend(body[0])
        message.ack()

    with app.connection_for_read() as connection, connection.Consumer(Queue("work"), callbacks=[take]) as it:
        it.qos(prefetch_count=1)
        while len(keys) < count:
            connection.drain_events(timeout=10)
    return keys


def a_message(key: str) -> int:
    row = Notification.objects.create(kind="update", dedup_key=key, channel="json-1", title="t", body="b")
    return row.pk


def test_the_row_of_a_lost_worker_does_not_wait_behind_a_backlog(app: Celery) -> None:
    backlog = [a_message(str(number)) for number in range(5)]
    lost = a_message("lost")
    assert Notification.queue.claim(lost) is not None
    Notification.objects.filter(pk=lost).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert sweep(Notification) == 6
    assert taken(app, 6) == [lost, *backlog]
