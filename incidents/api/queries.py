"""Query parameters and bodies as typed values, and pages of rows by id, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from incidents.api.fields import UTCDateTimeField
from incidents.models import RESOLUTION_STATUS, SEVERITIES, Episode, Incident, Problem, Target, Verdict
from incidents.redaction import HIDDEN, clean
from incidents.totals import totals

DEFAULT_LIMIT = 10
MAX_LIMIT = 1000
MAX_ID = 2**63 - 1
STATUSES = tuple(dict.fromkeys(RESOLUTION_STATUS.values()))


class PageQuery(serializers.Serializer[Any]):
    """Which rows: `limit` of those with an id below `before`."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)
    before = serializers.IntegerField(min_value=1, required=False, help_text="Only rows with a lower id")


class IncidentFilters(serializers.Serializer[Any]):
    """Which incidents. As all filters: what it was given, validated, is what a queryset is filtered by."""

    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="The resolution status")
    severity = serializers.ChoiceField(
        choices=SEVERITIES, required=False, source="severity_class", help_text="The class of severity"
    )
    alert_name = serializers.CharField(required=False, trim_whitespace=False, help_text="The whole name")

    def validate_alert_name(self, name: str) -> str:
        if not Incident.objects.filter(alert_name=name).exists():
            raise serializers.ValidationError("no incident has this name")
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        status = attrs.pop("status", None)
        if status == RESOLUTION_STATUS[None]:
            return {**attrs, "verdict__isnull": True}
        if status is not None:
            attrs["verdict__in"] = [each for each, name in RESOLUTION_STATUS.items() if name == status]
        return attrs


class MoreIncidentFilters(IncidentFilters):
    """Which incidents, as `/api/v1` may be asked."""

    verdict = serializers.ChoiceField(choices=Verdict.choices, required=False)
    # DRF takes declared fields off the class, so its own attribute `source` stays what it was.
    source = serializers.CharField(  # type: ignore[assignment]
        required=False, help_text="Who sent its first alert"
    )
    target = serializers.CharField(required=False, source="target__key", help_text="A target's key")
    problem = serializers.IntegerField(
        min_value=1, max_value=MAX_ID, required=False, source="problems", help_text="The id of a problem"
    )
    opened_after = UTCDateTimeField(required=False, source="opened_at__gte", help_text="Or at that time")
    opened_before = UTCDateTimeField(required=False, source="opened_at__lt")
    closed_after = UTCDateTimeField(required=False, source="closed_at__gte", help_text="Or at that time")
    closed_before = UTCDateTimeField(required=False, source="closed_at__lt")

    def validate_source(self, name: str) -> str:
        if name not in totals().by_source:
            raise serializers.ValidationError("no incident is of this source")
        return name

    def validate_target(self, key: str) -> str:
        return known_target(key)

    def validate_problem(self, number: int) -> int:
        if not Problem.objects.filter(pk=number).exists():
            raise serializers.ValidationError("there is no such problem")
        return number


class AlertFilters(serializers.Serializer[Any]):
    """Which alerts."""

    firing = serializers.BooleanField(required=False, source="ends_at__isnull", help_text="All if left out")
    source = serializers.CharField(required=False, help_text="Who sent it")  # type: ignore[assignment]
    incident = serializers.IntegerField(
        min_value=1, max_value=MAX_ID, required=False, help_text="The id of an incident"
    )
    alert_name = serializers.CharField(
        required=False,
        trim_whitespace=False,
        source="alert_name__in",
        help_text="The whole name, as it is shown",
    )

    def validate_source(self, name: str) -> str:
        if not Episode.objects.filter(source=name).exists():
            raise serializers.ValidationError("no alert is of this source")
        return name

    def validate_incident(self, number: int) -> int:
        return known_incident(number)

    def validate_alert_name(self, name: str) -> list[str]:
        if not (names := _sent_as(name)):
            raise serializers.ValidationError("no alert has this name")
        return names


def _sent_as(shown: str) -> list[str]:
    """The names of alerts, as their rules are called, that are shown as this one."""
    if HIDDEN in shown:
        alike = Episode.objects.filter(alert_name__startswith=shown.partition(HIDDEN)[0]).order_by()
        return [
            name for name in alike.values_list("alert_name", flat=True).distinct() if clean(name) == shown
        ]
    if clean(shown) != shown:
        return []  # nobody may find out whether a secret is in a name
    of_incident = Incident.objects.filter(alert_name=shown)  # by an index, and nearly always the answer
    return [shown] if of_incident.exists() or Episode.objects.filter(alert_name=shown).exists() else []


def known_target(key: str) -> str:
    """The key; ValidationError when the inventory has no such target."""
    if not Target.objects.filter(key=key).exists():
        raise serializers.ValidationError("the inventory has no such target")
    return key


def known_incident(number: int) -> int:
    """The id; ValidationError when there is no such incident."""
    if not Incident.objects.filter(pk=number).exists():
        raise serializers.ValidationError("there is no such incident")
    return number


class MemoryQuery(serializers.Serializer[Any]):
    """What to look for in the memory."""

    q = serializers.CharField(max_length=2000, help_text="A description, in words")
    alert_name = serializers.CharField(required=False, default=None, max_length=200)
    limit = serializers.IntegerField(min_value=1, max_value=50, default=5)


def read_query(request: Request, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The query parameters that `kind` knows; ValidationError (400) for a bad one, others are ignored."""
    # A plain dict: from a QueryDict DRF would take `limit=` for an absent one.
    return _valid(kind(data=request.query_params.dict()))


def read_sent(request: Request, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The body as `kind` describes it; ValidationError (400) when it is another."""
    return _valid(kind(data=request.data))


def _valid(sent: serializers.Serializer[Any]) -> dict[str, Any]:
    sent.is_valid(raise_exception=True)
    return dict(sent.validated_data)


def page_of(queryset: QuerySet[Any], *, limit: int, before: int | None = None) -> list[Any]:
    """`limit` rows and one more when there are more, newest first."""
    if before is not None:
        queryset = queryset.filter(pk__lt=before)
    return list(queryset.order_by("-pk")[: limit + 1])


class IdPagination(BasePagination):
    """`{"next": URL or null, "results": [...]}`: rows that arrive meanwhile shift no page."""

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        query = read_query(request, PageQuery)
        rows = page_of(queryset, **query)
        page = rows[: query["limit"]]
        self.next: str | None = None
        if len(rows) > len(page):
            self.next = replace_query_param(request.build_absolute_uri(), "before", page[-1].pk)
        return page

    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({"next": self.next, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {
                "next": {"type": "string", "format": "uri", "nullable": True},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        before = {"type": "integer", "minimum": 1}
        return [
            {"name": "limit", "in": "query", "required": False, "schema": limit},
            {
                "name": "before",
                "in": "query",
                "required": False,
                "schema": before,
                "description": "Only rows with a lower id",
            },
        ]
