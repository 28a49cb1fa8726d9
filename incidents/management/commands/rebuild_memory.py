"""Embeds everything anew and rebuilds the index from the database."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from incidents import jobs, memory
from incidents.memory.renewal import request
from incidents.models import Job, MemoryEntry
from incidents.queue import State

LOOK_SECONDS = 0.5
TAKEN_WITHIN_SECONDS = 20.0  # by a server that runs
SILENT_SECONDS = 600.0
REQUESTED = "Requested: the server embeds everything anew; if none runs, it will when it starts."


class Command(BaseCommand):
    help = (
        "Embeds everything anew and rebuilds the memory's index from the database, while the old one is "
        "searched. What was begun and not ended goes on where it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-wait", action="store_true", help="leave it to the server, and end")

    def handle(self, *, no_wait: bool = False, **options: Any) -> None:
        job = request("manage.py")
        if no_wait:
            self.stdout.write(REQUESTED)
            return
        try:
            # The index is inside the server's process, or on a server that any process can fill.
            ended = self._follow(job, jobs.run if settings.QDRANT_URL else None)
        except KeyboardInterrupt:
            self.stdout.write("The rebuild goes on in the server.")
        except (memory.MemoryUnavailable, memory.EmbeddingError) as error:
            raise CommandError(str(error)) from error
        else:
            if ended is not None:
                self._report(ended)

    def _follow(self, requested: Job, run: Callable[[int], None] | None) -> Job | None:
        """The job when it has ended; None when nobody took it up."""
        told: tuple[Any, ...] = (None, "")
        heard = time.monotonic()
        while True:
            if run is not None:
                run(requested.pk)  # a slice of it; nothing when a worker has it, or it has to wait
            job = Job.objects.get(pk=requested.pk)
            if job.state in (State.DONE, State.DEAD):
                return job
            if (job.result, job.error) != told:
                told, heard = (job.result, job.error), time.monotonic()
                self._tell(job)
            silent = time.monotonic() - heard
            if job.fence == requested.fence and silent > TAKEN_WITHIN_SECONDS:
                self.stdout.write(REQUESTED)
                return None
            if silent > SILENT_SECONDS:
                raise CommandError(f"Nothing was heard of it for {SILENT_SECONDS:g} s; it goes on by itself.")
            time.sleep(LOOK_SECONDS)

    def _tell(self, job: Job) -> None:
        if job.error:
            self.stdout.write(f"It waits: {job.error}")
        elif job.result and job.result.get("going_on"):
            self.stdout.write(f"{job.result['done']} of {job.result['total']}")

    def _report(self, job: Job) -> None:
        if job.state == State.DEAD or job.result is None:
            raise CommandError(job.error)
        waiting = MemoryEntry.queue.exclude(state=State.DONE).count()
        self.stdout.write(f"{job.result['embedded']} entries embedded and indexed, {waiting} wait")
        if job.result["failed"] or waiting:
            raise CommandError("Not everything could be embedded; the running server tries again.")
