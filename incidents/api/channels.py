"""Where people are told, under `/api/v1/channels`, and a test of each. Their URLs are secrets."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidents import channels, notifications
from incidents.access import caller, reads
from incidents.api.errors import MEDIA_TYPE, BadGateway, HttpProblem
from incidents.models import Role


class ChannelSerializer(serializers.Serializer[Any]):
    """A channel by its name: its scheme, and its place in its setting."""

    name = serializers.CharField()
    level = serializers.IntegerField(help_text="0: told at once; 1 and up: when nobody answers a critical")


class ChannelTestedSerializer(serializers.Serializer[Any]):
    """The channel took a test message."""

    status = serializers.CharField(help_text="sent")
    channel = serializers.CharField()


class ChannelsView(APIView):
    """Where people are told: the channels of `NOTIFY_URLS` and `ESCALATION_URLS`."""

    needs: ClassVar = reads(Role.OPERATOR)

    @extend_schema(operation_id="channels", responses={200: ChannelSerializer(many=True)})
    def get(self, request: Request) -> Response:
        first = [{"name": name, "level": 0} for name, _url in channels.channels()]
        further = enumerate(channels.escalation_channels(), start=1)
        return Response([*first, *({"name": name, "level": level} for level, (name, _url) in further)])


class ChannelTestView(APIView):
    """A test of one channel."""

    @extend_schema(request=None, responses={200: ChannelTestedSerializer, (502, MEDIA_TYPE): HttpProblem})
    def post(self, request: Request, name: str) -> Response:
        """Send a test message now, and wait for what the channel says; 502 when it did not take it."""
        if channels.url_of(name) is None:
            raise Http404(f"no channel is called {name}")
        try:
            notifications.send_test(name, by=caller(request).name)
        except notifications.NotifyError as error:
            raise BadGateway(f"{name}: {error}") from error
        return Response({"status": "sent", "channel": name})
