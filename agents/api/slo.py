"""The service levels, for machines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import slo
from incidents.api.queries import read_query

MOST_WEEKS = 53


class SloQuery(serializers.Serializer[Any]):
    """How far to look back."""

    weeks = serializers.IntegerField(
        min_value=1, max_value=MOST_WEEKS, default=8, help_text="This one included"
    )


class SpreadSerializer(serializers.Serializer[Any]):
    """Of how many, and percentiles in seconds; null while there are none."""

    count = serializers.IntegerField()
    p50 = serializers.FloatField(allow_null=True)
    p90 = serializers.FloatField(allow_null=True)


class HandsSerializer(serializers.Serializer[Any]):
    """Whose work it was that incidents are over."""

    crew_alone = serializers.IntegerField()
    crew_with_approval = serializers.IntegerField()
    not_the_crew = serializers.IntegerField()


class WeekSerializer(serializers.Serializer[Any]):
    """What opened in a week, which begins on Monday."""

    week = serializers.DateField(help_text="Its Monday")
    opened = serializers.IntegerField()
    acknowledged_seconds = SpreadSerializer(help_text="From the opening until a person answered")
    diagnosed_seconds = SpreadSerializer(
        help_text="From the opening to the crew's first likely or confirmed cause"
    )
    resolved_seconds = SpreadSerializer(help_text="From the alert's start to the proof")
    hands = HandsSerializer()
    verdicts = serializers.DictField(child=serializers.IntegerField())


class VerdictCostSerializer(serializers.Serializer[Any]):
    """What models took of the incidents with one verdict. A sum is of what is known, null when nothing is."""

    verdict = serializers.CharField(help_text="Or in_progress")
    incidents = serializers.IntegerField(help_text="That asked a model")
    cost_usd = serializers.DecimalField(None, 6, allow_null=True)
    cost_per_incident_usd = serializers.DecimalField(None, 6, allow_null=True)
    unpriced_calls = serializers.IntegerField()


class SloSerializer(serializers.Serializer[Any]):
    """Service levels week by week, newest first."""

    since = serializers.DateField()
    time_zone = serializers.CharField(help_text="Whose weeks these are")
    weeks = WeekSerializer(many=True)
    cost_by_verdict = VerdictCostSerializer(many=True)


class SloView(APIView):
    """How quickly incidents are answered, diagnosed and resolved, and what the crew did, by week."""

    open_read = True

    @extend_schema(parameters=[SloQuery], responses={200: SloSerializer})
    def get(self, request: Request) -> Response:
        weeks = read_query(request, SloQuery)["weeks"]
        return Response(SloSerializer(slo.recent(weeks)).data)
