"""Leases are short, renewed while the work goes on, and lost by what hangs. No test waits for one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from homelab import settings as real
from incidents import leases, queue
from incidents.models import Job, MemoryEntry
from incidents.queue import State
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
LIMIT = settings.LEASE_LIMIT_SECONDS


class Clock:
    """The clock of the holds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    list(leases.drop_all())
    yield
    list(leases.drop_all())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "time", made)
    return made


def claimed(name: str = "job") -> Job:
    job: Job = Job.queue.claim(Job.objects.create(name=name).pk)
    return job


def let_most_of_the_lease_pass(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() + timedelta(seconds=1))


def seconds_left(job: Job) -> float:
    job.refresh_from_db()
    assert job.lease_until is not None
    return (job.lease_until - timezone.now()).total_seconds()


def test_a_lease_is_short_enough_for_a_killed_workers_row_to_be_soon_taken_up() -> None:
    """Taken up within 30 s, the sweep's second included; and two renewals may fail."""
    assert 3 * real.LEASE_RENEW_SECONDS < seconds_left(claimed()) <= 25
    assert settings.CELERY_TASK_TIME_LIMIT <= LIMIT


def test_what_is_held_is_renewed_with_one_query_a_model(django_assert_num_queries) -> None:
    jobs = [claimed(f"job{number}") for number in range(3)]
    entry = MemoryEntry.objects.create(incident=an_incident(), text="", content_hash="")
    MemoryEntry.queue.claim(entry.pk)
    for job in jobs:
        let_most_of_the_lease_pass(job)
    with django_assert_num_queries(2):
        assert leases.renew() == 4
    assert all(seconds_left(job) > settings.LEASE_SECONDS - 5 for job in jobs)


def test_nothing_held_asks_nothing(django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert leases.renew() == 0


def test_what_is_finished_or_put_back_is_held_no_longer() -> None:
    claimed("a").finish()
    claimed("b").put_back(seconds=5)
    claimed("c").fail("no")
    assert leases.renew() == 0


def test_a_row_that_another_worker_took_is_not_renewed() -> None:
    job = claimed()
    Job.objects.filter(pk=job.pk).update(fence=job.fence + 1)
    let_most_of_the_lease_pass(job)
    assert leases.renew() == 0
    assert seconds_left(job) < 2


def test_a_thread_that_hangs_loses_its_row(clock: Clock) -> None:
    job = claimed()
    clock.now += LIMIT - 1
    assert leases.renew() == 1
    clock.now += 2
    let_most_of_the_lease_pass(job)
    assert leases.renew() == 0
    assert seconds_left(job) < 2


def test_one_that_shows_progress_keeps_it(clock: Clock) -> None:
    job = claimed()
    clock.now += LIMIT - 1
    assert job.save_progress(result={"done": 1})
    clock.now += LIMIT - 1
    assert leases.renew() == 1


def test_a_thread_that_lost_its_row_does_not_end_the_hold_of_the_one_that_has_it_now() -> None:
    hung = claimed()
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    taken: Job = Job.queue.claim(hung.pk)
    assert not hung.finish()
    assert leases.renew() == 1
    assert taken.finish()


def test_the_thread_renews_by_itself(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    settings.LEASE_RENEW_SECONDS = 0.01
    renewed = threading.Event()
    monkeypatch.setattr(leases, "renew", renewed.set)
    monkeypatch.setattr(leases, "_thread", None)
    monkeypatch.setattr(leases, "connection", _NoConnection())
    claimed()
    assert renewed.wait(5)
    settings.LEASE_RENEW_SECONDS = 3600


class _NoConnection:
    def close(self) -> None:
        """The test's own connection is not this thread's."""


def test_a_forked_child_holds_nothing_and_has_no_thread_of_its_parents() -> None:
    claimed()
    child = os.fork()
    if not child:
        alive = leases._thread is not None and leases._thread.is_alive()
        os._exit(len(leases._held) + alive)
    assert os.waitpid(child, 0)[1] == 0
    assert leases._held


def test_a_worker_that_drains_gives_back_what_it_holds() -> None:
    job = claimed()
    assert queue.release_held() == 1
    job.refresh_from_db()
    assert (job.state, job.attempts) == (State.WAITING, 0)
    assert leases.renew() == 0
