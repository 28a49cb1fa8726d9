"""What is remembered, and what comes back: rows beside the records in `incidents.models`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.queue import QueueRow


class MemoryEntry(QueueRow):
    """Something remembered: an incident, one taken over from another memory, a part of a runbook. The
    database is the truth; the index is made of it."""

    TASK = "incidents.tasks.sync_memory"
    LONGEST_SIGNATURE = 300
    MAX_ATTEMPTS = 10_000  # an index that is away comes back, be it after a week; the row waits for it

    class Kind(models.TextChoices):
        INCIDENT = "incident"
        IMPORTED = "imported", "incident of another memory"
        RUNBOOK = "runbook"

    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.INCIDENT)
    key = models.CharField(
        max_length=300, unique=True, help_text="incident:ID, or where it came from and its id there"
    )
    incident = models.OneToOneField(
        "incidents.Incident", models.CASCADE, null=True, blank=True, related_name="memory"
    )
    title = models.CharField(max_length=300, help_text="The alert's name, or the runbook's heading")
    happened_at = models.DateTimeField(null=True, help_text="When it ended, else when it began")
    signature = models.CharField(
        max_length=LONGEST_SIGNATURE,
        blank=True,
        default="",
        help_text="Alert and target: the same for the same trouble",
    )
    text = models.TextField()
    payload = models.JSONField(default=dict)
    content_hash = models.CharField(max_length=64)
    model = models.CharField(max_length=120, blank=True, default="")
    vector = models.BinaryField(null=True, help_text="float32, little endian, of unit length")
    next_model = models.CharField(
        max_length=120, blank=True, default="", help_text="The model that is about to replace `model`"
    )
    next_vector = models.BinaryField(null=True)
    synced_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager[MemoryEntry]] = models.Manager()

    class Meta:
        verbose_name_plural = "memory entries"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="incident", incident__isnull=False)
                | (~Q(kind="incident") & Q(incident__isnull=True)),
                name="an_incident_exactly_when_of_that_kind",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="unsynced"),
            models.Index(fields=["state"], condition=Q(state="dead"), name="dead_memory"),
            models.Index(fields=["title", "-happened_at"], name="memory_by_title"),
            models.Index(fields=["updated_at"], name="memory_by_change"),
            models.Index(fields=["kind"], condition=~Q(kind="incident"), name="memory_of_others"),
            models.Index(fields=["signature", "-happened_at"], name="memory_by_signature"),
        ]

    def __str__(self) -> str:
        return f"memory of #{self.incident_id}" if self.incident_id else f"memory of {self.key}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """An incident's entry has the incident's key."""
        if self.incident_id is not None and not self.key:
            self.key = self.key_of(self.incident_id)
        super().save(*args, **kwargs)

    @staticmethod
    def key_of(incident_id: int) -> str:
        return f"incident:{incident_id}"


class Problem(models.Model):
    """A trouble that comes back: one row for a signature, raised by `incidents.problems`. While `closed_at`
    is null it is open, and further incidents of its signature join it."""

    OPEN = "open"
    STATUSES = (OPEN, "closed")

    signature = models.CharField(max_length=300, unique=True)
    title = models.CharField(max_length=300, help_text="The alert's name")
    target = models.ForeignKey("incidents.Target", models.SET_NULL, null=True, blank=True)
    incidents = models.ManyToManyField("incidents.Incident", related_name="problems")
    opened_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(help_text="When the last of its incidents ended")
    reopened = models.PositiveIntegerField(default=0)
    proposal = models.TextField("what may end it for good", blank=True, default="")
    proposal_by = models.CharField(
        max_length=150, blank=True, default="", help_text="Who wrote it; empty: rules, from what is known"
    )
    note = models.TextField(blank=True, default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        indexes = [
            models.Index(fields=["-last_seen_at"], condition=Q(closed_at=None), name="open_problems"),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.target}" if self.target else self.title

    @property
    def status(self) -> str:
        return self.STATUSES[self.closed_at is not None]
