"""The server's own rows: its work, whose turn it is, what failed and what was counted; and who comes in."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from incidents.queue import QueueRow


class Role(models.TextChoices):
    """What a token may do. Each includes what `viewer` reads, but `ingest`, which only posts alerts."""

    INGEST = "ingest"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Token(models.Model):
    """An API token. Only its SHA-256 is kept; the token is shown once."""

    name = models.CharField(max_length=100, unique=True)
    role = models.CharField(max_length=8, choices=Role.choices)
    source = models.CharField(max_length=100, default="alertmanager", help_text="Names the sender of alerts")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.role})"

    def matches(self, digest: str) -> bool:
        return self.revoked_at is None and constant_time_compare(self.digest, digest)


class Delivery(models.Model):
    """One request to `/alert`, byte for byte."""

    received_at = models.DateTimeField(default=timezone.now, db_index=True)
    source = models.CharField(max_length=100)
    body = models.BinaryField()
    alerts = models.PositiveIntegerField(help_text="Accepted alerts")
    quarantined = models.JSONField(default=list, help_text="What could not be read: index and reason")

    class Meta:
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"delivery {self.pk} from {self.source}"


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


class Tally(models.Model):
    """What was ever counted of one series, but for the `TallyChange`s that are not folded in yet."""

    series = models.TextField(unique=True, help_text="JSON: a name and the values of its labels")
    amount = models.BigIntegerField(help_text="In the series' own unit, a whole number")

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return self.series


class TallyChange(models.Model):
    """What one transaction added to several series: an insert, so that nobody waits for anybody."""

    amounts = models.TextField(help_text="JSON: a list of (series, amount)")

    def __str__(self) -> str:
        return self.amounts
