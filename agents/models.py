"""What the crew did: runs, steps, tool calls, model calls, actions. Rows are written by `agents` services."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from incidents.models import Incident, Target
from incidents.queue import QueueRow, State


class CrewRun(models.Model):
    """One investigation of an incident. A reopened incident gets another."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField(default=1)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["incident"], condition=Q(finished_at=None), name="one_open_run_per_incident"
            ),
            models.UniqueConstraint(fields=["incident", "number"], name="runs_are_numbered"),
        ]

    def __str__(self) -> str:
        return f"run {self.number} of #{self.incident_id}"


class Step(QueueRow):
    """One agent's turn, or the executor's, or a look of the proof: a row that a worker claims."""

    TASK = "agents.tasks.advance"
    MAX_ATTEMPTS = 4

    class Agent(models.TextChoices):
        MONITOR = "monitor"
        ANALYST = "analyst"
        HEALER = "healer"
        EXECUTOR = "executor"
        PROOF = "proof"
        COMMUNICATOR = "communicator"

    run = models.ForeignKey(CrewRun, models.CASCADE, related_name="steps")
    agent = models.CharField(max_length=12, choices=Agent.choices)
    number = models.PositiveIntegerField(default=1, help_text="Counts an agent's steps in its run")
    focus = models.ForeignKey(
        Target, models.SET_NULL, null=True, help_text="Which of the incident's targets it is about"
    )
    asked_by = models.CharField(
        max_length=150, blank=True, default="", help_text="Who wanted the Healer to ask again"
    )
    rung = models.CharField(
        max_length=12, blank=True, default="", help_text="Who reasoned: model, fallback or playbooks"
    )
    rung_reason = models.CharField(max_length=300, blank=True, default="", help_text="Why not a rung higher")
    output = models.JSONField(
        null=True, help_text="The agent's typed answer; the proof's observations so far"
    )
    brief = models.JSONField(
        null=True, editable=False, help_text="The case, the findings and the tools that the agent was given"
    )
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Step]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "agent", "number"], name="steps_are_numbered"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="due_steps"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} {self.number} of run {self.run_id}"


class ToolCall(models.Model):
    """One reading of the world. `output` is whole and redacted; agents saw at most `shown` characters."""

    step = models.ForeignKey(Step, models.CASCADE, related_name="tool_calls")
    attempt = models.PositiveIntegerField(default=1)
    call_id = models.CharField(max_length=80)
    tool = models.CharField(max_length=60)
    arguments = models.JSONField(default=dict)
    output = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict)
    shown = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.tool} ({self.call_id})"


