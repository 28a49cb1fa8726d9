"""The shapes of the crew's work. Tool and model outputs are null for readers below an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.models import (
    Action,
    CrewRun,
    MaintenanceWindow,
    ModelCall,
    Pause,
    Rejection,
    Step,
    ToolCall,
)
from agents.pauses import DAYS, UnknownScope, check_scope
from incidents.api.fields import RecordSerializer, UTCDateTimeField
from incidents.api.queries import MAX_ID, known_incident, known_target


class ToolCallSerializer(RecordSerializer):
    """One reading of the world."""

    operator_fields = ("arguments", "output", "error")
    arguments = serializers.JSONField(read_only=True, allow_null=True)

    class Meta:
        model = ToolCall
        fields = (
            "id",
            "call_id",
            "attempt",
            "tool",
            "arguments",
            "output",
            "shown",
            "error",
            "started_at",
            "seconds",
        )


class ModelCallSerializer(RecordSerializer):
    """One request to a model. `cost_usd` is null while it is unknown; `reserved_usd` counts until then."""

    operator_fields = ("request", "response", "error", "endpoint")
    request = serializers.JSONField(read_only=True, allow_null=True)
    response = serializers.JSONField(read_only=True, allow_null=True)

    class Meta:
        model = ModelCall
        fields = (
            "id",
            "attempt",
            "model",
            "endpoint",
            "prompts",
            "input_tokens",
            "cached_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cost_usd",
            "reserved_usd",
            "error",
            "started_at",
            "seconds",
            "request",
            "response",
        )


class StepSerializer(RecordSerializer):
    """One agent's turn."""

    operator_fields = ("output", "error")
    output = serializers.JSONField(read_only=True, allow_null=True)
    tool_calls = ToolCallSerializer(many=True, read_only=True)
    model_calls = ModelCallSerializer(many=True, read_only=True)

    class Meta:
        model = Step
        fields = (
            "id",
            "agent",
            "number",
            "state",
            "rung",
            "rung_reason",
            "attempts",
            "lost_leases",
            "output",
            "error",
            "created_at",
            "started_at",
            "finished_at",
            "tool_calls",
            "model_calls",
        )


class ShortRunSerializer(RecordSerializer):
    """One investigation of an incident, in short."""

    class Meta:
        model = CrewRun
        fields: tuple[str, ...] = ("id", "incident", "number", "started_at", "finished_at")


class CrewRunSerializer(ShortRunSerializer):
    """One investigation of an incident."""

    whole = True
    steps = StepSerializer(many=True, read_only=True)

    class Meta(ShortRunSerializer.Meta):
        fields = (*ShortRunSerializer.Meta.fields, "steps")


class ActionSerializer(RecordSerializer):
    """One change to the world, and what became of it."""

    operator_fields = ("arguments", "target_state", "result", "touches")
    target = serializers.CharField(source="target.key", read_only=True)
    touches = serializers.CharField(
        read_only=True, allow_null=True, help_text="What it would do, and to what alone: its dry run"
    )
    arguments = serializers.JSONField(read_only=True, allow_null=True)
    target_state = serializers.JSONField(read_only=True, allow_null=True)

    class Meta:
        model = Action
        fields = (
            "id",
            "incident",
            "kind",
            "target",
            "host",
            "arguments",
            "reason",
            "touches",
            "status",
            "digest",
            "target_state",
            "decision",
            "proposed_at",
            "expires_at",
            "decided_at",
            "decided_by",
            "executing_at",
            "finished_at",
            "result",
            "helped",
        )


class RejectionSerializer(serializers.Serializer[Any]):
    """Why not; may be left out. Who does it himself takes the incident over."""

    code = serializers.ChoiceField(choices=Rejection.choices, required=False, allow_blank=True, default="")
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class AskedSerializer(serializers.Serializer[Any]):
    """The Healer looks at it again."""

    detail = serializers.CharField()
    status = serializers.CharField(help_text="The status of the action that was asked about before")


class ActionFilters(serializers.Serializer[Any]):
    """Which actions."""

    status = serializers.ChoiceField(choices=Action.Status.choices, required=False)
    incident = serializers.IntegerField(
        min_value=1, max_value=MAX_ID, required=False, help_text="The id of an incident"
    )
    target = serializers.CharField(required=False, source="target__key", help_text="A target's key")

    def validate_incident(self, number: int) -> int:
        return known_incident(number)

    def validate_target(self, key: str) -> str:
        return known_target(key)


