"""Query parameters as typed values, and pages of rows by id, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from incidents.models import RESOLUTION_STATUS, SEVERITIES, Incident, IncidentQuerySet

DEFAULT_LIMIT = 10
MAX_LIMIT = 1000
STATUSES = tuple(dict.fromkeys(RESOLUTION_STATUS.values()))


class PageQuery(serializers.Serializer[Any]):
    """Which rows: `limit` of those with an id below `before`."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)
    before = serializers.IntegerField(min_value=1, required=False, help_text="Only rows with a lower id")


class IncidentFilters(serializers.Serializer[Any]):
    """Which incidents."""

    status = serializers.ChoiceField(choices=STATUSES, required=False, help_text="The resolution status")
    severity = serializers.ChoiceField(choices=SEVERITIES, required=False, help_text="The class of severity")
    alert_name = serializers.CharField(required=False, trim_whitespace=False, help_text="The whole name")

    def validate_alert_name(self, name: str) -> str:
        if not Incident.objects.filter(alert_name=name).exists():
            raise serializers.ValidationError("no incident has this name")
        return name


class MemoryQuery(serializers.Serializer[Any]):
    """What to look for in the memory."""

    q = serializers.CharField(max_length=2000, help_text="A description, in words")
    alert_name = serializers.CharField(required=False, default=None, max_length=200)
    limit = serializers.IntegerField(min_value=1, max_value=50, default=5)


def read_query(request: Request, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The query parameters that `kind` knows; ValidationError (400) for a bad one, others are ignored."""
    # A plain dict: from a QueryDict DRF would take `limit=` for an absent one.
    query = kind(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def filter_incidents(
    queryset: IncidentQuerySet,
    *,
    status: str | None = None,
    severity: str | None = None,
    alert_name: str | None = None,
) -> IncidentQuerySet:
    """The incidents that `IncidentFilters` asked for."""
    if status is not None:
        verdicts = [verdict for verdict, name in RESOLUTION_STATUS.items() if name == status]
        known = [verdict for verdict in verdicts if verdict is not None]
        queryset = queryset.filter(Q(verdict__in=known) if known else Q(verdict=None))
    if severity is not None:
        queryset = queryset.filter(severity_class=severity)
    if alert_name is not None:
        queryset = queryset.filter(alert_name=alert_name)
    return queryset


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
