"""The crew's work under `/api/v1/`, and a person's yes or no to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action as endpoint
from rest_framework.generics import ListAPIView
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import costs, pauses, services
from agents.api import serializers
from agents.models import Action, CrewRun, MaintenanceWindow, Pause
from incidents.access import caller
from incidents.api.queries import IdPagination, read_query
from incidents.api.views import Records
from incidents.models import Incident


class IncidentRunsView(ListAPIView[CrewRun]):
    """The investigations of one incident, with steps, tool calls and model calls."""

    open_read = True
    pagination_class = IdPagination
    serializer_class = serializers.CrewRunSerializer

    def get_queryset(self) -> QuerySet[CrewRun]:
        if getattr(self, "swagger_fake_view", False):
            return CrewRun.objects.none()
        incident = get_object_or_404(Incident, pk=self.kwargs["incident_id"])
        return incident.runs.prefetch_related("steps__tool_calls", "steps__model_calls")


class IncidentCostView(APIView):
    """What the models took that worked one incident."""

    open_read = True

    @extend_schema(responses={200: serializers.CostOfIncidentSerializer})
    def get(self, request: Request, incident_id: str) -> Response:
        incident = get_object_or_404(Incident, pk=incident_id)
        return Response(serializers.CostOfIncidentSerializer(costs.of_incident(incident)).data)


class CostsView(APIView):
    """What the models took lately: by day, agent, model, alert name and incident, and the budgets."""

    open_read = True

    @extend_schema(parameters=[serializers.CostQuery], responses={200: serializers.CostsSerializer})
    def get(self, request: Request) -> Response:
        days = read_query(request, serializers.CostQuery)["days"]
        return Response(serializers.CostsSerializer(costs.report(days)).data)


class ActionViewSet(RetrieveModelMixin, Records):
    """Actions: proposed, decided, and at most once executed."""

    open_read = True
    queryset = Action.objects.select_related("target")
    serializer_class = serializers.ActionSerializer

    @extend_schema(
        request=None, responses={200: serializers.ActionSerializer, 410: serializers.GoneSerializer}
    )
    @endpoint(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """A person's yes; 410 when the question is no longer open."""
        return self._decide(lambda action: services.approve(action, by=caller(request).name))

    @extend_schema(
        request=serializers.RejectionSerializer,
        responses={200: serializers.ActionSerializer, 410: serializers.GoneSerializer},
    )
    @endpoint(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """A person's no; 410 when the question is no longer open."""
        said = serializers.RejectionSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        why = said.validated_data
        return self._decide(lambda action: services.reject(action, by=caller(request).name, **why))

    @extend_schema(request=None, responses={202: serializers.GoneSerializer, 409: serializers.GoneSerializer})
    @endpoint(detail=True, methods=["post"], url_path="ask-again")
    def ask_again(self, request: Request, pk: str) -> Response:
        """Look at today's state and propose anew; 409 when the incident is over or a question is open."""
        action = self.get_object()
        try:
            services.ask_again(action, by=caller(request).name)
        except services.CannotAsk as error:
            return Response({"detail": str(error), "status": action.status}, status=status.HTTP_409_CONFLICT)
        told = {"detail": "the Healer looks at it again", "status": action.status}
        return Response(told, status=status.HTTP_202_ACCEPTED)

    def _decide(self, decide: Callable[[Action], Action]) -> Response:
        try:
            action = decide(self.get_object())
        except services.NotWaiting as error:
            gone = {"detail": str(error), "status": error.action.status}
            return Response(gone, status=status.HTTP_410_GONE)
        return Response(self.get_serializer(action).data)


class WindowViewSet(Records):
    """Maintenance windows: times of the week in which nothing is changed in a scope."""

    open_read = True
    queryset = MaintenanceWindow.objects.all()
    serializer_class = serializers.WindowSerializer

    @extend_schema(request=serializers.NewWindowSerializer, responses={201: serializers.WindowSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Keep a time of the week free of changes."""
        wanted = serializers.NewWindowSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        window = pauses.open_window(by=caller(request).name, **wanted.validated_data)
        return Response(self.get_serializer(window).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={200: serializers.WindowSerializer})
    @endpoint(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """From now on it holds no more. One that was ended before stays as it was."""
        window = self.get_object()
        pauses.end_window(window, by=caller(request).name)
        window.refresh_from_db()
        return Response(self.get_serializer(window).data)


class PauseViewSet(Records):
    """Pauses: in a scope nothing is changed until a time, or until the pause is lifted."""

    open_read = True
    queryset = Pause.objects.all()
    serializer_class = serializers.PauseSerializer

    @extend_schema(request=serializers.NewPauseSerializer, responses={201: serializers.PauseSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Pause a scope."""
        wanted = serializers.NewPauseSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        pause = pauses.pause(by=caller(request).name, **wanted.validated_data)
        return Response(self.get_serializer(pause).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={200: serializers.PauseSerializer})
    @endpoint(detail=True, methods=["post"])
    def lift(self, request: Request, pk: str) -> Response:
        """End a pause now. One that was lifted before stays as it was."""
        pause = self.get_object()
        pauses.lift(pause, by=caller(request).name)
        pause.refresh_from_db()
        return Response(self.get_serializer(pause).data)
