"""What people let the crew do, and what holds it back: rows beside its work in `agents.models`."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from agents.kinds import ActionKind
from incidents import rawsql


class Autonomy(models.Model):
    """Whether a kind of change for an alert on a kind of target asks first. `agents.ledger` writes it.

    What the changes came to is counted from the actions, since `lowered_at`.
    """

    class Level(models.TextChoices):
        ASKS = "asks"
        ALONE = "alone", "acts alone"

    kind = models.CharField(max_length=30, choices=ActionKind.choices)
    target_kind = models.CharField(max_length=30)
    alert_name = models.CharField(max_length=200)
    level = models.CharField(max_length=5, choices=Level.choices, default=Level.ASKS)
    raised_at = models.DateTimeField(null=True)
    raised_by = models.CharField(max_length=150, blank=True, default="", help_text="The person who said so")
    lowered_at = models.DateTimeField(null=True)
    lowered_why = models.CharField(max_length=300, blank=True, default="")
    offered_at = models.DateTimeField(null=True, help_text="Empty again once it was lowered")
    offered_count = models.PositiveIntegerField(default=0, help_text="How many were verified then")
    declined_at = models.DateTimeField(null=True)
    declined_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        verbose_name_plural = "autonomy"
        constraints = [
            models.UniqueConstraint(fields=["alert_name", "kind", "target_kind"], name="one_row_a_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} for {self.alert_name} ({self.target_kind})"

    @property
    def is_alone(self) -> bool:
        """Whether a person said yes ahead, and nothing took it back."""
        return self.level == self.Level.ALONE

    @property
    def is_lowered(self) -> bool:
        """Whether it asks because of what happened, whatever the mode."""
        return not self.is_alone and self.lowered_at is not None

    @property
    def is_offered(self) -> bool:
        """Whether a person was asked to raise it, and has not answered yet."""
        return (
            not self.is_alone
            and self.offered_at is not None
            and (self.declined_at is None or self.declined_at < self.offered_at)
        )


class Pause(models.Model):
    """No autonomous or approved change in a scope until a time. Scope `*` without an end: the kill switch."""

    EVERYTHING = "*"

    scope = models.CharField(max_length=300, help_text="A target's key, host:NAME, or * for everything")
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until somebody lifts it")
    reason = models.CharField(max_length=300, blank=True, default="")
    by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    lifted_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"pause of {self.scope}"


class MaintenanceWindow(models.Model):
    """A time of the week in which a person works on a scope, and homelab changes nothing there."""

    LONGEST = 24 * 60

    scope = models.CharField(max_length=300, help_text="A target's key, host:NAME, or * for everything")
    days = models.JSONField(default=list, blank=True, help_text="mon to sun; none: every day")
    starts = models.TimeField(help_text="By TZ")
    minutes = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(LONGEST)])
    reason = models.CharField(max_length=300, blank=True, default="")
    by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        days = ", ".join(self.days) or "daily"
        return f"maintenance of {self.scope}, {days} {self.starts:%H:%M} for {self.minutes} min"


class Guard(models.Model):
    """Rows that are locked to count against limits, so that one worker at a time does."""

    EXECUTIONS = 1
    MONEY = 2

    def __str__(self) -> str:
        return "guard"

    @classmethod
    def lock(cls, which: int) -> None:
        """Until the transaction ends."""
        if not rawsql.fetch(cls, "id = {}", which, lock=True):
            cls.objects.select_for_update().get_or_create(pk=which)
