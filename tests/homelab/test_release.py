"""What a worker gives back when it ends, and what its successor takes up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from incidents import queue
from incidents.models import Job
from incidents.queue import State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_held() -> None:
    queue.release_held()


def claimed(name: str) -> Job:
    job = Job.objects.create(name=name)
    found: Job = Job.queue.claim(job.pk)
    return found


def test_a_worker_that_ends_gives_back_what_it_holds_and_nothing_else() -> None:
    held, done = claimed("held"), claimed("done")
    done.finish()
    others = Job.objects.create(name="others", state=State.RUNNING, lease_until=timezone.now(), fence=7)
    assert queue.release_held() == 1
    for job in (held, done, others):
        job.refresh_from_db()
    assert (held.state, held.attempts, held.lease_until) == (State.WAITING, 0, None)
    assert held.lost_leases == 0
    assert (done.state, others.state) == (State.DONE, State.RUNNING)
    assert Job.queue.claim(held.pk) is not None


def test_a_thread_that_still_works_writes_nothing_after_that() -> None:
    job = claimed("job")
    queue.release_held()
    assert not job.finish(result={"late": True})
    job.refresh_from_db()
    assert (job.state, job.result) == (State.WAITING, None)


def test_a_row_that_another_worker_took_is_left_alone() -> None:
    job = claimed("job")
    Job.objects.filter(pk=job.pk).update(
        lease_until=timezone.now() - timedelta(seconds=1), fence=job.fence + 1
    )
    assert queue.release_held() == 0


def test_a_lone_worker_takes_up_orphans_but_not_what_may_have_killed_the_others() -> None:
    later = timezone.now() + timedelta(minutes=3)
    once = Job.objects.create(name="once", state=State.RUNNING, attempts=9, lease_until=later)
    often = Job.objects.create(name="often", state=State.RUNNING, lost_leases=2, lease_until=later)
    assert queue.release_orphans() == 1
    once.refresh_from_db()
    often.refresh_from_db()
    assert (once.state, once.lost_leases, often.state) == (State.WAITING, 1, State.RUNNING)
