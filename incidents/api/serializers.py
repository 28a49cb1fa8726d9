"""The shapes of the API. Unknown is null, times are UTC, durations are seconds."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from incidents.api.fields import RecordSerializer, UTCDateTimeField
from incidents.api.queries import STATUSES
from incidents.models import (
    Delivery,
    Episode,
    Event,
    Incident,
    Notification,
    Problem,
    Rating,
    Role,
    Target,
    Verdict,
)
from incidents.wording import standing

HUMAN_VERDICTS = (Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN)


class IncidentSerializer(RecordSerializer):
    """An incident in short, as `/incidents` lists it."""

    sent_fields: tuple[str, ...] = ("alert_name", "description", "affected_systems")
    timestamp = UTCDateTimeField(source="started_at", read_only=True, help_text="The first alert's start")
    affected_systems = serializers.ListField(child=serializers.CharField(), read_only=True)
    root_cause = serializers.SerializerMethodField(help_text="A person's word, else the crew's")
    resolution_status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    resolution_time = serializers.FloatField(
        source="resolution_seconds",
        read_only=True,
        allow_null=True,
        help_text="Seconds from the alert's start to the proof",
    )
    verdict = serializers.ChoiceField(choices=Verdict.choices, read_only=True, allow_null=True)
    waiting_for = serializers.CharField(read_only=True, allow_null=True, help_text="approval, proof, or null")

    class Meta:
        model = Incident
        fields: tuple[str, ...] = (
            "id",
            "alert_name",
            "description",
            "severity",
            "timestamp",
            "affected_systems",
            "root_cause",
            "remediation_taken",
            "resolution_status",
            "resolution_time",
            "verdict",
            "waiting_for",
        )

    def get_root_cause(self, incident: Incident) -> str | None:
        return incident.human_cause or incident.root_cause


class EpisodeSerializer(RecordSerializer):
    """One alert, from its firing to its end. `incident` is null for one that opened none, as a watchdog."""

    sent_fields = ("alert_name", "labels", "annotations", "generator_url")
    target = serializers.CharField(source="target.key", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Episode
        fields = (
            "id",
            "incident",
            "source",
            "fingerprint",
            "alert_name",
            "severity",
            "labels",
            "annotations",
            "generator_url",
            "starts_at",
            "ends_at",
            "contested_at",
            "first_seen_at",
            "last_seen_at",
            "target",
        )


class NotificationSerializer(RecordSerializer):
    """One message to one channel. `body`, which may hold a link that approves, is for operators."""

    operator_fields = ("body", "error")

    class Meta:
        model = Notification
        fields = (
            "id",
            "incident",
            "kind",
            "channel",
            "title",
            "body",
            "state",
            "error",
            "created_at",
            "sent_at",
        )


class EventSerializer(RecordSerializer):
    """What happened, who did it, when."""

    sent_fields = ("text", "data")

    class Meta:
        model = Event
        fields = ("id", "incident", "at", "kind", "actor", "text", "data")


class IncidentDetailSerializer(IncidentSerializer):
    """An incident whole. `events` are null for readers without a token or login."""

    target = serializers.CharField(source="target.key", read_only=True, allow_null=True, default=None)
    standing = serializers.SerializerMethodField(help_text="How it stands, in words for people")
    previous = serializers.PrimaryKeyRelatedField[Incident](read_only=True, allow_null=True)
    problems = serializers.PrimaryKeyRelatedField[Problem](many=True, read_only=True)
    trace_id = serializers.CharField(
        read_only=True, allow_null=True, help_text="Of its trace, 32 hexadecimal digits; null: not traced"
    )
    episodes = EpisodeSerializer(many=True, read_only=True)
    notifications = NotificationSerializer(many=True, read_only=True)
    events = serializers.SerializerMethodField()

    class Meta(IncidentSerializer.Meta):
        fields = (
            *IncidentSerializer.Meta.fields,
            "status",
            "standing",
            "source",
            "severity_class",
            "target",
            "previous",
            "problems",
            "started_at",
            "opened_at",
            "request_id",
            "trace_id",
            "ended_at",
            "closed_at",
            "reopened",
            "adopted",
            "acknowledged_at",
            "acknowledged_by",
            "taken_over_at",
            "taken_over_by",
            "certainty",
            "rung",
            "rating",
            "rated_by",
            "rated_at",
            "proof_note",
            "human_cause",
            "human_note",
            "annotated_by",
            "annotated_at",
            "episodes",
            "notifications",
            "events",
        )

    def get_standing(self, incident: Incident) -> str:
        return standing(incident)

    @extend_schema_field(EventSerializer(many=True, allow_null=True))
    def get_events(self, incident: Incident) -> list[dict[str, Any]] | None:
        if not self.reader_is(Role.VIEWER):
            return None
        return list(EventSerializer(incident.events.all(), many=True).data)


class AnnotationSerializer(serializers.Serializer[Any]):
    """What a person knows better; at least one of the three."""

    cause = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    verdict = serializers.ChoiceField(
        choices=Verdict.choices, required=False, help_text="false_alarm or resolved_by_human"
    )

    def validate_verdict(self, value: str) -> Verdict:
        if value not in HUMAN_VERDICTS:
            raise serializers.ValidationError(f"a person gives {' or '.join(HUMAN_VERDICTS)}")
        return Verdict(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("wants cause, note or verdict")
        return attrs


class ResolutionSerializer(serializers.Serializer[Any]):
    """How it was ended, if there is something to say; the memory learns it."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)


