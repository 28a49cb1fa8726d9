"""What a period came to, under `/api/v1/stats`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import periods
from incidents.api.fields import UTCDateTimeField
from incidents.api.queries import read_query

DEFAULT_PERIOD = "30d"
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=366)
MOST_BUCKETS = 400
# Up to which length a bucket is that long, unless it is said otherwise.
FITTING = {"hour": timedelta(days=2), "day": timedelta(days=92)}


class StatsQuery(serializers.Serializer[Any]):
    """A period up to now, or a span of at most 366 days."""

    period = serializers.ChoiceField(
        choices=tuple(periods.PERIODS),
        required=False,
        help_text=f"Up to now; {DEFAULT_PERIOD} when no `since` is given",
    )
    since = UTCDateTimeField(required=False, help_text="In place of a period")
    until = UTCDateTimeField(required=False, help_text="Not included; now when left out or later than that")
    bucket = serializers.ChoiceField(
        choices=tuple(periods.LENGTHS), required=False, help_text="What fits, when left out"
    )

    def validate_since(self, since: datetime) -> datetime:
        if since < EARLIEST:
            raise serializers.ValidationError(f"is before {EARLIEST.year}")
        return since

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """`since`, `until` (None: now) and `size`, whichever way they were asked for."""
        now = timezone.now()
        if "since" in attrs and "period" in attrs:
            raise serializers.ValidationError({"period": "wants no since beside it"})
        if "until" in attrs and "since" not in attrs:
            raise serializers.ValidationError({"until": "wants a since"})
        period = attrs.get("period", DEFAULT_PERIOD)
        since = attrs.get("since") or periods.begins(period, now)
        asked = attrs.get("until", now)
        until = min(asked, now)
        if since >= until:
            raise serializers.ValidationError({"since": "is not before until, or not in the past"})
        if until - since > LONGEST:
            raise serializers.ValidationError({"since": f"is more than {LONGEST.days} days before until"})
        fitting = _fitting(until - since) if "since" in attrs else periods.PERIODS[period][1]
        bucket = attrs.get("bucket", fitting)
        if (until - since) / periods.LENGTHS[bucket] > MOST_BUCKETS:
            raise serializers.ValidationError({"bucket": f"makes more than {MOST_BUCKETS}"})
        return {"since": since, "until": until if asked < now else None, "size": bucket}


def _fitting(length: timedelta) -> str:
    return next((size for size, most in FITTING.items() if length <= most), "week")


class TimesSerializer(serializers.Serializer[Any]):
    """From the alert's start to the proof, in seconds; null while nothing is proved."""

    count = serializers.IntegerField(help_text="How many were proved over")
    mean = serializers.FloatField(allow_null=True)
    p50 = serializers.FloatField(allow_null=True)
    p90 = serializers.FloatField(allow_null=True)


class FiguresSerializer(serializers.Serializer[Any]):
    """What a span of time came to. Rates are percentages of what ended, false alarms left out."""

    since = UTCDateTimeField()
    until = UTCDateTimeField(help_text="Not included")
    incidents = serializers.IntegerField(help_text="That opened")
    ended = serializers.IntegerField()
    by_verdict = serializers.DictField(child=serializers.IntegerField(), help_text="Of what ended")
    success_rate = serializers.FloatField(allow_null=True, help_text="Proved over; null: nothing ended")
    fixed_by_crew_rate = serializers.FloatField(allow_null=True, help_text="The verified ones alone")
    resolution_seconds = TimesSerializer()
    model_calls = serializers.IntegerField(help_text="That began")
    unpriced_calls = serializers.IntegerField(help_text="Of which nobody knows what they cost")
    cost_usd = serializers.DecimalField(
        None, 6, allow_null=True, help_text="Of what is known; null: nothing is"
    )


class StatsSerializer(serializers.Serializer[Any]):
    """A period, whole and in buckets, the oldest first."""

    since = UTCDateTimeField()
    until = UTCDateTimeField(help_text="Not included")
    bucket = serializers.ChoiceField(choices=tuple(periods.LENGTHS))
    time_zone = serializers.CharField(help_text="Whose days and weeks these are; hours are UTC's")
    total = FiguresSerializer()
    buckets = FiguresSerializer(many=True)


class StatsView(APIView):
    """Statistics of a period: incidents, verdicts, rates, times to resolve, and what the models cost."""

    open_read = True

    @extend_schema(operation_id="stats_by_period", parameters=[StatsQuery], responses={200: StatsSerializer})
    def get(self, request: Request) -> Response:
        return Response(StatsSerializer(periods.recent(**read_query(request, StatsQuery))).data)
