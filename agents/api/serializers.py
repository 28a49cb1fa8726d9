"""The shapes of the crew's work. Tool and model outputs are null for readers below an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from agents.actions import spec_of
from agents.models import Action, CrewRun, ModelCall, Pause, Step, ToolCall
from agents.pauses import UnknownScope, check_scope
from incidents.api.fields import RecordSerializer


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
    """One request to a model. `cost_usd` is null while the price is unknown."""

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


class CrewRunSerializer(RecordSerializer):
    """One investigation of an incident."""

    whole = True
    steps = StepSerializer(many=True, read_only=True)

    class Meta:
        model = CrewRun
        fields = ("id", "incident", "number", "started_at", "finished_at", "steps")


class ActionSerializer(RecordSerializer):
    """One change to the world, and what became of it."""

    operator_fields = ("arguments", "target_state", "result")
    target = serializers.CharField(source="target.key", read_only=True)
    touches = serializers.SerializerMethodField(help_text="What it would do, and to what alone")
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

    def get_touches(self, action: Action) -> str:
        return spec_of(action).touches(action.target)


class RejectionSerializer(serializers.Serializer[Any]):
    """Why not; may be left out."""

    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class GoneSerializer(serializers.Serializer[Any]):
    """410: the action waits for nobody any more."""

    detail = serializers.CharField()
    status = serializers.CharField(help_text="The status of the action now")


class PauseSerializer(RecordSerializer):
    """No change in a scope until a time, or until somebody lifts it."""

    class Meta:
        model = Pause
        fields = ("id", "scope", "until", "reason", "by", "created_at", "lifted_at")


class NewPauseSerializer(serializers.Serializer[Any]):
    """A pause to be made. Without `until` it holds until it is lifted."""

    scope = serializers.CharField(max_length=300, help_text="A target's key, host:NAME, or * for everything")
    until = serializers.DateTimeField(required=False, allow_null=True, default=None)
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
