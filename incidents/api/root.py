"""The endpoints at the root: intake, health, statistics, incidents in short, the health check's trigger."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidents import intake, jobs, liveness, memory
from incidents.access import BearerAuthentication, caller
from incidents.alertmanager import PayloadError, Webhook, parse_webhook
from incidents.api import answers
from incidents.api.body import read_body
from incidents.api.queries import IncidentFilters, PageQuery, page_of, read_query
from incidents.api.serializers import IncidentSerializer
from incidents.finding import planned_by_value
from incidents.models import Incident, Role
from incidents.totals import Totals, percent, totals

logger = logging.getLogger(__name__)
HEALTH_CHECK = "health_check"


class AlertView(APIView):
    """Alertmanager's webhook. The answer 200 comes after the commit."""

    authentication_classes = [BearerAuthentication]
    never_throttled = True  # Alertmanager gives up on 429, too; its log should say what is wrong
    needs: ClassVar = {"POST": Role.INGEST}
    http_method_names = ["post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # A wrong method is told before a missing token: nothing here is worth a credential for a GET.
        if request.method != "POST":
            self.http_method_not_allowed(request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        request={"application/json": {"type": "object", "required": ["alerts"]}},
        responses={
            200: answers.AcceptedAlerts,
            400: answers.ErrorAnswer,
            413: answers.ErrorAnswer,
            503: answers.ErrorAnswer,
        },
    )
    def post(self, request: Request) -> Response:
        body = read_body(request)
        try:
            webhook = parse_webhook(body)
            _refuse_if_nothing_is_readable(webhook)
        except PayloadError as error:
            logger.warning("a delivery from %s is refused: %s", caller(request).source, error)
            return Response({"status": "error", "detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)
        for each in webhook.quarantined[:1]:
            lost = (len(webhook.quarantined), caller(request).source, each["index"], each["reason"])
            logger.warning("%d alerts of a delivery from %s are quarantined: alerts[%d].%s", *lost)
        receipt = intake.receive(source=caller(request).source, body=body, webhook=webhook)
        return Response(
            {
                "status": "accepted",
                "alerts": receipt.accepted,
                "quarantined": receipt.quarantined,
                "incidents": receipt.incidents,
            }
        )


def _refuse_if_nothing_is_readable(webhook: Webhook) -> None:
    """One bad alert among good ones is quarantined; a delivery of bad ones only is a wrong sender."""
    if webhook.quarantined and not webhook.alerts:
        first = webhook.quarantined[0]
        raise PayloadError(f"alerts[{first['index']}].{first['reason']}")


class OpenView(APIView):
    """No token, no session, any Host: for probes."""

    authentication_classes = []
    permission_classes: list[type[BasePermission]] = []


class HealthView(OpenView):
    """How the program is: healthy, degraded (it works without its memory), or unhealthy with 503."""

    @extend_schema(responses={200: answers.HealthAnswer, 503: answers.HealthAnswer}, auth=[])
    def get(self, request: Request) -> Response:
        count = _incident_count()
        remembered = memory.status()
        healthy = count is not None and not liveness.dead()
        state = "unhealthy" if not healthy else "degraded" if remembered == "disconnected" else "healthy"
        answer = {
            "status": state,
            "service": settings.SERVICE_NAME,
            "version": settings.VERSION,
            "memory": {"status": remembered, "incidents": count},
        }
        code = status.HTTP_200_OK if healthy else status.HTTP_503_SERVICE_UNAVAILABLE
        return Response(answer, status=code, headers={"Cache-Control": "no-store"})


class LiveView(OpenView):
    """Whether this process should go on; says nothing of the database, which a restart would not mend."""

    @extend_schema(responses={200: answers.LiveAnswer, 503: answers.LiveAnswer}, auth=[])
    def get(self, request: Request) -> Response:
        dead = bool(liveness.dead())
        code = status.HTTP_503_SERVICE_UNAVAILABLE if dead else status.HTTP_200_OK
        return Response({"status": "dead" if dead else "alive"}, status=code)


def _incident_count() -> int | None:
    """Rows in the database, by the tally; None when it does not answer."""
    try:
        return totals().incidents
    except DatabaseError:
        return None


class StatsView(APIView):
    """Totals over all incidents."""

    open_read = True

    @extend_schema(responses={200: answers.StatsAnswer})
    def get(self, request: Request) -> Response:
        return Response(
            {
                "status": "success",
                "service": settings.SERVICE_NAME,
                "version": settings.VERSION,
                "memory": memory_stats(totals()),
            }
        )


def memory_stats(found: Totals) -> dict[str, Any]:
    """Totals as `/stats` gives them: rates as percentages; classes of severity that occurred."""
    return {
        "total_incidents": found.incidents,
        "success_rate": percent(found.success_rate),
        "fixed_by_crew_rate": percent(found.fixed_by_crew_rate),
        "avg_resolution_time": _rounded(found.avg_resolution_seconds),
        "by_severity": {name: count for name, count in found.by_severity.items() if count},
        "by_verdict": found.by_verdict,
        "by_status": found.by_status,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


class IncidentsView(APIView):
    """Incidents in short, newest first."""

    open_read = True

    @extend_schema(
        operation_id="incidents_in_short",
        parameters=[PageQuery, IncidentFilters],
        responses={200: answers.IncidentsAnswer, 400: answers.FIELD_ERRORS},
    )
    def get(self, request: Request) -> Response:
        page = read_query(request, PageQuery)
        with planned_by_value():
            filters = read_query(request, IncidentFilters)
            found = page_of(Incident.objects.with_systems().filter(**filters), **page)[: page["limit"]]
        shown = IncidentSerializer(found, many=True).data
        return Response({"status": "success", "count": len(shown), "incidents": shown})


class TriggerHealthCheckView(APIView):
    """Queues a check of everything that an integration can look at."""

    @extend_schema(request=None, responses={202: answers.QueuedAnswer})
    def post(self, request: Request) -> Response:
        return queue_health_check(request)


def queue_health_check(request: Request) -> Response:
    job = jobs.request(HEALTH_CHECK, by=caller(request).name)
    answer = {"status": "accepted", "job": job.pk, "detail": "a health check is queued"}
    return Response(answer, status=status.HTTP_202_ACCEPTED)
