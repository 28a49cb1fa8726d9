"""Recurring and requested work of the server, as due rows: any number of beats are harmless.

An app registers its jobs in `ready()`. A recurring job is put back after it ran; a requested one is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from incidents import events, tracing
from incidents.models import Event, Job
from incidents.queue import State, anew, hint, working
from incidents.redaction import clean

# What a job does, given a function that renews its lease (for work that takes minutes) and may write how far
# it is (`result=`); its result as JSON.
Run = Callable[[Callable[..., None]], dict[str, Any]]
# Seconds until a job is due again, always the same or by its result.
Every = float | Callable[[dict[str, Any]], float]


class Again(Exception):
    """A job's turn is over and it is not done: it goes on after `seconds`; `why` it had to wait."""

    def __init__(self, seconds: float, why: str = "") -> None:
        super().__init__(why)
        self.seconds = seconds
        self.why = why


@dataclass(frozen=True)
class Work:
    """What a job does, and after how many seconds it is due again (None: only on request)."""

    run: Run
    every: Every | None


REGISTRY: dict[str, Work] = {}


def register(name: str, run: Run, *, every: Every | None = None) -> None:
    REGISTRY[name] = Work(run, every)


def ensure() -> None:
    """A row for each recurring job; called at the start of the server."""
    for name, work in REGISTRY.items():
        if work.every is not None:
            Job.objects.get_or_create(name=name)
            # One that was not recurring for a while (its setting was gone) ended for good; one that is dead
            # may have been killed by what the new start has mended.
            ended = Job.objects.filter(name=name, state__in=(State.DONE, State.DEAD))
            ended.update(**anew())


@transaction.atomic
def request(name: str, *, by: str) -> Job:
    """Make a job due now. One that is running keeps running and is not doubled."""
    job, _ = Job.objects.get_or_create(name=name)
    begin = {**anew(), "hinted_at": timezone.now(), "requested_by": by}
    Job.objects.filter(pk=job.pk).exclude(state=State.RUNNING).update(**begin)
    events.record(None, Event.Kind.REQUESTED, by, f"asks for {name}")
    hint(Job, job.pk)
    return job


def ran_before(name: str) -> bool:
    """Whether a job has finished at least once in the life of this database."""
    return Job.objects.filter(name=name, last_finished_at__isnull=False).exists()


def last_result(name: str) -> dict[str, Any]:
    """What a job gave when it last finished, or said while it goes on; empty before that."""
    return Job.objects.filter(name=name).values_list("result", flat=True).first() or {}


def run(pk: int) -> None:
    """Run a job that is due."""
    job: Job | None = Job.queue.claim(pk)
    if job is None:
        return
    work = REGISTRY.get(job.name)
    if work is None:
        job.fail(f"no job is called {job.name}", permanent=True)
        return
    with working(job), tracing.span(f"job {job.name}"):
        try:
            result = work.run(job.renew)
        except Again as again:
            job.postpone(seconds=again.seconds, attempts=0, lost_leases=0, error=clean(again.why))
            return
    now = timezone.now()
    if work.every is None:
        job.finish(result=result, last_finished_at=now)
    else:
        seconds = work.every(result) if callable(work.every) else work.every
        job.put_back(seconds=seconds, result=result, last_finished_at=now)
