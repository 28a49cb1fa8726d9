"""Embeds everything anew and rebuilds the index from the database."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet

from incidents import memory
from incidents.models import Job, MemoryEntry
from incidents.queue import State, anew

JOB = "rebuild_memory"
REPORT_EVERY = 100


class Command(BaseCommand):
    help = "Rebuilds the memory's index from the database."

    def handle(self, **options: Any) -> None:
        if settings.QDRANT_URL:
            self._rebuild()
        else:
            self._request()

    def _rebuild(self) -> None:
        try:
            embedded = memory.rebuild(self._progress)
        except (memory.MemoryUnavailable, memory.EmbeddingError) as error:
            raise CommandError(str(error)) from error
        waiting = MemoryEntry.queue.exclude(state=State.DONE).count()
        self.stdout.write(f"{embedded} entries embedded and written to Qdrant, {waiting} wait")
        if waiting:
            raise CommandError("Not everything could be embedded; the running server tries again.")

    def _progress(self, done: int, total: int) -> None:
        if done % REPORT_EVERY == 0 or done == total:
            self.stdout.write(f"{done} of {total}")

    @transaction.atomic
    def _request(self) -> None:
        """The index lives inside the server's process; only that process can rebuild it."""
        jobs: QuerySet[Job] = QuerySet(Job)
        job, _ = jobs.select_for_update().get_or_create(name=JOB)
        if job.state == State.RUNNING:
            self.stdout.write("The server is rebuilding the memory already.")
            return
        for name, value in anew().items():
            setattr(job, name, value)
        job.requested_by = "manage.py"
        job.save()
        total = MemoryEntry.queue.count()
        self.stdout.write(
            f"Requested: the index is inside the server's process, which will embed {total} entries anew. "
            "If no server runs, it will when it starts."
        )
