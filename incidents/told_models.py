"""What happened, and what people are told of it: rows beside the records in `incidents.models`."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.queue import QueueRow


class Event(models.Model):
    """What happened, who did it, when. Append-only: timeline, audit and refusals in one."""

    class Kind(models.TextChoices):
        OPENED = "opened"
        JOINED = "joined"
        RESOLVED_BY_SENDER = "resolved_by_sender"
        CONTESTED = "contested"
        REOPENED = "reopened"
        STATUS = "status"
        AGENT = "agent"
        PROPOSED = "proposed"
        ALLOWED = "allowed"
        ASKED = "asked"
        REFUSED = "refused"
        APPROVED = "approved"
        REJECTED = "rejected"
        EXPIRED = "expired"
        EXECUTING = "executing"
        EXECUTED = "executed"
        PROOF = "proof"
        CLOSED = "closed"
        ANNOTATED = "annotated"
        ACKNOWLEDGED = "acknowledged"
        TAKEN_OVER = "taken_over"
        GIVEN_BACK = "given_back"
        RATED = "rated"
        NOTED = "noted"
        ESCALATED = "escalated"
        INVESTIGATE = "investigate", "investigate again"
        NOTIFIED = "notified"
        PAUSED = "paused"
        RESUMED = "resumed"
        AUTONOMY = "autonomy"
        RECURRED = "recurred"
        PROBLEM = "problem"
        TOKEN = "token"  # noqa: S105 the name of an event
        ACCOUNT = "account"
        LOGIN = "login"
        REQUESTED = "requested"
        RETRIED = "retried"
        GIVEN_UP = "given_up"

    incident = models.ForeignKey("incidents.Incident", models.CASCADE, null=True, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    actor = models.CharField(max_length=150, help_text="An agent, a person, a sender of alerts")
    text = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["kind", "-at"], name="events_by_kind")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text[:80]}"


class Notification(QueueRow):
    """One message to one channel, marked sent after it was sent."""

    TASK = "incidents.tasks.deliver_notification"
    MAX_ATTEMPTS = 1500  # a chat that is away for a day is told everything afterwards

    class Kind(models.TextChoices):
        OPENED = "opened", "critical opened"
        DECISION = "decision", "decision needed"
        ENDED = "ended"
        UPDATE = "update"
        ESCALATION = "escalation", "nobody answered"
        DIGEST = "digest", "what quiet hours held"
        CALL = "call", "a person calls for help"

    incident = models.ForeignKey(
        "incidents.Incident", models.CASCADE, null=True, related_name="notifications"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    dedup_key = models.CharField(
        max_length=120, unique=True, help_text="One message per transition and channel"
    )
    channel = models.CharField(max_length=60, help_text="Scheme and place in its setting; never the URL")
    title = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    held_until = models.DateTimeField(null=True, help_text="It came in quiet hours, which last until then")
    carrier = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        related_name="carried",
        db_index=False,
        help_text="The message that told it along, as a digest does",
    )

    objects: ClassVar[models.Manager[Notification]] = models.Manager()

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="unsent"),
            models.Index(fields=["state"], condition=Q(state="dead"), name="dead_messages"),
            models.Index(fields=["carrier"], condition=Q(carrier__isnull=False), name="carried"),
        ]

    def __str__(self) -> str:
        return self.title
