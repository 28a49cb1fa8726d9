"""The records under `/api/v1/`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from incidents import memory
from incidents.access import reads
from incidents.api import serializers
from incidents.api.errors import Unavailable
from incidents.api.queries import AlertFilters, IdPagination, MemoryQuery, read_query
from incidents.finding import planned_by_value
from incidents.models import Delivery, Episode, Event, Notification, Role, Target


class Records(ListModelMixin, GenericViewSet[Any]):
    """A list of rows by id, newest first."""

    pagination_class = IdPagination
    lookup_value_regex = "[0-9]{1,18}"
    filters: ClassVar[type[Serializer[Any]] | None] = None  # what a list may be asked for

    def filter_queryset(self, queryset: Any) -> Any:
        if self.filters is None or self.action != "list":
            return queryset
        return queryset.filter(**read_query(self.request, self.filters))

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with planned_by_value():
            return super().list(request, *args, **kwargs)

    def as_it_is(self) -> Response:
        """The row as it is now."""
        return Response(self.get_serializer(self.get_object()).data)


@extend_schema_view(list=extend_schema(parameters=[AlertFilters]))
class AlertViewSet(RetrieveModelMixin, Records):
    """Alerts, each from its firing to its end; one that came back is a row of its own."""

    open_read = True
    filters = AlertFilters
    queryset = Episode.objects.select_related("target")
    serializer_class = serializers.EpisodeSerializer


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

    needs: ClassVar = reads(Role.ADMIN)
    queryset = Event.objects.all()
    serializer_class = serializers.EventSerializer


class DeliveryViewSet(RetrieveModelMixin, Records):
    """Requests to `/alert`, byte for byte."""

    needs: ClassVar = reads(Role.ADMIN)

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
