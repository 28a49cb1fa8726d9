"""Problems under `/api/v1/problems`: what comes back again and again."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from incidents import problems
from incidents.access import caller
from incidents.api.fields import RecordSerializer
from incidents.api.queries import read_sent
from incidents.api.views import Records
from incidents.models import Problem


class ProblemFilters(serializers.Serializer[Any]):
    """Which problems."""

    status = serializers.ChoiceField(
        choices=Problem.STATUSES, required=False, source="closed_at__isnull", help_text="All when left out"
    )

    def validate_status(self, status: str) -> bool:
        return status == Problem.OPEN


class ProblemSerializer(RecordSerializer):
    """A problem in short. `proposal`, which quotes what tools read, is for operators."""

    operator_fields = ("proposal",)
    target = serializers.CharField(source="target.key", read_only=True, allow_null=True, default=None)
    status = serializers.CharField(read_only=True, help_text="open or closed")
    times = serializers.IntegerField(read_only=True, help_text="Its incidents, false alarms left out")

    class Meta:
        model = Problem
        fields: tuple[str, ...] = (
            "id",
            "title",
            "target",
            "signature",
            "status",
            "times",
            "opened_at",
            "last_seen_at",
            "reopened",
            "proposal",
            "proposal_by",
            "note",
            "closed_at",
            "closed_by",
        )


class ProblemDetailSerializer(ProblemSerializer):
    """A problem with its incidents."""

    incidents = serializers.SerializerMethodField(
        help_text=f"Ids, the latest first, {problems.MOST_LINKED} at most"
    )

    class Meta(ProblemSerializer.Meta):
        fields = (*ProblemSerializer.Meta.fields, "incidents")

    def get_incidents(self, problem: Problem) -> list[int]:
        latest = problem.incidents.order_by("-pk").values_list("pk", flat=True)
        return list(latest[: problems.MOST_LINKED])


class ProblemNoteSerializer(serializers.Serializer[Any]):
    """What a person writes on a problem; at least one of the two. An empty proposal: the rules'."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    proposal = serializers.CharField(required=False, allow_blank=True, max_length=10_000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("wants note or proposal")
        return attrs


class ProblemCloseSerializer(serializers.Serializer[Any]):
    """How it was ended, if there is something to say."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=10_000)


@extend_schema_view(list=extend_schema(parameters=[ProblemFilters]))
class ProblemViewSet(RetrieveModelMixin, Records):
    """Troubles that came back three times in a week: their incidents, and what may end them for good."""

    open_read = True
    filters = ProblemFilters
    serializer_class = ProblemSerializer

    def get_queryset(self) -> QuerySet[Problem]:
        return problems.counted()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return ProblemSerializer if self.action == "list" else ProblemDetailSerializer

    @extend_schema(request=ProblemNoteSerializer, responses={200: ProblemDetailSerializer})
    @action(detail=True, methods=["post"])
    def note(self, request: Request, pk: str) -> Response:
        """Write a note, or what would end it for good."""
        said = read_sent(request, ProblemNoteSerializer)
        problems.edit(self.get_object(), by=caller(request).name, **said)
        return self.as_it_is()

    @extend_schema(request=ProblemCloseSerializer, responses={200: ProblemDetailSerializer})
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Say that it is over; again changes nothing. It opens again when the trouble returns."""
        said = read_sent(request, ProblemCloseSerializer)
        problems.close(self.get_object(), by=caller(request).name, **said)
        return self.as_it_is()
