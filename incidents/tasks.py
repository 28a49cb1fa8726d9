"""Celery tasks of the records: each takes a row's primary key and claims it; a lost message is repeated."""

from __future__ import annotations

from celery import shared_task

from incidents import jobs, memory, notifications, turns
from incidents.models import Job, MemoryEntry, Notification
from incidents.queue import sweep


@shared_task
def deliver_notification(pk: int) -> None:
    notifications.deliver(pk)


@shared_task
def sync_memory(pk: int) -> None:
    memory.sync(pk)


@shared_task
def run_job(pk: int) -> None:
    jobs.run(pk)


@shared_task
def sweep_records() -> None:
    """Repeat the hints of rows that wait."""
    if not turns.take_sweep("sweep_records"):
        return
    for model in (Notification, MemoryEntry, Job):
        sweep(model)
