"""The server's own rows: its work, whose turn it is, and what failed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from incidents.queue import QueueRow


class Job(QueueRow):
    """Recurring and requested work of the server itself: a due row per name."""

    TASK = "incidents.tasks.run_job"
    MAX_ATTEMPTS = 1_000_000  # a recurring check that fails is tried again as long as the server runs

    name = models.CharField(max_length=60, unique=True)
    requested_by = models.CharField(max_length=150, blank=True, default="")
    last_finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)

    objects: ClassVar[models.Manager[Job]] = models.Manager()

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="due_jobs")
        ]

    def __str__(self) -> str:
        return self.name


class FailureCounter(models.Model):
    """Failed logins or tokens of the addresses that share it, as one moment (`incidents/throttle.py`)."""

    key = models.CharField(max_length=20, primary_key=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


class Turn(models.Model):
    """Until when a thing that every process would do is not done again, because one has just done it."""

    name = models.CharField(max_length=60, primary_key=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
