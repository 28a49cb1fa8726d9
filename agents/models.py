"""What the crew did: runs, steps, tool calls, model calls, actions. Rows are written by `agents` services."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.brake_models import Autonomy, Guard, MaintenanceWindow, Pause
from agents.chart_models import Chart
from agents.kinds import MENDING, ActionKind
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
    BEGUN = "started_at"

    class Agent(models.TextChoices):
        MONITOR = "monitor"
        ANALYST = "analyst"
        HEALER = "healer"
        EXECUTOR = "executor"
        PROOF = "proof"
        COMMUNICATOR = "communicator"
        POSTMORTEM = "postmortem"

    run = models.ForeignKey(CrewRun, models.CASCADE, related_name="steps")
    agent = models.CharField(max_length=12, choices=Agent.choices)
    number = models.PositiveIntegerField(default=1, help_text="Counts an agent's steps in its run")
    focus = models.ForeignKey(
        Target, models.SET_NULL, null=True, help_text="Which of the incident's targets it is about"
    )
    asked_by = models.CharField(
        max_length=150, blank=True, default="", help_text="Who wanted the Healer to ask again"
    )
    waits_since = models.DateTimeField(
        null=True, help_text="Since when the Healer waits for the alert to heal itself"
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
    turn_began: float | None = None  # time.monotonic() of the claim; kept by who claimed it alone

    objects: ClassVar[models.Manager[Step]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "agent", "number"], name="steps_are_numbered"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=("waiting", "running")), name="due_steps"),
            models.Index(fields=["state"], condition=Q(state="dead"), name="dead_steps"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} {self.number} of run {self.run_id}"

    @property
    def incident(self) -> Incident:
        return self.run.incident


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
            models.Index(
                fields=["started_at"], condition=Q(reserved_usd__isnull=False), name="reserved_since"
            ),
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


class Rejection(models.TextChoices):
    """Why a person says no to a proposal."""

    WRONG_TARGET = "wrong_target"
    WRONG_CAUSE = "wrong_cause"
    MINE = "mine", "I do it myself"


class ActionQuerySet(models.QuerySet["Action"]):
    def changes(self) -> ActionQuerySet:
        """Actions that were begun: they count against every limit, whatever became of them."""
        return self.filter(executing_at__isnull=False)

    def repairs(self) -> ActionQuerySet:
        """Those of them that may have mended something: what follows may be their merit or their fault."""
        return self.changes().filter(kind__in=MENDING)

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
    alert_name = models.CharField(
        max_length=200, blank=True, default="", help_text="The target's alert that it answers"
    )
    host = models.CharField(max_length=100)
    arguments = models.JSONField(default=dict)
    reason = models.TextField()
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PROPOSED, editable=False)
    digest = models.CharField(
        max_length=64, help_text="Hash of kind, arguments and target state: what is approved"
    )
    touches = models.TextField(
        blank=True, default="", help_text="What it would touch, as the world showed when it was proposed"
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
    rejected_as = models.CharField(
        max_length=12, choices=Rejection.choices, blank=True, default="", help_text="Why a person said no"
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
        indexes = [
            models.Index(fields=["target", "-executing_at"], name="changes_of_target"),
            models.Index(fields=["alert_name", "kind", "-executing_at"], name="changes_for_alert"),
            models.Index(
                fields=["incident"], condition=Q(by_person=True, helped=True), name="approved_and_helped"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.target.key}"

    @property
    def is_asked(self) -> bool:
        """Whether a person's answer is waited for, and would be in time."""
        late = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.status == self.Status.AWAITING_APPROVAL and not late

    @property
    def may_have_helped(self) -> bool:
        """Whether what cleared since may be its merit: it was done, and its fault was there when it began.

        Where nobody saw the fault then, and the sender had ended the target's alerts before, it was not.
        """
        if self.status != self.Status.DONE or self.executing_at is None:
            return False
        if self.target_state.get("fault", "firing") == "firing":
            return True
        alerts = self.incident.episodes.filter(target=self.target_id, starts_at__lte=self.executing_at)
        return alerts.filter(Q(ends_at=None) | Q(ends_at__gt=self.executing_at)).exists()


__all__ = [
    "Action",
    "ActionKind",
    "Autonomy",
    "Breaker",
    "Chart",
    "CrewRun",
    "Guard",
    "MaintenanceWindow",
    "ModelCall",
    "Pause",
    "Rejection",
    "State",
    "Step",
    "ToolCall",
]
