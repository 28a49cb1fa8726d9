"""Celery tasks of the records: each takes a row's primary key and claims it; a lost message is repeated."""

from __future__ import annotations

from celery import Task, shared_task

from incidents import jobs, memory, notifications, problems, tally, turns
from incidents.models import Job, MemoryEntry, Notification
from incidents.queue import sweep


@shared_task
def deliver_notification(pk: int) -> None:
    notifications.deliver(pk)


@shared_task
def sync_memory(pk: int) -> None:
    problems.notice(pk)
    memory.sync(pk)


@shared_task
def run_job(pk: int) -> None:
    jobs.run(pk)


@shared_task(bind=True)
def sweep_records(self: Task[[], None]) -> None:
    """Repeat the hints of rows that wait."""
    turns.heartbeat("worker")
    if not self.request.called_directly:  # a worker that hears nothing from beat sweeps by itself
        turns.heartbeat("beat")
    if not turns.take_sweep("sweep_records"):
        return
    for model in (Notification, MemoryEntry, Job):
        sweep(model)
    tally.fold()
