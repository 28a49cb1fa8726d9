"""What homelab stands on and what the scheduled check found, under `/api/v1/health-checks`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.dependencies import WORDS
from agents.dependencies import all_of_them as stands_on
from agents.health import SOURCE
from incidents.access import may
from incidents.api.answers import QueuedAnswer
from incidents.api.fields import UTCDateTimeField
from incidents.api.root import HEALTH_CHECK, queue_health_check
from incidents.api.serializers import EpisodeSerializer
from incidents.models import Episode, Job, Role
from incidents.queue import State

MOST_FINDINGS = 100
DEPENDENCY_STATES = list(WORDS.items())
JOB_STATES = [("never", "has not run yet"), *State.choices]


class DependencySerializer(serializers.Serializer[Any]):
    """A thing that homelab stands on. `detail`, which may quote it, is null for readers below an operator."""

    name = serializers.CharField()
    state = serializers.ChoiceField(choices=DEPENDENCY_STATES)
    detail = serializers.CharField(allow_null=True)
    at = UTCDateTimeField(
        allow_null=True, help_text="When that was found; null: it is so now, or nobody looked"
    )


class HealthCheckSerializer(serializers.Serializer[Any]):
    """The scheduled check as it last ran."""

    state = serializers.ChoiceField(choices=JOB_STATES)
    checked_at = UTCDateTimeField(allow_null=True, help_text="When it last finished")
    due_at = UTCDateTimeField(allow_null=True, help_text="When it runs next")
    requested_by = serializers.CharField(allow_null=True, help_text="Who last asked for one")
    dependencies = DependencySerializer(many=True)
    findings = EpisodeSerializer(
        many=True, help_text=f"What it found that still is so, newest first, {MOST_FINDINGS} at most"
    )


class HealthChecksView(APIView):
    """The health check: what it found, and that it may be asked for."""

    open_read = True

    @extend_schema(operation_id="health_checks", responses={200: HealthCheckSerializer})
    def get(self, request: Request) -> Response:
        """What homelab stands on, as it was last found, and what the scheduled check found elsewhere."""
        job = Job.objects.filter(name=HEALTH_CHECK).first()
        may_see = may(request.user, Role.OPERATOR)
        found = [asdict(each) if may_see else {**asdict(each), "detail": None} for each in stands_on()]
        firing = Episode.objects.firing().filter(source=SOURCE).select_related("target").order_by("-pk")
        shown = {
            "state": job.state if job else "never",
            "checked_at": job.last_finished_at if job else None,
            "due_at": job.due_at if job else None,
            "requested_by": job.requested_by or None if job else None,
            "dependencies": found,
            "findings": firing[:MOST_FINDINGS],
        }
        return Response(HealthCheckSerializer(shown, context={"request": request}).data)

    @extend_schema(operation_id="health_check_request", request=None, responses={202: QueuedAnswer})
    def post(self, request: Request) -> Response:
        """Ask for a check now. One that is running is not doubled."""
        return queue_health_check(request)
