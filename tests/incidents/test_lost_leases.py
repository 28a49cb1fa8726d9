"""Workers that were killed over a row are counted apart from its failures; no test waits for a lease."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from agents import audit, reasoners, services
from agents.advance import advance
from agents.models import CrewRun, Step
from incidents import jobs, leases, queue, rawsql
from incidents.models import Event, Incident, Job, Notification
from incidents.queue import State
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def a_message() -> Notification:
    return Notification.objects.create(kind="update", dedup_key="1", channel="json-1", title="t", body="b")


def kill_worker(row: queue.QueueRow) -> None:
    """Claim it, and be killed: nothing more is heard, and the lease runs out."""
    assert type(row).queue.claim(row.pk) is not None
    expire_lease(row)


def expire_lease(row: queue.QueueRow) -> None:
    gone = timezone.now() - timedelta(seconds=1)
    type(row).queue.filter(pk=row.pk).update(lease_until=gone)


def test_unlucky_kills_are_no_failures() -> None:
    step = Step.objects.create(run=_a_run(), agent=Step.Agent.ANALYST)
    for _ in range(Step.MAX_LOST):
        kill_worker(step)
    taken = Step.queue.claim(step.pk)
    assert (taken.attempts, taken.lost_leases) == (0, Step.MAX_LOST)
    taken.fail("a first failure")
    assert (taken.state, taken.attempts) == (State.WAITING, 1)


def test_a_row_that_kills_its_workers_is_dead_and_the_audit_tells_of_it() -> None:
    row = a_message()
    for _ in range(Notification.MAX_LOST + 1):
        kill_worker(row)
    assert Notification.queue.claim(row.pk) is None
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.DEAD, 0)
    assert "11 workers in a row were killed, or hung" in row.error
    assert "1 dead" in audit.look()["notification"].summary
    assert queue.retry(row)
    assert Notification.queue.claim(row.pk).lost_leases == 0


def test_a_step_that_kills_its_workers_is_told_and_its_incident_is_watched_on() -> None:
    run = _a_run()
    step = run.steps.get()
    for _ in range(Step.MAX_LOST + 1):
        kill_worker(step)
    advance(step.pk)
    assert "monitor gave up: given up: 11 workers" in Event.objects.filter(kind="agent").get().text
    assert Incident.objects.get().status == "proving"
    assert run.steps.filter(agent=Step.Agent.PROOF, state=State.WAITING).exists()


def test_who_lives_to_tell_of_a_failure_was_not_killed() -> None:
    row = a_message()
    kill_worker(row)
    taken = Notification.queue.claim(row.pk)
    assert taken.lost_leases == 1
    taken.fail("no")
    row.refresh_from_db()
    assert (row.attempts, row.lost_leases) == (1, 0)


def test_a_turn_that_went_well_forgets_both() -> None:
    row = a_message()
    Notification.objects.update(attempts=3)
    kill_worker(row)
    Notification.queue.claim(row.pk).put_back(seconds=0)
    row.refresh_from_db()
    assert (row.attempts, row.lost_leases) == (0, 0)


def test_a_turn_that_has_not_come_forgets_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a step that fails in every turn would live for ever, as long as its slots are taken in between."""
    step = _a_run().steps.get()
    Step.objects.update(attempts=3, error="it failed")
    kill_worker(step)
    monkeypatch.setattr(reasoners, "slot", lambda agent: _Slot())
    advance(step.pk)
    step.refresh_from_db()
    assert (step.state, step.attempts, step.lost_leases, step.error) == (State.WAITING, 3, 1, "it failed")


class _Slot:
    def __enter__(self) -> bool:
        return False

    def __exit__(self, *_: object) -> None:
        """Nothing was taken."""


def test_what_breaks_together_with_the_database_is_not_held_on_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the thread would renew its lease for minutes, and nobody could take it up."""
    row = a_message()
    taken = Notification.queue.claim(row.pk)

    def gone(*_: object, **__: object) -> int:
        raise OperationalError("the connection is lost")

    def work() -> None:
        with queue.working(taken):
            raise RuntimeError("in the middle of it")

    assert leases.renew() == 1
    monkeypatch.setattr(rawsql, "change", gone)
    with pytest.raises(OperationalError):
        work()
    assert leases.renew() == 0


def test_a_recurring_job_that_died_is_tried_again_by_the_next_start() -> None:
    jobs.ensure()
    Job.objects.filter(name="audit").update(state=State.DEAD, lost_leases=11, error="given up")
    jobs.ensure()
    job = Job.objects.get(name="audit")
    assert (job.state, job.lost_leases, job.error) == (State.WAITING, 0, "")


def _a_run() -> CrewRun:
    run = services.start_run(an_incident(status="new").pk)
    assert run is not None
    return run
