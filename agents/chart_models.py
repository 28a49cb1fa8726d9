"""The points of an incident's plot, kept for when Prometheus has forgotten them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from incidents.models import Incident
from incidents.queue import QueueRow


class Chart(QueueRow):
    """What an alert's expression was around a closed incident; read once, some time after its end."""

    TASK = "agents.tasks.keep_chart"

    incident = models.OneToOneField(Incident, models.CASCADE, related_name="chart")
    points = models.JSONField(null=True, help_text="Empty: not read yet, or `error` says why there are none")
    read_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Chart]] = models.Manager()

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="due_charts"),
            models.Index(fields=["state"], condition=Q(state="dead"), name="dead_charts"),
        ]

    def __str__(self) -> str:
        return f"chart of #{self.incident_id}"