class PauseSerializer(RecordSerializer):
    """No change in a scope until a time, or until somebody lifts it."""

    class Meta:
        model = Pause
        fields = ("id", "scope", "until", "reason", "by", "created_at", "lifted_at")


class NewPauseSerializer(serializers.Serializer[Any]):
    """A pause to be made. Without `until` it holds until it is lifted."""

    scope = serializers.CharField(max_length=300, help_text="A target's key, host:NAME, or * for everything")
    until = UTCDateTimeField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)

    def validate_scope(self, scope: str) -> str:
        try:
            return check_scope(scope)
        except UnknownScope as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_until(self, until: datetime | None) -> datetime | None:
        if until is not None and until <= timezone.now():
            raise serializers.ValidationError("is in the past")
        return until


@extend_schema_field({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"})
class WallClockField(serializers.TimeField):
    """A time of day by TZ, `03:00` or `03:00:00`. (What OpenAPI calls a time has an offset.)"""

    input_formats = ("%H:%M", "%H:%M:%S")  # by itself it would take an offset, and forget it


class WindowSerializer(RecordSerializer):
    """A time of the week in which nothing is changed in a scope."""

    starts = WallClockField(read_only=True, help_text="By TZ")

    class Meta:
        model = MaintenanceWindow
        fields = (
            "id",
            "scope",
            "days",
            "starts",
            "minutes",
            "reason",
            "by",
            "created_at",
            "ended_at",
        )


class NewWindowSerializer(serializers.Serializer[Any]):
    """A maintenance window to be made."""

    scope = serializers.CharField(max_length=300, help_text="A target's key, host:NAME, or * for everything")
    days = serializers.ListField(
        child=serializers.ChoiceField(choices=DAYS), required=False, default=list, help_text="None: every day"
    )
    starts = WallClockField(help_text="By TZ")
    minutes = serializers.IntegerField(min_value=1, max_value=MaintenanceWindow.LONGEST)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)

    validate_scope = NewPauseSerializer.validate_scope


class CostQuery(serializers.Serializer[Any]):
    """How far to look back."""

    days = serializers.IntegerField(min_value=1, max_value=366, default=30, help_text="Today included")


class CostSerializer(serializers.Serializer[Any]):
    """What calls took. A sum is of what is known, and null when nothing is; no calls take nothing."""

    calls = serializers.IntegerField()
    unpriced_calls = serializers.IntegerField(help_text="Of which nobody knows what they cost")
    cost_usd = serializers.DecimalField(None, 6, allow_null=True)
    input_tokens = serializers.IntegerField(allow_null=True)
    cached_tokens = serializers.IntegerField(allow_null=True, help_text="A part of the input tokens")
    output_tokens = serializers.IntegerField(allow_null=True)
    reasoning_tokens = serializers.IntegerField(allow_null=True, help_text="A part of the output tokens")


class DayCostSerializer(CostSerializer):
    day = serializers.DateField()


class AgentCostSerializer(CostSerializer):
    agent = serializers.CharField(help_text="`replay` for replays, whichever agent's")


class ModelCostSerializer(CostSerializer):
    model = serializers.CharField(source="model_name")


class AlertCostSerializer(CostSerializer):
    alert_name = serializers.CharField()


class IncidentCostSerializer(AlertCostSerializer):
    incident = serializers.IntegerField()


class BudgetSerializer(serializers.Serializer[Any]):
    """A budget of the calendar. `held_usd` is reserved for calls under way."""

    name = serializers.ChoiceField(choices=("daily", "monthly"))
    period = serializers.CharField(help_text="The day or the month")
    cap_usd = serializers.DecimalField(None, 6)
    spent_usd = serializers.DecimalField(None, 6)
    held_usd = serializers.DecimalField(None, 6)


class CostsSerializer(serializers.Serializer[Any]):
    """Where the money went. Of models, alert names and incidents, those that cost most."""

    since = serializers.DateField()
    until = serializers.DateField()
    time_zone = serializers.CharField(help_text="Whose days these are")
    budgets = BudgetSerializer(many=True)
    total = CostSerializer()
    by_day = DayCostSerializer(many=True)
    by_agent = AgentCostSerializer(many=True)
    by_model = ModelCostSerializer(many=True)
    by_alert_name = AlertCostSerializer(many=True)
    by_incident = IncidentCostSerializer(many=True)


class CostOfIncidentSerializer(serializers.Serializer[Any]):
    """What one incident took, whole and by agent."""

    total = CostSerializer()
    by_agent = AgentCostSerializer(many=True)