class ModelCall(models.Model):
    """One request to a model, as it was sent and answered. `cost_usd` is null while the price is unknown.

    It belongs to a step, or to a replay of one: that is no part of the incident's record, but costs, too.
    The row is there before the request is sent. One of a worker that died stays without `seconds`, and with
    what it may have cost: a call that may have been made counts.
    """

    step = models.ForeignKey(Step, models.CASCADE, null=True, related_name="model_calls")
    replay_of = models.ForeignKey(Step, models.CASCADE, null=True, related_name="replayed_calls")
    attempt = models.PositiveIntegerField(default=1)
    model = models.CharField(max_length=120)
    endpoint = models.CharField(max_length=200)
    prompts = models.CharField(max_length=12, blank=True, default="", help_text="Version of the prompt files")
    request = models.JSONField()
    response = models.JSONField(null=True)
    input_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    reasoning_tokens = models.PositiveIntegerField(null=True, help_text="A part of the output tokens")
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    reserved_usd = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, help_text="The most it may cost, until that is known"
    )
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(null=True, help_text="Empty while it is under way")

    class Meta:
        ordering = ["id"]
        indexes = [
            # All that a budget needs: the rows themselves are long.
            models.Index(fields=["started_at", "cost_usd", "reserved_usd", "seconds"], name="spent_since"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(step=None, replay_of__isnull=False) | Q(step__isnull=False, replay_of=None),
                name="a_model_call_is_of_a_step_or_of_a_replay",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} for step {self.step_id or self.replay_of_id}"


class Breaker(models.Model):
    """A model's server that failed lately. Gone when it answers again."""

    key = models.CharField(max_length=40, primary_key=True, help_text="Hash of server, model and key")
    rung = models.CharField(max_length=300, help_text="The model, and where it is")
    failures = models.PositiveIntegerField(default=0, help_text="In a row")
    open_until = models.DateTimeField(null=True, help_text="Nobody asks it before; empty: it may be asked")
    reason = models.CharField(max_length=300, blank=True, default="")

    def __str__(self) -> str:
        return self.rung


class ActionKind(models.TextChoices):
    """Everything that may ever be done to the world."""

    RESTART_CONTAINER = "restart_container", "restart container"


class ActionQuerySet(models.QuerySet["Action"]):
    def changes(self) -> ActionQuerySet:
        """Actions that were begun: they count against every limit, whatever became of them."""
        return self.filter(executing_at__isnull=False)

    def outcomes(self) -> ActionQuerySet:
        """Actions of which the proof said whether they helped, the latest first."""
        return self.changes().filter(helped__isnull=False).order_by("-executing_at")


class Action(models.Model):
    """One change to the world, proposed, decided, and at most once executed."""

    class Status(models.TextChoices):
        PROPOSED = "proposed"
        AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
        APPROVED = "approved"
        REJECTED = "rejected"
        EXPIRED = "expired"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"
        EXECUTING = "executing"
        DONE = "done"
        FAILED = "failed"
        UNKNOWN = "unknown", "unknown (reconcile by hand)"

    OPEN = (Status.PROPOSED, Status.AWAITING_APPROVAL, Status.APPROVED, Status.EXECUTING)

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="actions")
    step = models.ForeignKey(Step, models.CASCADE, related_name="actions", help_text="The Healer's")
    kind = models.CharField(max_length=30, choices=ActionKind.choices)
    target = models.ForeignKey(Target, models.PROTECT, related_name="actions")
    host = models.CharField(max_length=100)
    arguments = models.JSONField(default=dict)
    reason = models.TextField()
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PROPOSED, editable=False)
    digest = models.CharField(
        max_length=64, help_text="Hash of kind, arguments and target state: what is approved"
    )
    target_state = models.JSONField(default=dict, help_text="Identity, image and status class when proposed")
    decision = models.JSONField(default=list, help_text="What authorize() said, code and text of each reason")
    proposed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True, default="")
    by_person = models.BooleanField(
        default=False, editable=False, help_text="A person decided; not told by the name, which may be any"
    )
    executing_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    result = models.TextField(blank=True, default="")
    helped = models.BooleanField(null=True, help_text="What the proof said; unknown until then")

    objects = ActionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["host"], condition=Q(status="executing"), name="one_change_in_flight_per_host"
            ),
            models.UniqueConstraint(
                fields=["incident", "target"],
                condition=Q(status__in=("proposed", "awaiting_approval", "approved", "executing")),
                name="one_open_action_per_target",
            ),
            models.UniqueConstraint(fields=["step"], name="one_action_per_healer_step"),
        ]
        indexes = [models.Index(fields=["target", "-executing_at"], name="changes_of_target")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.target.key}"


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


class Guard(models.Model):
    """Rows that are locked to count against limits, so that one worker at a time does."""

    EXECUTIONS = 1
    MONEY = 2

    def __str__(self) -> str:
        return "guard"

    @classmethod
    def lock(cls, which: int) -> None:
        """Until the transaction ends."""
        cls.objects.select_for_update().get_or_create(pk=which)


__all__ = [
    "Action",
    "ActionKind",
    "Breaker",
    "CrewRun",
    "Guard",
    "ModelCall",
    "Pause",
    "State",
    "Step",
    "ToolCall",
]