class RatingSerializer(serializers.Serializer[Any]):
    """A person's word on the crew's cause."""

    rating = serializers.ChoiceField(choices=Rating.choices)

    def validate_rating(self, value: str) -> Rating:
        return Rating(value)


class EscalationSerializer(serializers.Serializer[Any]):
    """Why others are wanted at it."""

    why = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class NoteSerializer(serializers.Serializer[Any]):
    """A line for the timeline."""

    text = serializers.CharField(max_length=10_000)


class TargetSerializer(RecordSerializer):
    """A thing that alerts are about. `facts` are null for readers below an operator."""

    operator_fields = ("facts",)
    facts = serializers.JSONField(read_only=True, allow_null=True)
    # DRF takes declared fields off the class, so its own attribute `parent` stays what it was.
    parent = serializers.CharField(  # type: ignore[assignment]
        source="parent.key", read_only=True, allow_null=True, default=None
    )

    class Meta:
        model = Target
        fields = (
            "id",
            "key",
            "kind",
            "host",
            "name",
            "parent",
            "facts",
            "first_seen_at",
            "last_seen_at",
            "gone_at",
        )


class DeliverySerializer(RecordSerializer):
    """One request to `/alert`: how many alerts were accepted, and which could not be read and why."""

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = ("id", "received_at", "source", "alerts", "quarantined")


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its body as text; bytes that are no UTF-8 are replaced."""

    body = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "body")

    def get_body(self, delivery: Delivery) -> str:
        return bytes(delivery.body).decode("utf-8", "replace")


class RecalledSerializer(serializers.Serializer[Any]):
    """A past incident that is like what was asked for. `text` holds what strangers wrote."""

    incident = serializers.IntegerField(
        source="incident_id", allow_null=True, help_text="Null when it was taken over from another memory"
    )
    alert_name = serializers.CharField()
    text = serializers.CharField()
    score = serializers.FloatField(help_text="0 to 1: how sure it is the same kind of trouble")
    dense = serializers.FloatField(allow_null=True, help_text="Cosine; null when it did not judge")
    lexical = serializers.FloatField(
        allow_null=True, help_text="Share of the words; null when it did not judge"
    )
    why = serializers.ListField(child=serializers.CharField())


class RecalledListSerializer(serializers.Serializer[Any]):
    """The best first."""

    count = serializers.IntegerField()
    results = RecalledSerializer(many=True)
