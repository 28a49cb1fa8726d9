"""What `authorize()` would say of a target, under `/api/v1/targets/{id}/policy`."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import foresight
from agents.kinds import ActionKind
from incidents.models import Target


class ReasonSerializer(serializers.Serializer[Any]):
    """Why not simply yes."""

    effect = serializers.CharField()
    code = serializers.CharField()
    text = serializers.CharField()


class AnswerSerializer(serializers.Serializer[Any]):
    """The answer for one kind of change, if a firing alert were about the target."""

    action = serializers.ChoiceField(choices=ActionKind.choices)
    effect = serializers.CharField(help_text="allow, ask or refuse")
    reasons = ReasonSerializer(many=True)
    depends_on = serializers.ListField(
        child=serializers.CharField(), help_text="What only an incident tells; taken to be in favour"
    )


class TargetPolicyView(APIView):
    """What homelab may do to a target now, for each kind of change. Its engine is asked for its state."""

    @extend_schema(responses={200: AnswerSerializer(many=True)})
    def get(self, request: Request, target_id: str) -> Response:
        target = get_object_or_404(Target, pk=target_id)
        return Response([answer.as_json() for answer in foresight.answers(target)])
