"""The postmortem under `/api/v1/`, in its parts and as Markdown."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import postmortem
from agents.api.serializers import CostOfIncidentSerializer
from agents.postmortem.asking import ask
from agents.postmortem.markdown import markdown
from incidents.access import caller
from incidents.api.errors import MEDIA_TYPE, Conflict, HttpProblem
from incidents.api.fields import UTCDateTimeField
from incidents.models import Incident, Role


class Plain(serializers.Serializer[Any]):
    # What is not known, an empty text in the postmortem, is null, as everywhere in the API.
    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        unknown = (name for name, field in self.fields.items() if field.allow_null and shown[name] == "")
        return {**shown, **dict.fromkeys(unknown)}


class PostmortemSummary(Plain):
    text = serializers.CharField()
    by = serializers.CharField(help_text="model, fallback, or playbooks: a template over the records")
    why = serializers.CharField(
        allow_null=True, help_text="Why no higher rung's words stand here; null: they were not asked"
    )
    written_at = UTCDateTimeField(allow_null=True)


class PostmortemImpact(Plain):
    alert_name = serializers.CharField()
    severity = serializers.CharField()
    description = serializers.CharField()
    alerts = serializers.IntegerField()
    systems = serializers.ListField(child=serializers.CharField())
    since = UTCDateTimeField()
    until = UTCDateTimeField(allow_null=True, help_text="Null: it goes on, as far as anybody knows")
    until_by = serializers.CharField(allow_null=True, help_text="Who says so: proof, person or sender")
    seconds = serializers.FloatField(help_text="Until now while it goes on")
    reopened = serializers.IntegerField()


class PostmortemSpan(Plain):
    name = serializers.CharField()
    seconds = serializers.FloatField()


class PostmortemClaim(Plain):
    text = serializers.CharField()
    tool = serializers.CharField(allow_null=True)
    call_id = serializers.CharField()
    quote = serializers.CharField(allow_null=True, help_text="Null for readers below an operator")
    found = serializers.BooleanField(help_text="False: struck, for the quote is not in what was read")


class PostmortemCause(Plain):
    text = serializers.CharField(allow_null=True)
    by = serializers.CharField(allow_null=True, help_text="A person, or the rung that worked it")
    certainty = serializers.CharField(allow_null=True, help_text="The crew's, of its own cause")
    crews = serializers.CharField(allow_null=True, help_text="What the crew had said, where that is another")
    rating = serializers.CharField(allow_null=True, help_text="A person's word on it: right, partly or wrong")
    rated_by = serializers.CharField(allow_null=True)
    note = serializers.CharField(allow_null=True)
    claims = PostmortemClaim(many=True)
    dropped = serializers.ListField(child=serializers.CharField())


class PostmortemChange(Plain):
    id = serializers.IntegerField()
    what = serializers.CharField()
    status = serializers.CharField()
    reason = serializers.CharField()
    proposed_at = UTCDateTimeField()
    decided_by = serializers.CharField(allow_null=True)
    by_person = serializers.BooleanField()
    decided_at = UTCDateTimeField(allow_null=True)
    decision = serializers.CharField(allow_null=True)
    began_at = UTCDateTimeField(allow_null=True)
    ended_at = UTCDateTimeField(allow_null=True)
    helped = serializers.BooleanField(allow_null=True, help_text="What the proof said; null: nobody knows")
    result = serializers.CharField(allow_null=True, help_text="Null for readers below an operator")


class PostmortemEnding(Plain):
    verdict = serializers.CharField(allow_null=True)
    standing = serializers.CharField()
    by = serializers.CharField(allow_null=True)
    why = serializers.CharField()
    note = serializers.CharField(allow_null=True)
    seen = serializers.CharField(allow_null=True)
    looks = serializers.IntegerField()


class PostmortemPast(Plain):
    incident = serializers.IntegerField(allow_null=True)
    alert_name = serializers.CharField()
    cause = serializers.CharField(allow_null=True)
    by_person = serializers.BooleanField()
    note = serializers.CharField(allow_null=True)
    verdict = serializers.CharField(allow_null=True)
    why = serializers.ListField(child=serializers.CharField())


class PostmortemFollowUp(Plain):
    code = serializers.CharField(help_text="The rule")
    text = serializers.CharField()


class PostmortemMoment(Plain):
    at = UTCDateTimeField()
    kind = serializers.CharField()
    text = serializers.CharField()
    actor = serializers.CharField()


class PostmortemChapter(Plain):
    phase = serializers.CharField()
    seconds = serializers.FloatField()
    moments = PostmortemMoment(many=True)


class PostmortemSerializer(Plain):
    """The postmortem of an incident as it stands, also while it is open."""

    incident = serializers.IntegerField()
    title = serializers.CharField()
    is_over = serializers.BooleanField()
    summary = PostmortemSummary()
    impact = PostmortemImpact()
    spans = PostmortemSpan(many=True)
    timeline = PostmortemChapter(many=True)
    left_out = serializers.IntegerField(help_text="Events in the middle of a long timeline")
    cause = PostmortemCause()
    changes = PostmortemChange(many=True)
    ending = PostmortemEnding()
    remembered = PostmortemPast(many=True)
    runbooks = serializers.ListField(child=serializers.CharField())
    cost = CostOfIncidentSerializer()
    follow_ups = PostmortemFollowUp(many=True)
    markdown = serializers.SerializerMethodField()

    @extend_schema_field(str)
    def get_markdown(self, made: postmortem.Postmortem) -> str:
        return markdown(made)


class PostmortemAsked(Plain):
    """The step that writes it."""

    step = serializers.IntegerField()


class PostmortemView(APIView):
    """What happened, why, what was done, how it ended and how that is known, and what is left to do."""

    @extend_schema(responses={200: PostmortemSerializer})
    def get(self, request: Request, incident_id: str) -> Response:
        incident = get_object_or_404(Incident.objects.with_systems(), pk=incident_id)
        made = postmortem.of(incident, outputs=caller(request).may(Role.OPERATOR))
        return Response(PostmortemSerializer(made).data)

    @extend_schema(request=None, responses={202: PostmortemAsked, (409, MEDIA_TYPE): HttpProblem})
    def post(self, request: Request, incident_id: str) -> Response:
        """Let the highest rung that can write the summary; 409 while the crew has not begun."""
        incident = get_object_or_404(Incident, pk=incident_id)
        if (step := ask(incident, by=caller(request).name)) is None:
            raise Conflict("the crew has not begun")
        return Response({"step": step.pk}, status=status.HTTP_202_ACCEPTED)
