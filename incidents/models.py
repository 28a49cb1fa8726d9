"""The records. Rows are written by `incidents.services` and its neighbours only, never by a view."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from incidents.alertmanager import title_of
from incidents.literal import Literal
from incidents.memory_models import MemoryEntry, Problem
from incidents.server_models import Delivery, FailureCounter, Job, Role, Tally, TallyChange, Token, Turn
from incidents.severity import SEVERITIES
from incidents.told_models import Event, Notification


class Target(models.Model):
    """The inventory: a thing that alerts are about. One spelling everywhere, `docker:host/name`."""

    key = models.CharField(max_length=300, unique=True)
    kind = models.CharField(max_length=30)
    host = models.CharField(max_length=100)
    name = models.CharField(max_length=200, db_index=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="children")
    facts = models.JSONField(default=dict, help_text="As the integration last described it")
    first_seen_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(default=timezone.now)
    gone_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.key


class Verdict(models.TextChoices):
    """How an incident ended. No verdict: it is still worked on."""

    VERIFIED = "verified"
    CLEARED_BEFORE_ACTION = "cleared_before_action"
    RESOLVED_BY_HUMAN = "resolved_by_human"
    NOT_FIXED = "not_fixed"
    RELAPSED = "relapsed"
    UNKNOWN = "unknown"
    FALSE_ALARM = "false_alarm"


RESOLUTION_STATUS: dict[str | None, str] = {
    None: "in_progress",
    Verdict.VERIFIED: "resolved",
    Verdict.CLEARED_BEFORE_ACTION: "resolved",
    Verdict.RESOLVED_BY_HUMAN: "resolved",
    Verdict.NOT_FIXED: "escalated",
    Verdict.RELAPSED: "escalated",
    Verdict.UNKNOWN: "attempted",
    Verdict.FALSE_ALARM: "resolved",
}


class Rating(models.TextChoices):
    """What a person says of the crew's cause."""

    RIGHT = "right", "right"
    PARTLY = "partly", "partly right"
    WRONG = "wrong", "wrong"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def unresolved(self) -> Self:
        return self.exclude(status=Literal("closed"))

    def closed(self) -> Self:
        return self.filter(status=Literal("closed"))

    def with_systems(self) -> Self:
        """Ready for `affected_systems` without a query a row."""
        return self.select_related("target").prefetch_related("episodes__target")

    def newest_first(self) -> Self:
        return self.order_by("-id")


