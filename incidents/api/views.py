"""The records under `/api/v1/`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from incidents import memory, services
from incidents.access import caller
from incidents.api import serializers
from incidents.api.errors import Unavailable
from incidents.api.queries import IdPagination, IncidentFilters, MemoryQuery, filter_incidents, read_query
from incidents.models import Delivery, Event, Incident, Notification, Role, Target

ADMIN_READS = {"GET": Role.ADMIN, "HEAD": Role.ADMIN, "OPTIONS": Role.ADMIN}


class Records(ListModelMixin, GenericViewSet[Any]):
    """A list of rows by id, newest first."""

    pagination_class = IdPagination
    lookup_value_regex = "[0-9]{1,18}"


@extend_schema_view(list=extend_schema(parameters=[IncidentFilters]))
class IncidentViewSet(RetrieveModelMixin, Records):
    """Incidents: in short in a list, whole one by one."""

    open_read = True
    serializer_class = serializers.IncidentSerializer

    def get_queryset(self) -> QuerySet[Incident]:
        incidents = Incident.objects.with_systems()
        if self.action == "list":
            return incidents
        return incidents.prefetch_related("notifications", "events", "problems")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return self.serializer_class if self.action == "list" else serializers.IncidentDetailSerializer

    def filter_queryset(self, queryset: Any) -> Any:
        if self.action != "list":
            return queryset
        return filter_incidents(queryset, **read_query(self.request, IncidentFilters))

    @extend_schema(
        request=serializers.AnnotationSerializer, responses={200: serializers.IncidentDetailSerializer}
    )
    @action(detail=True, methods=["post"])
    def annotate(self, request: Request, pk: str) -> Response:
        """Say what a person knows better: the cause, a note, a verdict."""
        said = serializers.AnnotationSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        services.annotate(self.get_object(), by=caller(request).name, **said.validated_data)
        return self._answer()

    @extend_schema(request=None, responses={200: serializers.IncidentDetailSerializer})
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody looks after it. The first one stays; again changes nothing."""
        services.acknowledge(self.get_object(), by=caller(request).name)
        return self._answer()

    @extend_schema(request=None, responses={200: serializers.IncidentDetailSerializer})
    @action(detail=True, methods=["post"], url_path="take-over")
    def take_over(self, request: Request, pk: str) -> Response:
        """A person has it: the crew stops on this incident and only watches. The first one stays."""
        services.take_over(self.get_object(), by=caller(request).name)
        return self._answer()

    @extend_schema(request=None, responses={200: serializers.IncidentDetailSerializer})
    @action(detail=True, methods=["post"], url_path="give-back")
    def give_back(self, request: Request, pk: str) -> Response:
        """Let the crew go on with an incident that a person had taken over."""
        services.give_back(self.get_object(), by=caller(request).name)
        return self._answer()

    def _answer(self) -> Response:
        """The incident as it is now."""
        return Response(self.get_serializer(self.get_object()).data)


class NotificationViewSet(Records):
    """Messages to people."""

    open_read = True
    queryset = Notification.queue.all()
    serializer_class = serializers.NotificationSerializer


class TargetViewSet(RetrieveModelMixin, Records):
    """The inventory."""

    open_read = True
    queryset = Target.objects.select_related("parent")
    serializer_class = serializers.TargetSerializer


class EventViewSet(Records):
    """The audit: everything that happened, of every incident and of none."""

    needs: ClassVar = ADMIN_READS
    queryset = Event.objects.all()
    serializer_class = serializers.EventSerializer


class DeliveryViewSet(RetrieveModelMixin, Records):
    """Requests to `/alert`, byte for byte."""

    needs: ClassVar = ADMIN_READS
    queryset = Delivery.objects.all()

    def get_queryset(self) -> QuerySet[Delivery]:
        deliveries = Delivery.objects.all()
        return deliveries.defer("body") if self.action == "list" else deliveries

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.action == "list":
            return serializers.DeliverySerializer
        return serializers.DeliveryDetailSerializer


class MemoryView(APIView):
    """Past incidents like a description, best first; empty when nothing is like it."""

    open_read = True

    @extend_schema(parameters=[MemoryQuery], responses={200: serializers.RecalledListSerializer})
    def get(self, request: Request) -> Response:
        query = read_query(request, MemoryQuery)
        try:
            found = memory.recall(query["q"], alert_name=query["alert_name"], limit=query["limit"])
        except memory.MemoryUnavailable as error:
            raise Unavailable("the memory does not answer") from error
        shown = serializers.RecalledSerializer(found, many=True).data
        return Response({"count": len(shown), "results": shown})


def no_such_endpoint(request: HttpRequest) -> JsonResponse:
    """404 as JSON, for programs ask here."""
    return JsonResponse({"detail": f"there is no {request.path}; see /api/docs"}, status=404)
