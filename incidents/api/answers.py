"""The answers of the endpoints at the root, as the schema names them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from incidents.api.serializers import IncidentSerializer


class ErrorAnswer(serializers.Serializer[Any]):
    """Why not."""

    status = serializers.CharField(required=False)
    detail = serializers.CharField()


# What DRF says of parameters that are wrong: by name, or of none of them alone.
FIELD_ERRORS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
    "description": "What is wrong, by parameter",
}


class AcceptedAlerts(serializers.Serializer[Any]):
    """What became of a delivery; it is committed."""

    status = serializers.CharField(help_text="accepted")
    alerts = serializers.IntegerField(help_text="Alerts that were read and stored")
    quarantined = serializers.IntegerField(help_text="Alerts that could not be read; kept with the reason")
    incidents = serializers.ListField(child=serializers.IntegerField(), help_text="Ids, ascending")


class MemoryHealth(serializers.Serializer[Any]):
    """The memory: its index, and how many incidents the database has (null: it does not answer)."""

    status = serializers.CharField(help_text="connected, building, disconnected")
    incidents = serializers.IntegerField(allow_null=True)


class HealthAnswer(serializers.Serializer[Any]):
    """How the program is."""

    status = serializers.CharField(help_text="healthy, degraded, unhealthy")
    service = serializers.CharField()
    version = serializers.CharField()
    memory = MemoryHealth()


class LiveAnswer(serializers.Serializer[Any]):
    """Whether this process should go on."""

    status = serializers.CharField(help_text="alive or dead")


class MemoryStats(serializers.Serializer[Any]):
    """Totals over all incidents; rates are percentages of closed incidents, null while none is closed."""

    total_incidents = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    fixed_by_crew_rate = serializers.FloatField(allow_null=True)
    avg_resolution_time = serializers.FloatField(allow_null=True, help_text="Seconds")
    by_severity = serializers.DictField(child=serializers.IntegerField())
    by_verdict = serializers.DictField(child=serializers.IntegerField())
    by_status = serializers.DictField(child=serializers.IntegerField())


class StatsAnswer(serializers.Serializer[Any]):
    """The statistics."""

    status = serializers.CharField(help_text="success")
    service = serializers.CharField()
    version = serializers.CharField()
    memory = MemoryStats()


class IncidentsAnswer(serializers.Serializer[Any]):
    """Incidents, newest first."""

    status = serializers.CharField(help_text="success")
    count = serializers.IntegerField(help_text="How many are in this answer")
    incidents = IncidentSerializer(many=True)


class QueuedAnswer(serializers.Serializer[Any]):
    """Work that a worker will do."""

    status = serializers.CharField(help_text="accepted")
    job = serializers.IntegerField()
    detail = serializers.CharField()
