"""The crew's work under `/api/v1/`, and a person's yes or no to it."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action as endpoint
from rest_framework.generics import ListAPIView
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import again, costs, questions
from agents.api import serializers
from agents.models import Action, CrewRun
from incidents.access import caller
from incidents.api.errors import MEDIA_TYPE, Conflict, HttpProblem, NotWaiting
from incidents.api.queries import IdPagination, read_query, read_sent
from incidents.api.views import Records
from incidents.models import Incident

OR_GONE = {200: serializers.ActionSerializer, (410, MEDIA_TYPE): HttpProblem}


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


class InvestigateAgainView(APIView):
    """Another look of the crew at an incident."""

    @extend_schema(
        request=None, responses={202: serializers.ShortRunSerializer, (409, MEDIA_TYPE): HttpProblem}
    )
    def post(self, request: Request, incident_id: str) -> Response:
        """Let the crew look anew; one that is over is opened again. 409 says why not."""
        incident = get_object_or_404(Incident, pk=incident_id)
        try:
            run = again.investigate(incident, by=caller(request).name)
        except again.CannotInvestigate as error:
            raise Conflict(str(error)) from error
        return Response(serializers.ShortRunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


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


@extend_schema_view(list=extend_schema(parameters=[serializers.ActionFilters]))
class ActionViewSet(RetrieveModelMixin, Records):
    """Actions: proposed, decided, and at most once executed."""

    open_read = True
    filters = serializers.ActionFilters
    queryset = Action.objects.select_related("target")
    serializer_class = serializers.ActionSerializer

    @extend_schema(request=None, responses=OR_GONE)
    @endpoint(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """A person's yes; 410 when the question is no longer open."""
        return self._decide(lambda action: questions.approve(action, by=caller(request).name))

    @extend_schema(request=serializers.RejectionSerializer, responses=OR_GONE)
    @endpoint(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """A person's no; 410 when the question is no longer open."""
        why = read_sent(request, serializers.RejectionSerializer)
        return self._decide(lambda action: questions.reject(action, by=caller(request).name, **why))

    @extend_schema(
        request=None,
        responses={202: serializers.AskedSerializer, (409, MEDIA_TYPE): HttpProblem},
    )
    @endpoint(detail=True, methods=["post"], url_path="ask-again")
    def ask_again(self, request: Request, pk: str) -> Response:
        """Look at today's state and propose anew; 409 when the incident is over or a question is open."""
        action = self.get_object()
        try:
            questions.ask_again(action, by=caller(request).name)
        except questions.CannotAsk as error:
            raise Conflict(str(error)) from error
        told = {"detail": "the Healer looks at it again", "status": action.status}
        return Response(told, status=status.HTTP_202_ACCEPTED)

    def _decide(self, decide: Callable[[Action], Action]) -> Response:
        try:
            action = decide(self.get_object())
        except questions.NotWaiting as error:
            raise NotWaiting(str(error), error.action.status) from error
        return Response(self.get_serializer(action).data)
