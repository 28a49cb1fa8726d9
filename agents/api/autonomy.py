"""Which changes ask, what they came to, and a person's word on it, under `/api/v1/autonomy`."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action as endpoint
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from agents import ledger
from agents.models import Autonomy
from incidents.access import caller
from incidents.api.errors import MEDIA_TYPE, Conflict, HttpProblem
from incidents.api.fields import RecordSerializer, UTCDateTimeField
from incidents.api.views import Records


class AutonomySerializer(RecordSerializer):
    """A kind of change for an alert on a kind of target. Counts are of what was begun since `lowered_at`."""

    verified = serializers.IntegerField(read_only=True, help_text="Of which the proof said that they helped")
    judged = serializers.IntegerField(read_only=True, help_text="Verified or not; the others are under way")
    approved = serializers.IntegerField(read_only=True, help_text="The verified ones that people approved")
    since = UTCDateTimeField(read_only=True, allow_null=True, help_text="The first of them")
    acts_alone = serializers.SerializerMethodField(help_text="By REMEDIATION_MODE and the level")
    offer = serializers.SerializerMethodField(help_text="The question that waits for a person")

    class Meta:
        model = Autonomy
        fields = (
            "id",
            "kind",
            "target_kind",
            "alert_name",
            "level",
            "acts_alone",
            "verified",
            "judged",
            "approved",
            "since",
            "offer",
            "offered_at",
            "raised_at",
            "raised_by",
            "lowered_at",
            "lowered_why",
            "declined_at",
            "declined_by",
        )

    def get_acts_alone(self, pair: Autonomy) -> bool:
        return ledger.acts_alone(pair)

    def get_offer(self, pair: Autonomy) -> str | None:
        return ledger.offer_of(pair)


# 409: there is nothing to decline, or nothing that can be raised; `detail` says why.
DECIDED = {200: AutonomySerializer, (409, MEDIA_TYPE): HttpProblem}


@extend_schema(request=None)
class AutonomyViewSet(RetrieveModelMixin, Records):
    """Autonomy: which changes ask before they answer an alert. There is a pair once it has an outcome."""

    open_read = True
    serializer_class = AutonomySerializer

    def get_queryset(self) -> QuerySet[Autonomy]:
        return ledger.with_record()

    @extend_schema(responses=DECIDED)
    @endpoint(detail=True, methods=["post"], url_path="raise")
    def lift(self, request: Request, pk: str) -> Response:
        """Ask no more: a yes given ahead, for this pair alone. One that acts alone stays as it was."""
        return self._decide(request, "raise")

    @endpoint(detail=True, methods=["post"])
    def lower(self, request: Request, pk: str) -> Response:
        """Ask from now on, whatever the mode. One that was lowered stays as it was."""
        return self._decide(request, "lower")

    @extend_schema(responses=DECIDED)
    @endpoint(detail=True, methods=["post"])
    def decline(self, request: Request, pk: str) -> Response:
        """Go on asking; offered again after 30 days, or when twice as many are verified."""
        return self._decide(request, "decline")

    def _decide(self, request: Request, decision: ledger.Decision) -> Response:
        try:
            ledger.decide(self.get_object(), decision, by=caller(request).name)
        except ledger.CannotDecide as error:
            raise Conflict(str(error)) from error
        return self.as_it_is()
