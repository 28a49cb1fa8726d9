"""Incidents under `/api/v1/incidents`, and what people do with them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from incidents import services
from incidents.access import caller
from incidents.api import serializers
from incidents.api.errors import MEDIA_TYPE, Conflict, HttpProblem
from incidents.api.queries import MoreIncidentFilters, read_sent
from incidents.api.views import Records
from incidents.models import Event, Incident

WHOLE = serializers.IncidentDetailSerializer
OR_NOT = {200: WHOLE, (409, MEDIA_TYPE): HttpProblem}


@extend_schema_view(list=extend_schema(parameters=[MoreIncidentFilters]))
class IncidentViewSet(RetrieveModelMixin, Records):
    """Incidents: in short in a list, whole one by one."""

    open_read = True
    filters = MoreIncidentFilters
    serializer_class = serializers.IncidentSerializer

    def get_queryset(self) -> QuerySet[Incident]:
        incidents = Incident.objects.with_systems()
        if self.action == "list":
            return incidents
        return incidents.prefetch_related("notifications", "events", "problems")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return self.serializer_class if self.action == "list" else WHOLE

    @extend_schema(request=serializers.AnnotationSerializer, responses={200: WHOLE})
    @action(detail=True, methods=["post"])
    def annotate(self, request: Request, pk: str) -> Response:
        """Say what a person knows better: the cause, a note, a verdict."""
        said = read_sent(request, serializers.AnnotationSerializer)
        services.annotate(self.get_object(), by=caller(request).name, **said)
        return self.as_it_is()

    @extend_schema(request=serializers.ResolutionSerializer, responses={200: WHOLE})
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: str) -> Response:
        """Say that a person ended it. One that is resolved already stays as it was."""
        said = read_sent(request, serializers.ResolutionSerializer)
        services.resolve(self.get_object(), by=caller(request).name, **said)
        return self.as_it_is()

    @extend_schema(request=serializers.RatingSerializer, responses=OR_NOT)
    @action(detail=True, methods=["post"])
    def rate(self, request: Request, pk: str) -> Response:
        """Say whether the crew's cause is right. The last word counts; 409 when the crew gave no cause."""
        said = read_sent(request, serializers.RatingSerializer)
        if not services.rate(self.get_object(), by=caller(request).name, **said):
            raise Conflict("the crew gave no cause, or another one a moment ago")
        return self.as_it_is()

    @extend_schema(request=None, responses={200: WHOLE})
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody looks after it. The first one stays; again changes nothing."""
        services.acknowledge(self.get_object(), by=caller(request).name)
        return self.as_it_is()

    @extend_schema(request=serializers.EscalationSerializer, responses=OR_NOT)
    @action(detail=True, methods=["post"])
    def escalate(self, request: Request, pk: str) -> Response:
        """Call for help: all further channels are told now. 409 when it is over, or they are being told."""
        said = read_sent(request, serializers.EscalationSerializer)
        if not services.escalate(self.get_object(), by=caller(request).name, **said):
            raise Conflict("the incident is closed, or a call for help is on its way")
        return self.as_it_is()

    @extend_schema(request=None, responses={200: WHOLE})
    @action(detail=True, methods=["post"], url_path="take-over")
    def take_over(self, request: Request, pk: str) -> Response:
        """A person has it: the crew stops on this incident and only watches. The first one stays."""
        services.take_over(self.get_object(), by=caller(request).name)
        return self.as_it_is()

    @extend_schema(request=None, responses={200: WHOLE})
    @action(detail=True, methods=["post"], url_path="give-back")
    def give_back(self, request: Request, pk: str) -> Response:
        """Let the crew go on with an incident that a person had taken over."""
        services.give_back(self.get_object(), by=caller(request).name)
        return self.as_it_is()

    @extend_schema(request=serializers.NoteSerializer, responses={201: serializers.EventSerializer})
    @action(detail=True, methods=["post"])
    def notes(self, request: Request, pk: str) -> Response:
        """Add a line to the timeline; any number. (The one note that the memory learns is `annotate`'s.)"""
        said = read_sent(request, serializers.NoteSerializer)
        event: Event = services.add_note(self.get_object(), by=caller(request).name, **said)
        return Response(serializers.EventSerializer(event).data, status=status.HTTP_201_CREATED)
