"""Any number of beats: a sweep is made once, whoever asks for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.tasks import sweep_crew
from incidents import broker, tasks, turns
from incidents.models import Job, Turn

pytestmark = pytest.mark.django_db


def test_a_turn_is_taken_once_until_its_time_is_over() -> None:
    assert turns.take("sweep", seconds=60)
    assert not turns.take("sweep", seconds=60)
    assert turns.take("another", seconds=60)
    Turn.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert turns.take("sweep", seconds=60)
    assert not turns.take("sweep", seconds=60)


def test_many_beats_do_not_multiply_hints(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMBEDDED = False
    sent: list[int] = []
    monkeypatch.setattr(broker, "send", lambda task, pk, first: sent.append(pk))
    job = Job.objects.create(name="job")
    for _ in range(5):
        tasks.sweep_records()
        Job.objects.update(hinted_at=None)
        sweep_crew()
    assert sent == [job.pk]


def test_embedded_there_is_one_beat_and_nothing_is_written(settings, django_assert_num_queries) -> None:
    assert settings.EMBEDDED
    with django_assert_num_queries(0):
        assert turns.take_sweep("sweep_records")
        assert turns.take_sweep("sweep_records")
