"""The brakes under `/api/v1/pauses` and `/api/v1/maintenance-windows`: made, and ended, by people."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action as endpoint
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from agents import pauses
from agents.api import serializers
from agents.models import MaintenanceWindow, Pause
from incidents.access import caller
from incidents.api.queries import read_sent
from incidents.api.views import Records


class Brakes(Records):
    """What holds until a person ends it."""

    open_read = True

    def _made(self, row: Pause | MaintenanceWindow) -> Response:
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    def _wanted(self, kind: type[Serializer[Any]]) -> dict[str, Any]:
        """What is to be made, and who wants it."""
        return {**read_sent(self.request, kind), "by": caller(self.request).name}


class PauseViewSet(Brakes):
    """Pauses: in a scope nothing is changed until a time, or until the pause is lifted."""

    queryset = Pause.objects.all()
    serializer_class = serializers.PauseSerializer

    @extend_schema(request=serializers.NewPauseSerializer, responses={201: serializers.PauseSerializer})
    def create(self, request: Request) -> Response:
        """Pause a scope."""
        return self._made(pauses.pause(**self._wanted(serializers.NewPauseSerializer)))

    @extend_schema(request=None, responses={200: serializers.PauseSerializer})
    @endpoint(detail=True, methods=["post"])
    def lift(self, request: Request, pk: str) -> Response:
        """End a pause now. One that was lifted before stays as it was."""
        pauses.lift(self.get_object(), by=caller(request).name)
        return self.as_it_is()


class WindowViewSet(Brakes):
    """Maintenance windows: times of the week in which nothing is changed in a scope."""

    queryset = MaintenanceWindow.objects.all()
    serializer_class = serializers.WindowSerializer

    @extend_schema(request=serializers.NewWindowSerializer, responses={201: serializers.WindowSerializer})
    def create(self, request: Request) -> Response:
        """Keep a time of the week free of changes."""
        return self._made(pauses.open_window(**self._wanted(serializers.NewWindowSerializer)))

    @extend_schema(request=None, responses={200: serializers.WindowSerializer})
    @endpoint(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """From now on it holds no more. One that was ended before stays as it was."""
        pauses.end_window(self.get_object(), by=caller(request).name)
        return self.as_it_is()