class Incident(models.Model):
    """One trouble, from its first alert to its verdict."""

    class Status(models.TextChoices):
        NEW = "new"
        INVESTIGATING = "investigating"
        AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
        ACTING = "acting"
        PROVING = "proving", "watching the expression"
        CLOSED = "closed"

    # Every change of status goes through `services.transition`, which swaps along these edges only.
    TRANSITIONS: ClassVar[dict[str, frozenset[str]]] = {
        Status.NEW: frozenset({Status.INVESTIGATING, Status.CLOSED}),
        Status.INVESTIGATING: frozenset(
            {Status.AWAITING_APPROVAL, Status.ACTING, Status.PROVING, Status.CLOSED}
        ),
        Status.AWAITING_APPROVAL: frozenset(
            {Status.AWAITING_APPROVAL, Status.ACTING, Status.PROVING, Status.CLOSED}
        ),
        Status.ACTING: frozenset({Status.AWAITING_APPROVAL, Status.PROVING, Status.CLOSED}),
        Status.PROVING: frozenset(
            {Status.INVESTIGATING, Status.AWAITING_APPROVAL, Status.ACTING, Status.CLOSED}
        ),
        Status.CLOSED: frozenset({Status.NEW}),
    }
    WAITING_FOR: ClassVar[dict[str, str]] = {Status.AWAITING_APPROVAL: "approval", Status.PROVING: "proof"}

    status = models.CharField(max_length=20, choices=Status.choices, default=Status.NEW, editable=False)
    verdict = models.CharField(  # noqa: DJ001 no verdict is null, not ""
        max_length=24, choices=Verdict.choices, null=True, blank=True, editable=False
    )
    source = models.CharField(max_length=100, editable=False)
    alert_name = models.CharField(max_length=200, editable=False)
    description = models.TextField(editable=False)
    severity = models.CharField(max_length=60, editable=False, help_text="As it was sent")
    severity_class = models.CharField(max_length=8, editable=False)
    target = models.ForeignKey(Target, models.SET_NULL, null=True, blank=True, editable=False, db_index=False)
    previous = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False, help_text="The last of its kind"
    )
    started_at = models.DateTimeField(editable=False, help_text="When the first alert started")
    opened_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False, help_text="When the last of its alerts ended")
    resolution_seconds = models.FloatField(
        null=True, editable=False, help_text="From the start of the alert to the clearing that was proved"
    )
    reopened = models.PositiveIntegerField(default=0, editable=False)
    joins = models.PositiveIntegerField(
        default=0, editable=False, help_text="Counts alerts that came after the first"
    )
    adopted = models.BooleanField(
        default=False,
        editable=False,
        help_text="Fired already when we first looked: diagnosed, never acted on",
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True, editable=False)
    acknowledged_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    taken_over_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since then a person has it, the crew only watches"
    )
    taken_over_by = models.CharField(max_length=150, blank=True, default="", editable=False)

    root_cause = models.TextField(null=True, editable=False)  # noqa: DJ001 unknown is null, not ""
    certainty = models.CharField(max_length=12, blank=True, default="", editable=False)
    remediation_taken = models.TextField(null=True, editable=False)  # noqa: DJ001
    rung = models.CharField(max_length=12, blank=True, default="", editable=False)
    proof_note = models.TextField(blank=True, default="", editable=False)

    request_id = models.CharField(  # noqa: DJ001 unknown is null, not ""
        max_length=128, null=True, editable=False, help_text="X-Request-ID of the delivery that opened it"
    )
    traceparent = models.CharField(  # noqa: DJ001
        max_length=55,
        null=True,
        editable=False,
        help_text="The span that opened it, as W3C writes it; null: it was not traced",
    )

    human_cause = models.TextField("cause, as a person sees it", blank=True, default="")
    human_note = models.TextField("note", blank=True, default="")
    annotated_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    annotated_at = models.DateTimeField(null=True, editable=False)
    rating = models.CharField(  # noqa: DJ001 not rated is null, not ""
        max_length=8,
        choices=Rating.choices,
        null=True,
        blank=True,
        editable=False,
        help_text="A person's word on the crew's cause as it stands",
    )
    rated_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    rated_at = models.DateTimeField(null=True, editable=False)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="closed", verdict__isnull=False, closed_at__isnull=False)
                | (~Q(status="closed") & Q(verdict=None, closed_at=None)),
                name="a_verdict_exactly_when_closed",
            ),
        ]
        indexes = [
            models.Index(fields=["opened_at"], name="incidents_by_time"),
            # Each filter of a list has the newest first: a rare value among a million is found at once.
            models.Index(fields=["verdict", "id"], name="incidents_by_verdict"),
            models.Index(fields=["severity_class", "id"], name="incidents_by_severity"),
            models.Index(fields=["source", "id"], name="incidents_by_source"),
            models.Index(fields=["alert_name", "id"], name="incidents_by_alert"),
            models.Index(fields=["target", "id"], name="incidents_by_target"),
            models.Index(fields=["status"], condition=~Q(status="closed"), name="open_incidents"),
            models.Index(fields=["target"], condition=~Q(status="closed"), name="open_by_target"),
            models.Index(
                fields=["alert_name", "-closed_at"], condition=Q(status="closed"), name="closed_by_alert"
            ),
            # All that is summed over a time: the rows themselves are long.
            models.Index(
                fields=["closed_at", "verdict", "alert_name", "source", "resolution_seconds"],
                condition=Q(closed_at__isnull=False),
                name="ended_incidents",
            ),
            models.Index(fields=["closed_at"], condition=Q(rating="wrong"), name="rated_wrong"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.alert_name}"

    @property
    def resolution_status(self) -> str:
        return RESOLUTION_STATUS[self.verdict]

    @property
    def cause(self) -> str | None:
        """As far as it is known: a person's, else the crew's, unless a person said that it is not right."""
        return self.human_cause or (None if self.is_denied else self.root_cause)

    @property
    def is_denied(self) -> bool:
        """A person said that the crew's cause is wrong, or only a part of it."""
        return self.rating in (Rating.WRONG, Rating.PARTLY)

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits; None when it was not traced, or was left out by the sampler."""
        if self.traceparent is None or not int(self.traceparent[-2:], 16) & 1:
            return None
        return self.traceparent[3:35]

    @property
    def waiting_for(self) -> str | None:
        return self.WAITING_FOR.get(self.status)

    @property
    def affected_systems(self) -> list[str]:
        """Target keys, else instances, of its alerts; read from prefetched episodes where there are some."""
        found = [episode.system for episode in self.episodes.all()]
        return sorted({system for system in found if system})


class EpisodeQuerySet(models.QuerySet["Episode"]):
    def firing(self) -> Self:
        return self.filter(ends_at=None)

    def contested(self) -> Self:
        return self.filter(contested_at__isnull=False)

    def to_ask(self, asked_before: datetime) -> Self:
        """Contested ones that nobody has begun to ask about since a moment."""
        unasked = Q(asked_at=None) | Q(asked_at__lt=F("contested_at")) | Q(asked_at__lt=asked_before)
        return self.contested().filter(unasked)


class Episode(models.Model):
    """One alert from its firing to its end: the open row for (source, fingerprint)."""

    source = models.CharField(max_length=100)
    fingerprint = models.CharField(max_length=64)
    alert_name = models.CharField(max_length=200)
    severity = models.CharField(max_length=60, blank=True)
    labels = models.JSONField()
    annotations = models.JSONField(default=dict)
    generator_url = models.TextField(blank=True)
    condition = models.JSONField(
        null=True, blank=True, help_text="For what our own health check found: the state that ends it"
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    contested_at = models.DateTimeField(
        null=True, help_text="Fired again at or before its own end, or on after a verdict"
    )
    asked_at = models.DateTimeField(
        null=True, help_text="When somebody last began to ask whether it is active, since it was contested"
    )
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    polled = models.BooleanField(default=False, help_text="Found in Alertmanager's list before any delivery")
    listed_at = models.DateTimeField(null=True, help_text="When Alertmanager's list last had it")
    incident = models.ForeignKey(Incident, models.CASCADE, null=True, related_name="episodes")
    target = models.ForeignKey(Target, models.SET_NULL, null=True)

    objects = EpisodeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "fingerprint"],
                condition=Q(ends_at=None),
                name="one_open_episode_per_alert",
            ),
        ]
        indexes = [
            models.Index(fields=["source", "fingerprint", "-id"], name="episodes_of_alert"),
            models.Index(
                fields=["contested_at"], condition=Q(contested_at__isnull=False), name="contested_episodes"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.fingerprint}"

    @property
    def title(self) -> str:
        """Its name without secrets; `alert_name` is kept as it was sent, for it is looked up by."""
        return title_of(self.labels)

    @property
    def system(self) -> str | None:
        if self.target_id is not None and self.target is not None:
            return self.target.key
        instance = self.labels.get("instance") or self.labels.get("host")
        return str(instance) if instance else None


class GroupKey(models.Model):
    """Which open incident an Alertmanager group belongs to."""

    source = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the group key, which may be long")
    group_key = models.TextField()
    incident = models.ForeignKey(Incident, models.CASCADE, related_name="group_keys")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "digest"],
                condition=Q(ended_at=None),
                name="one_open_incident_per_group",
            ),
        ]

    def __str__(self) -> str:
        return self.group_key


__all__ = [
    "RESOLUTION_STATUS",
    "SEVERITIES",
    "Delivery",
    "Episode",
    "EpisodeQuerySet",
    "Event",
    "FailureCounter",
    "GroupKey",
    "Incident",
    "IncidentQuerySet",
    "Job",
    "MemoryEntry",
    "Notification",
    "Problem",
    "Rating",
    "Role",
    "Tally",
    "TallyChange",
    "Target",
    "Token",
    "Turn",
    "Verdict",
]
