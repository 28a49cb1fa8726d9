"""The audit trail as a file: `/api/v1/audit.csv` and `/api/v1/audit.jsonl`, for admins alone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from incidents import trail
from incidents.access import reads
from incidents.api.fields import UTCDateTimeField
from incidents.api.queries import MAX_ID, read_query
from incidents.models import Event, Role


class AuditQuery(serializers.Serializer[Any]):
    """Which events. By default the decisions of people and of the crew alone."""

    since = UTCDateTimeField(required=False, source="at__gte", help_text="RFC 3339; from then on")
    until = UTCDateTimeField(required=False, source="at__lt", help_text="RFC 3339; before that")
    kind = serializers.ChoiceField(choices=Event.Kind.choices, required=False)
    actor = serializers.CharField(required=False, trim_whitespace=False, help_text="The whole name")
    incident = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    events = serializers.ChoiceField(
        choices=("decisions", "all"), default="decisions", help_text="all: also what was told and read"
    )


class _Lines(BaseRenderer):
    """So that a caller may accept what is streamed; it renders nothing."""

    def render(self, data: Any, *args: Any, **options: Any) -> bytes:
        return b""


class CsvRenderer(_Lines):
    media_type = "text/csv"
    format = "csv"


class JsonLinesRenderer(_Lines):
    media_type = "application/x-ndjson"
    format = "jsonl"


class AuditView(APIView):
    """Who decided what, when, about what."""

    needs: ClassVar = reads(Role.ADMIN)
    renderer_classes = [JSONRenderer, CsvRenderer, JsonLinesRenderer]

    @extend_schema(
        parameters=[AuditQuery],
        responses={
            (200, "text/csv"): OpenApiTypes.BINARY,
            (200, "application/x-ndjson"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request, form: str) -> StreamingHttpResponse:
        """The events in the order in which they were written. Times are in UTC."""
        filters = read_query(request, AuditQuery)
        wanted, kind = filters.pop("events"), filters.pop("kind", None)
        events = trail.of(filters, [kind] if kind else trail.DECISIONS if wanted == "decisions" else None)
        lines, media = (
            (trail.as_csv(events), "text/csv; charset=utf-8")
            if form == "csv"
            else (trail.as_json_lines(events), JsonLinesRenderer.media_type)
        )
        name = f"audit-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(lines, content_type=media, headers=headers)
